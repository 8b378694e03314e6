"""Whether the calls that a chat template writes can be read back, and in which format they are.

A model that has learned the template perfectly answers in its format: if that cannot be read, all
its calls are scored as wrong, or as no calls at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pipeline.chat.render import render_segments, renderer_for
from pipeline.errors import ChatError, ParseError
from pipeline.functions.dialects import detect_dialect, parse_calls, without_thinking
from pipeline.types import Conversation, FunctionCall, FunctionSpec, Json, Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_SPEC = FunctionSpec(
    name="look_up",
    description="Looks up a place.",
    parameters={
        "type": "object",
        "properties": {"place": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["place"],
    },
)
_CALL = FunctionCall(name="look_up", arguments={"place": "New York", "days": 3})
_SAMPLE = Conversation(
    key="sample/train/0",
    task="sample",
    messages=(
        Message(role="user", content="How warm is it?"),
        Message(role="assistant", tool_calls=(_CALL,), trainable=True),
    ),
    tools=(_SPEC,),
)


def find_call_format(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the name of the format in which the tokenizer's chat template writes calls.

    Returns:
        A name in `pipeline.functions.dialects.DIALECTS` or `template_calls.FORMS`.

    Raises:
        ChatError: What the template writes of a call is not read back as that call (CHT013), or
            it shows no functions or calls (CHT003 to CHT005).
    """
    renderer = renderer_for(tokenizer)
    segments = render_segments(_SAMPLE, tokenizer)
    whole = "".join(segment.text for segment in segments if segment.trainable)
    answer = whole.removesuffix(renderer.end_of_turn).removeprefix(renderer.answer_header)
    text = without_thinking(answer)
    found = detect_dialect(text)
    functions: list[dict[str, Json]] = [
        {"name": _SPEC.name, "parameters": cast("Json", _SPEC.parameters)}
    ]
    try:
        calls = [] if found is None else parse_calls(text, found, functions=functions)
    except ParseError:
        calls = []
    if found is None or calls != [_CALL]:
        raise ChatError(
            "CHT013",
            f"the calls of the chat template cannot be read back: {text.strip()[:80]!r}",
            hint="Set function_format in the recipe, e.g. to json, or use another "
            "chat_template_path",
        )
    return found
