"""Every chat template that TRL ships: rendered as transformers does, or refused."""

from __future__ import annotations

import contextlib
import copy
import functools
import json
from pathlib import Path

import pytest
import trl
from jinja2.exceptions import TemplateError

from pipeline.chat.encode import encode_conversations
from pipeline.chat.render import render_segments
from pipeline.errors import ChatError
from pipeline.types import Conversation, FunctionCall, FunctionSpec, Message
from tests.unit.chat.formats import FORMATS

TEMPLATES = sorted((Path(trl.__file__).parent / "chat_templates").glob("*.jinja"))
WEATHER = FunctionSpec(
    name="get_weather",
    description="Tells the weather.",
    parameters={
        "type": "object",
        "properties": {
            "place": {"type": "string", "description": "Where."},
            "days": {"type": "integer", "description": "How long."},
            "exact": {"type": "boolean"},
        },
        "required": ["place"],
    },
)
BOOK = FunctionSpec(
    name="book",
    description="Books.",
    parameters={
        "type": "object",
        "properties": {
            "hotels": {"type": "array", "items": {"type": "string"}},
            "rate": {"type": "number"},
        },
    },
)
PLAIN = FunctionCall(name="get_weather", arguments={"place": "New York", "days": 3})
ODD = FunctionCall(
    name="get_weather", arguments={"place": 'O\'Hara "x"\nline', "exact": True, "days": -2}
)
NESTED = FunctionCall(
    name="book",
    arguments={"hotels": ["Ritz", "it's"], "rate": 2.5, "deep": {"b": None, "a": [1, True]}},
)


def user(text):
    return Message(role="user", content=text)


def answer(text="", *calls, trainable=True):
    return Message(role="assistant", content=text, tool_calls=calls, trainable=trainable)


TEXTS = {
    "text": [user("How deep is it?"), answer("Deep.")],
    "blanks": [user("  How deep?\n"), answer("\n Deep. \n")],
    "turns": [user("One?"), answer("1", trainable=False), user("Two?"), answer("2")],
}
FUNCTIONS = {
    "call": [user("Weather?"), answer("", PLAIN)],
    "odd call": [user("Weather?"), answer("", ODD)],
    "nested call": [user("A room?"), answer("", NESTED)],
    "calls": [user("Weather?"), answer("", PLAIN, NESTED)],
    "answer to a result": [
        user("Weather?"),
        answer("", PLAIN, trainable=False),
        Message(role="tool", content='{"t": 3}'),
        answer("Cold."),
    ],
    "no call": [user("Weather?"), answer("None")],
}
PICTURES = {"idefics3", "llava_next", "smolvlm"}
"""Their contents are lists of parts; text as such they do not show."""
WITHOUT_FUNCTIONS = {
    *("cohere", "cohere2", "deepseek_r1_distill", "deepseekv3", "gemma", "gemma3"),
    *("llama3", "phi3", "phi3_5", "qwen2_5_vl"),
}
REFUSED = {
    ("gptoss", "calls"): "CHT005",  # shows one call only
    ("llama3_1", "calls"): "CHT003",  # one call only, as it says
    ("llama3_2", "calls"): "CHT003",
    # It cuts the names of functions at their first period.
    **{("muse_glimmer", shape): "CHT004" for shape in FUNCTIONS},
    # It shows functions, but no calls.
    **{("lfm2", shape): "CHT005" for shape in FUNCTIONS if shape != "no call"},
}


@functools.cache
def with_template(path):
    tokenizer = copy.deepcopy(FORMATS["chatml"]())
    tokenizer.bos_token = "<bos>"
    tokenizer.chat_template = path.read_text(encoding="utf-8")
    return tokenizer


def transformers_text(tokenizer, messages, functions, *, as_text):
    """What transformers renders of the real texts, nothing of ours in between."""
    shown = []
    num_calls = 0
    open_calls = []
    for message in messages:
        item = {"role": message.role, "content": message.content}
        if message.role == "tool":
            item["tool_call_id"] = open_calls.pop(0)
        if message.tool_calls:
            item["tool_calls"] = []
            for call in message.tool_calls:
                call_id = f"call{num_calls:05d}"
                num_calls += 1
                open_calls.append(call_id)
                arguments = dict(call.arguments)
                written = json.dumps(arguments, ensure_ascii=False) if as_text else arguments
                function = {"name": call.name, "arguments": written}
                item["tool_calls"].append({"id": call_id, "type": "function", "function": function})
        shown.append(item)
    tools = [
        {
            "type": "function",
            "function": {
                "name": spec.name,
                "description": spec.description,
                "parameters": spec.parameters,
            },
        }
        for spec in functions
    ]
    return tokenizer.apply_chat_template(
        shown, tools=tools or None, tokenize=False, date_string="26 Jul 2024"
    )


def possible_texts(tokenizer, messages, functions):
    """With arguments as mappings and as JSON text; each template takes one of them at least."""
    texts = []
    for as_text in (False, True):
        with contextlib.suppress(TemplateError, TypeError):
            texts.append(transformers_text(tokenizer, messages, functions, as_text=as_text))
    return texts


def expected_refusal(name, shape):
    family = name.removesuffix("_training")
    if family in PICTURES:
        return {"CHT003", "CHT005"}
    if (family, shape) in REFUSED:
        return {REFUSED[family, shape]}
    if shape in FUNCTIONS and family in WITHOUT_FUNCTIONS:
        return {"CHT003", "CHT005"}
    return None


def accepting(shape):
    """The templates that show conversations of this shape."""
    return [path for path in TEMPLATES if expected_refusal(path.stem, shape) is None]


@pytest.mark.parametrize("shape", [*TEXTS, *FUNCTIONS])
@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_a_template_of_trl_is_rendered_as_transformers_does_or_refused(path, shape):
    tokenizer = with_template(path)
    functions = (WEATHER, BOOK) if shape in FUNCTIONS else ()
    messages = {**TEXTS, **FUNCTIONS}[shape]
    conversation = Conversation(
        key="t/train/0", task="t", messages=tuple(messages), tools=functions
    )
    refusal = expected_refusal(path.stem, shape)
    if refusal is not None:
        with pytest.raises(ChatError) as caught:
            render_segments(conversation, tokenizer)
        assert caught.value.code in refusal
        return
    segments = render_segments(conversation, tokenizer)
    whole = "".join(segment.text for segment in segments)
    assert whole in possible_texts(tokenizer, messages, functions)
    trained = "".join(segment.text for segment in segments if segment.trainable)
    prompt, _, rest = whole.rpartition(trained)
    [encoded] = encode_conversations([conversation], tokenizer)
    ids = [
        token
        for text in (prompt, trained, rest)
        for token in tokenizer(text, add_special_tokens=False)["input_ids"]
    ]
    # A template without an end of the turn gets the tokenizer's.
    assert encoded.input_ids in (ids, [*ids, tokenizer.eos_token_id])


@pytest.mark.parametrize("path", accepting("answer to a result"), ids=lambda path: path.stem)
def test_calls_are_learned_whole_and_results_not_at_all(path):
    call = FunctionCall(name="book", arguments={"hotels": ["Ritz"], "rate": 4711})
    messages = (
        user("A room?"),
        answer("", call),
        Message(role="tool", content='{"t": 3}'),
        answer("Booked."),
    )
    conversation = Conversation(key="t/train/0", task="t", messages=messages, tools=(WEATHER, BOOK))
    segments = render_segments(conversation, with_template(path))
    shown = "".join(segment.text if segment.trainable else "\0" for segment in segments)
    first, last = (part for part in shown.split("\0") if part)
    assert first.count("book") == first.count("Ritz") == first.count("4711") == 1
    assert "Booked." in last
    assert '{"t": 3}' not in shown


@pytest.mark.parametrize("has_system", [False, True])
@pytest.mark.parametrize("path", accepting("text"), ids=lambda path: path.stem)
def test_with_calls_as_text_functions_are_told_in_words_where_the_template_has_no_place(
    path, has_system
):
    tokenizer = with_template(path)
    system = (Message(role="system", content="Be brief."),) if has_system else ()
    messages = (*system, user("Weather?"), answer('{"name": "get_weather", "arguments": {}}'))
    conversation = Conversation(
        key="t/train/0", task="t", messages=messages, tools=(WEATHER, BOOK), can_tell_tools=True
    )
    family = path.stem.removesuffix("_training")
    if family == "muse_glimmer":
        # It shows functions, but changes their names.
        with pytest.raises(ChatError, match="CHT004"):
            render_segments(conversation, tokenizer)
        return
    segments = render_segments(conversation, tokenizer)
    whole = "".join(segment.text for segment in segments)
    trained = "".join(segment.text for segment in segments if segment.trainable)
    assert whole.count("Tells the weather.") == 1
    assert "Tells the weather." not in trained
    assert '{"name": "get_weather", "arguments": {}}' in trained
    if family not in WITHOUT_FUNCTIONS:
        assert whole in possible_texts(tokenizer, messages, (WEATHER, BOOK))
        return
    lines = [
        json.dumps({"name": s.name, "description": s.description, "parameters": s.parameters})
        for s in (WEATHER, BOOK)
    ]
    told = "\n".join(["These functions can be called, one per line:", *lines])
    told = f"Be brief.\n\n{told}" if has_system else told
    first = Message(role="system", content=told)
    texts = possible_texts(tokenizer, [first, *messages[-2:]], ())
    joined = user(f"{told}\n\nWeather?")
    assert whole in (
        texts if family != "gemma" else possible_texts(tokenizer, [joined, messages[-1]], ())
    )


MINIMAL = """{%- for m in messages %}
{{- '<|im_start|>' + m.role + '\\n' + CONTENT + '<|im_end|>\\n' }}
{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""


@pytest.mark.parametrize(
    "content",
    [
        "'\\n' + m.content.lstrip('\\n')",
        "'\\n\\n' + m.content.lstrip('\\n')",
        "'\\n' * 6 + m.content",
        "m.content.strip('\\n') + '\\n'",
        "'\\n' + m.content.strip() + '\\n\\n'",
        "'\\t' + m.content.strip('\\n') + '\\t\\n'",
        "(m.content.strip('\\n') + '\\n') | tojson",
    ],
)
def test_line_breaks_of_the_template_are_not_taken_for_those_of_the_data(content):
    tokenizer = copy.deepcopy(FORMATS["chatml"]())
    tokenizer.chat_template = MINIMAL.replace("CONTENT", content)
    for messages in TEXTS.values():
        conversation = Conversation(key="t/train/0", task="t", messages=tuple(messages))
        segments = render_segments(conversation, tokenizer)
        assert "".join(segment.text for segment in segments) == transformers_text(
            tokenizer, messages, (), as_text=False
        )
