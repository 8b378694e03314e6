from __future__ import annotations

import json
from dataclasses import replace

import pytest

from pipeline.errors import ParseError, RecipeError
from pipeline.functions.dialects import DIALECTS
from pipeline.templates.answers import format_number, option_letter, render_answer
from pipeline.templates.styles import STYLES, render_conversation
from pipeline.types import FunctionCall, Message, TaskExample, TaskKind, TaskSpec


def spec(kind: TaskKind, **more) -> TaskSpec:
    values = {"id": "t", "family": "general", "instruction": "Do it.", **more}
    return TaskSpec(kind=kind, **values)


def example(inputs, target, choices=None) -> TaskExample:
    return TaskExample(
        key="t/train/0", task="t", split="train", inputs=inputs, target=target, choices=choices
    )


def user_text(conversation) -> str:
    return conversation.messages[-2].content


def test_classification_lists_instruction_input_and_options():
    conversation = render_conversation(
        example({"text": "fine day"}, "good", ("good", "bad")),
        spec("classification", labels=("good", "bad")),
    )
    assert user_text(conversation) == "Do it.\nText: fine day\nOptions: good, bad"
    assert conversation.messages[-1] == Message(role="assistant", content="good", trainable=True)


def test_long_label_lists_stay_out_of_the_prompt():
    labels = tuple(f"label{i}" for i in range(41))
    conversation = render_conversation(
        example({"text": "x"}, "label3", labels), spec("classification", labels=labels)
    )
    assert user_text(conversation) == "Do it.\nText: x"


def test_multiple_choice_answers_with_the_option_letter():
    conversation = render_conversation(
        example({"question": "2 + 2?"}, 1, ("3", "4")), spec("multiple_choice")
    )
    assert user_text(conversation) == "Do it.\nQuestion: 2 + 2?\nA. 3\nB. 4"
    assert conversation.messages[-1].content == "B"


def test_entities_are_written_in_order_with_their_type():
    task = spec("token_classification", labels=("Chemical", "Disease"), settings={"scheme": "bio"})
    spans = [
        {"text": "aspirin", "type": "Chemical", "start": 0, "end": 1},
        {"text": "head ache", "type": "Disease", "start": 3, "end": 5},
    ]
    conversation = render_conversation(
        example({"tokens": ["aspirin", "cures", "a", "head", "ache"]}, spans), task
    )
    assert conversation.messages[-1].content == "aspirin <Chemical>, head ache <Disease>"
    assert "Text: aspirin cures a head ache" in user_text(conversation)
    assert user_text(conversation).endswith("Options: Chemical, Disease")


def test_no_entity_is_one_defined_answer():
    task = spec("token_classification", labels=("Disease",), settings={"scheme": "bio"})
    assert render_answer([], task) == "None"


def test_tags_stand_behind_their_words():
    task = spec("token_classification", labels=("DT", "NN"), settings={"scheme": "plain"})
    conversation = render_conversation(example({"tokens": ["the", "cat"]}, ["DT", "NN"]), task)
    assert conversation.messages[-1].content == "the <DT> cat <NN>"


def test_dna_stands_between_markers():
    conversation = render_conversation(
        example({"sequence": "ACGT"}, "yes", ("no", "yes")),
        spec("dna_classification", labels=("no", "yes")),
    )
    assert "Sequence: <dna>ACGT</dna>" in user_text(conversation)


@pytest.mark.parametrize("kind", ["text", "soft_label", "records"])
def test_names_that_other_kinds_own_are_names_like_any_other(kind):
    inputs = {
        "functions": "of the heart",
        "messages": ["one"],
        "query": ["who", "where"],
        "tokens": "hello",
        "sequence": "first, then",
        "calls": "two",
    }
    conversation = render_conversation(
        example(inputs, {"a": 1.0} if kind == "soft_label" else "a"), spec(kind, labels=("a", "b"))
    )
    assert user_text(conversation).split("\n")[1:7] == [
        "Functions: of the heart",
        'Messages: ["one"]',
        'Query: ["who", "where"]',
        "Tokens: hello",
        "Sequence: first, then",
        "Calls: two",
    ]
    assert len(conversation.messages) == 2


def test_a_text_about_dna_shows_its_sequence_between_markers():
    conversation = render_conversation(
        example({"sequence": "ACGT"}, "a promoter"), spec("text", is_dna=True)
    )
    assert "Sequence: <dna>ACGT</dna>" in user_text(conversation)


FUNCTIONS = [{"name": "f", "description": "d", "parameters": {"type": "object"}}]


def test_function_calls_go_to_the_chat_template():
    conversation = render_conversation(
        example(
            {"query": "call f", "functions": FUNCTIONS}, [{"name": "f", "arguments": {"a": 1}}]
        ),
        spec("function_calling"),
    )
    assert [tool.name for tool in conversation.tools] == ["f"]
    assert user_text(conversation) == "call f"
    assert conversation.messages[-1].tool_calls == (FunctionCall(name="f", arguments={"a": 1}),)


def test_labels_of_position_are_left_to_the_order_of_the_calls():
    target = [
        {"name": "f", "arguments": {}, "label": "var1"},
        {"name": "f", "arguments": {"a": "$var1.x$"}},
    ]
    row = example({"query": "q", "functions": FUNCTIONS}, target)
    calls = render_conversation(row, spec("function_calling")).messages[-1].tool_calls
    assert [call.label for call in calls] == [None, None]
    assert calls[1].arguments == {"a": "$var1.x$"}


def test_a_label_out_of_place_is_refused():
    row = example(
        {"query": "q", "functions": FUNCTIONS}, [{"name": "f", "arguments": {}, "label": "var2"}]
    )
    with pytest.raises(ValueError, match="expected 'var1'"):
        render_conversation(row, spec("function_calling"))


def test_function_calls_can_be_written_in_a_dialect():
    conversation = render_conversation(
        example({"query": "q", "functions": FUNCTIONS}, [{"name": "f", "arguments": {}}]),
        spec("function_calling"),
        render_calls=lambda calls: ";".join(call.name for call in calls),
    )
    assert conversation.messages[-1].content == "f"
    assert conversation.messages[-1].tool_calls == ()


def test_calls_that_a_dialect_cannot_write_are_told_with_their_row():
    row = example({"query": "q", "functions": FUNCTIONS}, [{"name": "Lake Depth", "arguments": {}}])
    with pytest.raises(ParseError, match="FUN406") as caught:
        render_conversation(row, spec("function_calling"), render_calls=DIALECTS["python"].render)
    assert row.key in str(caught.value)
    assert "function_format" in str(caught.value)


def test_functions_may_be_told_in_words_only_where_calls_are_text():
    row = example({"query": "q", "functions": FUNCTIONS}, [])
    task = spec("function_calling")
    assert not render_conversation(row, task).can_tell_tools
    assert render_conversation(row, task, render_calls=DIALECTS["json"].render).can_tell_tools


def test_name_detection_asks_for_a_json_list():
    task = spec("function_calling", settings={"granular": "names"})
    conversation = render_conversation(
        example({"query": "q", "functions": FUNCTIONS}, ["f", "g"]), task
    )
    assert conversation.messages[-1].content == '["f", "g"]'
    assert user_text(conversation) == "Do it.\nQuery: q"


def test_a_dialogue_keeps_its_turns():
    turns = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    conversation = render_conversation(
        example({"query": turns, "functions": FUNCTIONS}, []), spec("function_calling")
    )
    assert [message.role for message in conversation.messages] == ["system", "user", "assistant"]
    assert conversation.messages[-1].content == "None"


def test_styles_differ_in_wording_only():
    task = spec("classification", labels=("a", "b"))
    row = example({"text": "x"}, "a", ("a", "b"))
    answers = {render_conversation(row, task, style=name).messages[-1] for name in STYLES}
    assert len(answers) == 1


def test_unknown_style_names_the_nearest():
    with pytest.raises(RecipeError) as caught:
        render_conversation(example({"text": "x"}, "a"), spec("text"), style="plian")
    assert str(caught.value) == "style: no style 'plian'. Did you mean 'plain'? [TPL001]"


@pytest.mark.parametrize(
    ("value", "text"), [(3.0, "3"), (3.84999, "3.85"), (0.5, "0.5"), (-0.001, "0"), (10, "10")]
)
def test_numbers_have_at_most_two_decimals(value, text):
    assert format_number(value) == text


@pytest.mark.parametrize(("index", "letter"), [(0, "A"), (25, "Z"), (26, "AA"), (51, "AZ")])
def test_option_letters_go_on_after_z(index, letter):
    assert option_letter(index) == letter


def test_a_target_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="no target of kind 'classification'"):
        render_answer(["a"], spec("classification"))


@pytest.mark.parametrize(
    ("kind", "settings", "side"),
    [
        ("classification", {}, "right"),
        ("classification", {"truncate": {"input": "text", "side": "left"}}, "left"),
        ("token_classification", {"scheme": "bio"}, "none"),
    ],
)
def test_context_is_cut_where_the_annotation_says_and_never_from_tagged_text(kind, settings, side):
    inputs = {"tokens": ["a"]} if kind == "token_classification" else {"text": "a"}
    target = [] if kind == "token_classification" else "b"
    conversation = render_conversation(example(inputs, target), spec(kind, settings=settings))
    assert conversation.context_side == side


def test_soft_labels_teach_the_most_chosen_label_and_the_first_of_several():
    task = spec("soft_label", labels=("no", "yes"))
    shown = example({"text_a": "x", "text_b": "y"}, {"no": 0.4, "yes": 0.6}, ("no", "yes"))
    conversation = render_conversation(shown, task)
    assert user_text(conversation) == "Do it.\nText a: x\nText b: y\nOptions: no, yes"
    assert conversation.messages[-1].content == "yes"
    assert render_answer({"no": 0.5, "yes": 0.5}, task) == "no"


def test_a_ranking_lists_its_candidates_and_answers_with_their_letters():
    shown = example({"query": "How to charge?"}, [2, 0], ("Power", "Screen", "Battery"))
    conversation = render_conversation(shown, spec("ranking"))
    assert user_text(conversation) == (
        "Do it.\nQuery: How to charge?\nA. Power\nB. Screen\nC. Battery"
    )
    assert conversation.messages[-1].content == "C, A"


def test_a_view_of_whole_calls_tells_its_instruction_before_the_request():
    row = example({"query": "q", "functions": FUNCTIONS}, [{"name": "f", "arguments": {}}])
    task = spec("function_calling", settings={"granular": "calls", "view": "chaining"})
    assert user_text(render_conversation(row, task)) == f"{task.instruction}\nq"
    plain = spec("function_calling", settings={"granular": "calls", "view": "calls"})
    shown = render_conversation(row, replace(plain, instruction=""))
    assert user_text(shown) == "q"


TALK = [
    {"role": "user", "content": "How deep?", "tool_calls": None},
    {"role": "assistant", "content": "", "tool_calls": [{"name": "f", "arguments": {"a": 1}}]},
    {"role": "tool", "content": "12", "tool_calls": None},
]


def test_the_answer_to_a_result_follows_the_result():
    task = spec("function_calling", settings={"granular": "response", "view": "response"})
    row = example({"query": TALK, "functions": FUNCTIONS}, "12 metres.")
    messages = render_conversation(row, task).messages
    assert [message.role for message in messages] == ["user", "assistant", "tool", "assistant"]
    assert messages[1].tool_calls == (FunctionCall(name="f", arguments={"a": 1}),)
    assert messages[-1].content == "12 metres."


def test_calls_and_results_beside_a_request_in_words_become_turns():
    task = spec("function_calling", settings={"granular": "response", "view": "response"})
    inputs = {
        "query": "How deep?",
        "functions": FUNCTIONS,
        "calls": [{"name": "f", "arguments": {"a": 1}, "label": "var1"}],
        "results": [{"metres": 12}],
    }
    messages = render_conversation(example(inputs, "12 metres."), task).messages
    assert [message.role for message in messages] == ["user", "assistant", "tool", "assistant"]
    assert messages[2].content == '{"metres": 12}'
    assert messages[1].tool_calls[0].label is None


def test_an_instruction_after_earlier_turns_makes_no_second_turn_of_the_user():
    task = spec("function_calling", settings={"granular": "names"})
    row = example({"query": TALK[:1], "functions": FUNCTIONS}, ["f"])
    messages = render_conversation(row, task).messages
    assert [message.role for message in messages] == ["user", "assistant"]
    assert messages[0].content == f"{task.instruction}\nHow deep?"


def test_the_prompting_mode_of_the_benchmark_tells_functions_in_words():
    shown = [{"name": "f", "description": "Does it.", "parameters": {"type": "dict"}}]
    target = {"category": "multiple", "ground_truth": [], "functions": [], "shown": shown}
    task = spec("function_calling", settings={"granular": "calls", "checker": "bfcl"})
    question = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Do it."}]
    row = example({"query": question, "functions": FUNCTIONS}, target)
    conversation = render_conversation(row, task, style="bfcl_prompting")
    system, user, _ = conversation.messages
    assert conversation.tools == ()
    assert user.content == "Do it."
    assert system.content.endswith("\n\n\nBe kind.")
    assert json.dumps(shown, indent=4) in system.content
    alone = example({"query": question[1:], "functions": FUNCTIONS}, target)
    messages = render_conversation(alone, task, style="bfcl_prompting").messages
    assert [message.role for message in messages] == ["system", "user", "assistant"]


def test_the_prompting_mode_words_other_tasks_plainly():
    row = example({"query": "q", "functions": FUNCTIONS}, ["f"])
    task = spec("function_calling", settings={"granular": "names"})
    plain, prompted = (render_conversation(row, task, style=s) for s in ("plain", "bfcl_prompting"))
    assert plain == prompted
