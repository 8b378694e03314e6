"""Segments of conversations in many chat formats."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from pipeline.chat.render import render_segments, renderer_for
from pipeline.errors import ChatError
from pipeline.types import Conversation, FunctionCall, FunctionSpec, Message
from tests.unit.chat.formats import FORMATS

USER = Message(role="user", content="What is the capital?")
ANSWER = Message(role="assistant", content="Oslo", trainable=True)
SPEC = FunctionSpec(
    name="look_up",
    description='Looks "up".',
    parameters={
        "type": "object",
        "properties": {"place": {"type": "string"}, "type": {"type": "float"}},
        "required": ["place"],
    },
)
CALL = Message(
    role="assistant",
    tool_calls=(FunctionCall(name="look_up", arguments={"place": "Oslo", "n": [1, None]}),),
    trainable=True,
)


def chat(*messages: Message, tools: tuple[FunctionSpec, ...] = ()) -> Conversation:
    return Conversation(key="t/train/0", task="t", messages=messages, tools=tools)


def with_template(name: str, template: str | None):
    tokenizer = copy.deepcopy(FORMATS[name]())
    tokenizer.chat_template = template
    return tokenizer


def text_of(segments) -> str:
    return "".join(segment.text for segment in segments)


def trained(segments) -> str:
    return "".join(segment.text for segment in segments if segment.trainable)


@pytest.mark.parametrize(
    ("name", "whole", "answer"),
    [
        (
            "chatml",
            "<|im_start|>user\nWhat is the capital?<|im_end|>\n"
            "<|im_start|>assistant\nOslo<|im_end|>\n",
            "Oslo<|im_end|>",
        ),
        (
            "llama3",
            "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nWhat is the capital?"
            "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nOslo<|eot_id|>",
            "Oslo<|eot_id|>",
        ),
        (
            "gemma",
            "<bos><start_of_turn>user\nWhat is the capital?<end_of_turn>\n"
            "<start_of_turn>model\nOslo<end_of_turn>\n",
            "Oslo<end_of_turn>",
        ),
        (
            "zephyr",
            "<|user|>\nWhat is the capital?</s>\n<|assistant|>\nOslo</s>\n",
            "\nOslo</s>",
        ),
        ("mistral", "<s>[INST] What is the capital? [/INST] Oslo</s>", " Oslo</s>"),
        (
            "embedded",
            "<|user|>\nWhat is the capital?<|end|>\n<|assistant|>\nOslo<|end|>\n",
            "Oslo<|end|>",
        ),
    ],
)
def test_answer_and_end_of_turn_are_trained_and_nothing_else(name, whole, answer) -> None:
    segments = render_segments(chat(USER, ANSWER), FORMATS[name]())
    assert text_of(segments) == whole
    assert trained(segments) == answer
    assert [s.text for s in segments if s.is_content] == [USER.content, ANSWER.content]


def test_only_marked_answers_are_trained() -> None:
    past = Message(role="assistant", content="Rome")
    segments = render_segments(chat(USER, past, USER, ANSWER), FORMATS["chatml"]())
    assert trained(segments) == "Oslo<|im_end|>"
    both = render_segments(
        chat(USER, replace(past, trainable=True), USER, ANSWER), FORMATS["chatml"]()
    )
    assert trained(both) == "Rome<|im_end|>Oslo<|im_end|>"


def test_tool_call_is_trained_from_the_generation_prompt_on() -> None:
    segments = render_segments(chat(USER, CALL, tools=(SPEC,)), FORMATS["chatml"]())
    assert trained(segments) == (
        '<tool_call>\n{"name": "look_up", "arguments": {"place": "Oslo", "n": [1, null]}}\n'
        "</tool_call><|im_end|>"
    )
    content = {s.text for s in segments if s.is_content}
    assert {"look_up", 'Looks \\"up\\".', "place", "type", "float", "Oslo", "n"} <= content
    assert "string" not in content


def test_template_that_wants_arguments_as_text_gets_them_so() -> None:
    segments = render_segments(chat(USER, CALL), FORMATS["mistral"]())
    assert trained(segments) == (
        '[TOOL_CALLS] [{"name": "look_up", "arguments": {"place": "Oslo", "n": [1, null]}}]</s>'
    )


def test_several_calls_and_a_tool_answer_are_rendered_in_order() -> None:
    twice = replace(CALL, tool_calls=CALL.tool_calls * 2)
    answer = Message(role="tool", name="look_up", content="fjord")
    segments = render_segments(
        chat(USER, twice, answer, ANSWER, tools=(SPEC,)), FORMATS["chatml"]()
    )
    assert trained(segments).count("<tool_call>") == 2
    assert trained(segments).endswith("</tool_call><|im_end|>Oslo<|im_end|>")
    assert "<tool_response>\nfjord\n</tool_response>" in text_of(segments)


def test_content_is_trimmed_only_where_the_template_trims() -> None:
    padded = replace(USER, content="  What? \n")
    assert "\n\nWhat?<|eot_id|>" in text_of(
        render_segments(chat(padded, ANSWER), FORMATS["llama3"]())
    )
    assert "user\n  What? \n<|im_end|>" in text_of(
        render_segments(chat(padded, ANSWER), FORMATS["chatml"]())
    )


def test_content_inside_json_is_escaped_as_the_template_does() -> None:
    answer = Message(role="tool", content='say "hi"\n')
    segments = render_segments(chat(USER, answer, ANSWER), FORMATS["llama3"]())
    assert '\n\n"say \\"hi\\"\\n"<|eot_id|>' in text_of(segments)


def test_system_message_goes_before_the_first_question_where_it_is_refused() -> None:
    system = Message(role="system", content="Be brief.")
    segments = render_segments(chat(system, USER, ANSWER), FORMATS["gemma"]())
    assert "user\nBe brief.\n\nWhat is the capital?<end_of_turn>" in text_of(segments)


def test_thinking_template_is_prompted_not_to_think() -> None:
    template = (
        "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\\n' }}"
        "{%- if m.role == 'assistant' and loop.last %}"
        "{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}"
        "{{- m.content + '<|im_end|>\\n' }}{%- endfor %}"
        "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}"
        "{%- if enable_thinking is defined and not enable_thinking %}"
        "{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}{%- endif %}"
    )
    segments = render_segments(chat(USER, ANSWER), with_template("chatml", template))
    assert trained(segments) == "Oslo<|im_end|>"


def test_answer_without_end_of_turn_gets_eos() -> None:
    template = "{% for m in messages %}{{ m.role + ': ' + m.content + '\\n' }}{% endfor %}"
    tokenizer = with_template("chatml", template)
    skeleton, _ = renderer_for(tokenizer).outline(chat(USER, ANSWER))
    assert skeleton.needs_eos
    assert renderer_for(tokenizer).end_of_turn == ""
    assert trained(render_segments(chat(USER, ANSWER), tokenizer)) == " Oslo"


def test_xml_like_arguments_are_filled_as_they_are() -> None:
    template = (
        "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\\n' + m.content }}"
        "{%- for c in m.tool_calls or [] %}{{- '<f=' + c.function.name + '>' }}"
        "{%- for k, v in c.function.arguments.items() %}{{- k ~ '=' ~ v ~ ';' }}{%- endfor %}"
        "{%- endfor %}{{- '<|im_end|>\\n' }}{%- endfor %}"
        "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
    )
    call = FunctionCall(name="f", arguments={"a": 'x "y"', "b": 2})
    answer = Message(role="assistant", tool_calls=(call,), trainable=True)
    segments = render_segments(chat(USER, answer), with_template("chatml", template))
    assert trained(segments) == '<f=f>a=x "y";b=2;<|im_end|>'


def test_same_shape_is_rendered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = copy.deepcopy(FORMATS["chatml"]())
    render_segments(chat(USER, ANSWER), tokenizer)
    monkeypatch.setattr(type(tokenizer), "apply_chat_template", None)
    other = chat(replace(USER, content="Who?"), replace(ANSWER, content="Ibsen"))
    assert trained(render_segments(other, tokenizer)) == "Ibsen<|im_end|>"


@pytest.mark.parametrize(
    ("template", "conversation", "message"),
    [
        (
            None,
            chat(USER, ANSWER),
            "the tokenizer '' has no chat template. Set chat_template_path in the recipe to a "
            "template file, or use an instruction-tuned model. [CHT001]",
        ),
        (
            "{{ raise_exception('no such role') }}",
            chat(USER, ANSWER),
            "the chat template refuses a conversation of user, assistant: no such role. Use "
            "another chat_template_path, or leave out what it cannot show. [CHT003]",
        ),
        (
            "{% for m in messages %}{{ m.content | replace('e', '3') }}{% endfor %}",
            chat(USER, ANSWER),
            "t/train/0: the chat template changes the text of the data in a way that cannot be "
            "repeated. Use another chat_template_path. [CHT004]",
        ),
        (
            "{% for m in messages %}{{ m.content | replace('&', '+') }}{% endfor %}",
            chat(USER, ANSWER),
            "t/train/0: the chat template changes the text 'What is the capital?' in a way that "
            "cannot be repeated. Use another chat_template_path. [CHT004]",
        ),
        (
            "{{ messages[-1].content }}",
            chat(USER, ANSWER),
            "t/train/0: the chat template does not show 'What is the capital?' of the user "
            "message number 1. Use another chat_template_path. [CHT005]",
        ),
        (
            "{% for m in messages %}{{ m.content }}{% endfor %}",
            chat(USER, ANSWER, tools=(SPEC,)),
            "t/train/0: the chat template does not show 'look_up' of a function. Use a chat "
            "template with tool support, or set function_format in the recipe, e.g. to json, which "
            "writes functions and calls as text. [CHT005]",
        ),
        (
            "{% for m in messages %}{{ m.content }}{% endfor %}",
            chat(replace(USER, trainable=True), ANSWER),
            "t/train/0: a user message is marked trainable; only assistant messages can be. "
            "[CHT006]",
        ),
        (
            "{% for m in messages %}{{ m.content }}{% endfor %}",
            chat(),
            "t/train/0: a conversation without messages. [CHT006]",
        ),
    ],
)
def test_template_that_does_not_fit_is_told(template, conversation, message) -> None:
    with pytest.raises(ChatError) as error:
        render_segments(conversation, with_template("chatml", template))
    assert str(error.value) == message


def test_label_of_a_call_that_the_template_drops_is_told() -> None:
    call = FunctionCall(name="look_up", arguments={}, label="var1")
    answer = Message(role="assistant", tool_calls=(call,), trainable=True)
    with pytest.raises(ChatError, match="does not show 'var1'"):
        render_segments(chat(USER, answer, tools=(SPEC,)), FORMATS["chatml"]())


def test_tool_answers_name_their_calls_in_order() -> None:
    template = (
        "{%- for m in messages %}{{- '<|im_start|>' + m.role + ' ' + m.content }}"
        "{%- for c in m.tool_calls or [] %}"
        "{{- c.id + c.function.name + (c.function.arguments | tojson) }}{%- endfor %}"
        "{{- m.tool_call_id or '' }}{{- '<|im_end|>\\n' }}{%- endfor %}"
    )
    calls = tuple(FunctionCall(name=name, arguments={}) for name in ("f", "g"))
    asked = Message(role="assistant", tool_calls=calls)
    told = [Message(role="tool", content=text) for text in ("one", "two")]
    segments = render_segments(chat(USER, asked, *told, ANSWER), with_template("chatml", template))
    assert text_of(segments).split("<|im_start|>")[2:5] == [
        "assistant call00000f{}call00001g{}<|im_end|>\n",
        "tool onecall00000<|im_end|>\n",
        "tool twocall00001<|im_end|>\n",
    ]


def test_answer_is_found_where_the_template_has_no_generation_prompt() -> None:
    template = (
        "{%- for m in messages %}{{- '<|im_start|>' + m.role + ': ' + m.content }}"
        "{%- for c in m.tool_calls or [] %}"
        "{{- '<tool_call>' + c.function.name + '(' + (c.function.arguments | tojson) + ')' }}"
        "{%- endfor %}{{- '<|im_end|>\\n' }}{%- endfor %}"
    )
    tokenizer = with_template("chatml", template)
    # The header is the prompt's, save for its last blank, which vocabularies join with a word.
    assert trained(render_segments(chat(USER, ANSWER), tokenizer)) == " Oslo<|im_end|>"
    call = replace(CALL, tool_calls=(FunctionCall(name="f", arguments={"a": "b"}),))
    assert trained(render_segments(chat(USER, call), tokenizer)) == (
        ' <tool_call>f({"a": "b"})<|im_end|>'
    )


def test_names_of_keywords_and_types_stay_readable_for_the_template() -> None:
    template = (
        "{%- for t in tools or [] %}{%- for n, p in t.function.parameters.properties.items() %}"
        "{{- t.function.name + ' ' + n + ' ' + p.type }}"
        "{{- ' needed' if n in t.function.parameters.required }}"
        "{{- ' text' if p.type == 'string' }}{{- ';' }}{%- endfor %}{%- endfor %}"
        "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\\n' + m.content }}"
        "{{- '<|im_end|>\\n' }}{%- endfor %}"
        "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
    )
    segments = render_segments(chat(USER, ANSWER, tools=(SPEC,)), with_template("chatml", template))
    assert text_of(segments).startswith(
        "look_up place string needed text;look_up type float;<|im_start|>"
    )


def test_first_message_may_be_an_answer() -> None:
    segments = render_segments(chat(ANSWER, USER), FORMATS["chatml"]())
    assert trained(segments) == "Oslo<|im_end|>"


def test_empty_answer_is_its_end_of_turn() -> None:
    segments = render_segments(chat(USER, replace(ANSWER, content="")), FORMATS["embedded"]())
    assert trained(segments) == "<|end|>"
