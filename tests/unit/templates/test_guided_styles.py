import pytest

from pipeline.chat.shorten import find_contexts
from pipeline.errors import RecipeError
from pipeline.templates.styles import parse_style, render_conversation
from pipeline.types import TaskExample, TaskGuide, TaskSpec, WorkedExample

GUIDE = TaskGuide(
    definition="Decide whether the drug helps. Answer yes or no.",
    avoid=("Do not answer maybe.",),
    examples=(
        WorkedExample(inputs={"text": "It healed."}, target="yes", explanation="Healing is help."),
        WorkedExample(inputs={"text": "No effect."}, target="no", explanation="Nothing changed."),
    ),
    negatives=(
        WorkedExample(
            inputs={"text": "No effect."},
            target="no",
            wrong_answer="none",
            explanation="That is no allowed answer.",
        ),
    ),
)
SPEC = TaskSpec(
    id="t",
    kind="classification",
    family="f",
    instruction="Does it help?",
    labels=("yes", "no"),
    guide=GUIDE,
)
EXAMPLE = TaskExample(
    key="t/train/0",
    task="t",
    split="train",
    inputs={"text": "Pain went away. " * 20},
    target="yes",
    choices=("yes", "no"),
)
REST = f"Text: {EXAMPLE.inputs['text']}\nOptions: yes, no"


def asked(style, spec=SPEC):
    return render_conversation(EXAMPLE, spec, style=style).messages[0]


def test_box_shows_definition_and_all_worked_examples():
    assert asked("box").content == (
        "Instruction: Definition: Decide whether the drug helps. Answer yes or no., Positive "
        "Examples: [[input: Text: It healed., output: yes, explanation: Healing is help.], "
        "[input: Text: No effect., output: no, explanation: Nothing changed.]]; Instance: input:\n"
        + REST
    )


def test_the_number_of_worked_examples_is_chosen_with_the_style():
    assert asked("box:1").content.count("output: ") == 1
    assert asked("box:0").content.count("output: ") == 0
    assert asked("box:9").content == asked("box").content


def test_natural_instructions_tells_what_to_avoid_and_wrong_answers():
    assert asked("natural_instructions:1").content == (
        "Definition: Decide whether the drug helps. Answer yes or no.\n\n"
        "Prompt: Does it help?\n\n"
        "Avoid: Do not answer maybe.\n\n"
        "Right answer 1\nText: It healed.\nAnswer: yes\nReason: Healing is help.\n\n"
        "Wrong answer 1\nText: No effect.\nAnswer: none\nReason: That is no allowed answer.\n\n"
        "Now answer this one.\n" + REST
    )


def test_without_a_guide_the_instruction_is_the_definition():
    plain = TaskSpec(
        id="t", kind="classification", family="f", instruction="Does it help?", labels=("yes", "no")
    )
    assert asked("box", plain).content == (
        "Instruction: Definition: Does it help?; Instance: input:\n" + REST
    )
    assert asked("natural_instructions", plain).content == (
        "Definition: Does it help?\n\nNow answer this one.\n" + REST
    )


def test_no_instruction_shows_the_instance_alone():
    assert asked("no_instruction").content == f"Text: {EXAMPLE.inputs['text']}"


@pytest.mark.parametrize("style", ["box", "natural_instructions"])
def test_only_the_instance_may_be_cut(style):
    conversation = render_conversation(EXAMPLE, SPEC, style=style)
    content = conversation.messages[0].content
    spans = find_contexts(conversation)
    assert [content[span.start : span.end].strip() for span in spans] == [
        EXAMPLE.inputs["text"].strip()
    ]


def test_every_style_asks_for_the_same_answer():
    styles = ["plain", "no_instruction", "box", "natural_instructions"]
    answers = {render_conversation(EXAMPLE, SPEC, style=name).messages[-1] for name in styles}
    assert len(answers) == 1


@pytest.mark.parametrize(
    ("style", "code"),
    [("boxx", "TPL001"), ("plain:2", "TPL002"), ("box:", "TPL002"), ("box:x", "TPL002")],
)
def test_a_wrong_style_is_refused(style, code):
    with pytest.raises(RecipeError) as caught:
        parse_style(style)
    assert caught.value.code == code
