"""A conversation as template input in which every text from the data is a numbered slot.

The template never sees the data: it is rendered with placeholders, and what it did to each of
them (trimmed it, escaped it for JSON) is read off the rendered text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Literal, cast

from pipeline.types import Conversation, FunctionCall, Json, Message

Wrap = Callable[[int, bool, str], str]
"""Text that stands for slot number i; the flag tells whether it is the content of a message, and
the digits, where there are any, how it is sorted among the keys."""

ArgumentsForm = Literal["object", "text"]
"""Whether a template is given the arguments of a call as a mapping or as JSON text."""

# fmt: off
_SCHEMA_KEYS = frozenset((
    "type", "function", "name", "description", "parameters", "properties", "required", "items",
    "enum", "default", "format", "additionalProperties", "anyOf", "oneOf", "allOf", "not", "const",
    "title", "examples", "minimum", "maximum", "minItems", "maxItems", "minLength", "maxLength",
    "pattern", "uniqueItems", "nullable", "$defs", "definitions", "$ref", "strict", "returns",
    "return", "response", "optional",
))
# fmt: on
_TYPE_NAMES = frozenset(
    ("string", "number", "integer", "boolean", "array", "object", "null", "function")
)
_PROPERTY_MAPS = frozenset(("properties", "$defs", "definitions"))

_MARK = "qz7f3k9w"
# So many line breaks no template writes beside a content: what is left of them tells whether they
# were taken off, also where the template puts a few of its own in their place.
_BREAKS = "\n" * 8
_LEFT_PAD, _RIGHT_PAD = f"{_BREAKS}\t", f"\t{_BREAKS}"
_PROBE = "\"\\\n\t<é&'"


def _raw(text: str) -> str:
    return text


def _json(text: str) -> str:
    return encode_basestring(text)[1:-1]


def _json_ascii(text: str) -> str:
    return encode_basestring_ascii(text)[1:-1]


def _json_twice(text: str) -> str:
    return _json(_json(text))


def _single_quoted(text: str) -> str:
    for sign, written in (("\\", "\\\\"), ("'", "\\'"), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(sign, written)
    return text


Escape = Callable[[str], str]
_ESCAPES: tuple[Escape, ...] = (_raw, _json, _json_ascii, _json_twice, _single_quoted)
_ESCAPES_BY_PROBE: dict[str, Escape] = {escape(_PROBE): escape for escape in _ESCAPES}
# As Python shows a text within a list: the quotes depend on the text, so they are its own.
_ESCAPES_BY_PROBE[repr(_PROBE)[1:-1]] = repr
SINGLE_ESCAPES: frozenset[Escape] = frozenset((_raw, _json, _json_ascii, _single_quoted, repr))
"""Ways to write an argument of a call that a parser reads back as it was."""


def _pads(whole: str) -> str:
    """Return a pattern for what may be left of a pad: all, only the tab, or nothing."""
    written = {escape(pad) for escape in _ESCAPES for pad in (whole, "\t")}
    return "|".join(re.escape(pad) for pad in sorted(written, key=len, reverse=True))


SLOT_PATTERN = re.compile(
    rf"(?P<left>{_pads(_LEFT_PAD)})?{_MARK}\d*a(?P<slot>\d+)x(?P<probe>.*?){_MARK}b"
    rf"(?P<right>{_pads(_RIGHT_PAD)})?",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Slot:
    """One text of the data."""

    text: str
    message: int
    """Index of the message it belongs to; -1 for a function's description."""
    is_required: bool
    """Whether a template that leaves it out loses something the model must see."""
    is_content: bool
    """Whether it is the content of a message, not a part of a function or call."""
    rank: str = ""
    """Digits that sort like the text does among the keys, for templates that sort keys."""


@dataclass(slots=True)
class TemplateInput:
    """What `apply_chat_template` is given, and the texts behind its slots."""

    messages: list[dict[str, Json]]
    tools: list[dict[str, Json]] | None
    slots: list[Slot]


@dataclass(slots=True)
class _Builder:
    wrap: Wrap
    form: ArgumentsForm
    ranks: Mapping[str, str]
    slots: list[Slot] = field(default_factory=list)
    known: dict[tuple[int, str], str] = field(default_factory=dict)
    num_calls: int = 0
    open_calls: list[str] = field(default_factory=list)
    """Ids of calls that wait for their answer."""

    def add(self, text: str, message: int, *, is_required: bool = True) -> str:
        """Return the placeholder of a text; equal texts of one message share it."""
        found = self.known.get((message, text))
        if found is None:
            rank = self.ranks.get(text, "")
            found = self.known[message, text] = self.wrap(len(self.slots), False, rank)
            self.slots.append(Slot(text, message, is_required, is_content=False, rank=rank))
        return found

    def add_content(self, text: str, message: int) -> str:
        placeholder = self.wrap(len(self.slots), True, "")
        self.slots.append(Slot(text, message, is_required=True, is_content=True))
        return placeholder

    def replace_all(self, value: Json, message: int) -> Json:
        """Return `value` with every key and text replaced."""
        if isinstance(value, str):
            return self.add(value, message)
        if isinstance(value, list):
            return [self.replace_all(member, message) for member in value]
        if isinstance(value, dict):
            return {
                self.add(key, message): self.replace_all(member, message)
                for key, member in value.items()
            }
        return value

    def replace_schema(self, value: Json, *, key: str = "", names: bool = False) -> Json:
        """Return a JSON Schema with texts replaced; keywords and type names stay readable."""
        if isinstance(value, str):
            known_type = key == "type" and value in _TYPE_NAMES
            return value if known_type else self.add(value, -1, is_required=False)
        if isinstance(value, list):
            return [self.replace_schema(member, key=key) for member in value]
        if isinstance(value, dict):
            replaced: dict[str, Json] = {}
            for child, member in value.items():
                is_keyword = child in _SCHEMA_KEYS and not names
                new_key = child if is_keyword else self.add(child, -1, is_required=False)
                are_names = is_keyword and child in _PROPERTY_MAPS
                replaced[new_key] = self.replace_schema(member, key=child, names=are_names)
            return replaced
        return value

    def call(self, call: FunctionCall, message: int) -> Json:
        arguments = self.replace_all(cast("Json", call.arguments), message)
        function: dict[str, Json] = {
            "name": self.add(call.name, message),
            "arguments": (
                arguments if self.form == "object" else json.dumps(arguments, ensure_ascii=False)
            ),
        }
        if call.label is not None:
            function["label"] = self.add(call.label, message)
        # Nine letters and digits: the one shape of call id that every known template accepts.
        call_id = f"call{self.num_calls:05d}"
        self.num_calls += 1
        self.open_calls.append(call_id)
        return {"id": call_id, "type": "function", "function": function}

    def message(self, message: Message, index: int) -> dict[str, Json]:
        built: dict[str, Json] = {"role": message.role, "content": ""}
        needs_slot = message.trainable and not message.tool_calls
        if message.content or needs_slot:
            built["content"] = self.add_content(message.content, index)
        if message.name is not None:
            built["name"] = self.add(message.name, index, is_required=False)
        if message.role == "tool":
            built["tool_call_id"] = self.open_calls.pop(0) if self.open_calls else "call00000"
        if message.tool_calls:
            self.open_calls.clear()
            built["tool_calls"] = [self.call(call, index) for call in message.tool_calls]
        return built


def build_input(
    conversation: Conversation, wrap: Wrap, form: ArgumentsForm, *, keeps_order: bool = True
) -> TemplateInput:
    """Return the template input of a conversation, with `wrap(i, ...)` in place of text i.

    Args:
        conversation: What to show.
        wrap: Gives the placeholders.
        form: Of the arguments of calls.
        keeps_order: Whether the template shows the keys of mappings as they come. If not, their
            placeholders are sorted as they are.
    """
    builder = _Builder(wrap, form, {} if keeps_order else _key_ranks(conversation))
    tools: list[dict[str, Json]] = []
    for spec in conversation.tools:
        function: dict[str, Json] = {"name": builder.add(spec.name, -1)}
        function["description"] = builder.add(spec.description, -1, is_required=False)
        function["parameters"] = builder.replace_schema(cast("Json", spec.parameters))
        tools.append({"type": "function", "function": function})
    messages = [builder.message(m, index) for index, m in enumerate(conversation.messages)]
    return TemplateInput(messages, tools or None, builder.slots)


def _key_ranks(conversation: Conversation) -> dict[str, str]:
    """Return digits for every key of functions and calls, in the order of Jinja's `dictsort`."""
    keys: set[str] = set()

    def collect(value: Json) -> None:
        if isinstance(value, dict):
            keys.update(value)
        if isinstance(value, dict | list):
            for member in value.values() if isinstance(value, dict) else value:
                collect(member)

    for spec in conversation.tools:
        collect(cast("Json", spec.parameters))
    for message in conversation.messages:
        for call in message.tool_calls:
            collect(cast("Json", call.arguments))
    ordered = sorted(keys, key=lambda key: (key.lower(), key))
    return {key: f"{rank:06d}" for rank, key in enumerate(ordered)}


def probe_text(slot: int, is_content: bool, rank: str = "") -> str:
    """Return the placeholder of a slot: blanks to be trimmed around text to be escaped."""
    marked = f"{_MARK}{rank}a{slot}x{_PROBE}{_MARK}b"
    return f"{_LEFT_PAD}{marked}{_RIGHT_PAD}" if is_content else marked


def sample_text(slot: int, _is_content: bool, rank: str = "") -> str:
    """Return an ordinary text, different for every slot."""
    return f"{rank}Sample text {slot}."


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A place of a slot in a rendered template, and what the template does to the text there."""

    slot: int
    left_strip: str | None
    """Letters taken off the start: `""` none, `None` every blank."""
    right_strip: str | None
    escape: Escape | None
    """How the text is written there; `None` when the template changes it in an unknown way."""

    def fill(self, text: str) -> str:
        """Return `text` as the template writes it here."""
        assert self.escape is not None
        if self.left_strip != "":
            text = text.lstrip(self.left_strip)
        if self.right_strip != "":
            text = text.rstrip(self.right_strip)
        return self.escape(text)


Place = tuple[int, int, Occurrence]
"""Start, end and meaning of a placeholder in a rendered template."""


def read_rendered(rendered: str, slots: Sequence[Slot]) -> list[Place]:
    """Return start, end and meaning of every placeholder in a rendered template."""
    found = []
    for match in SLOT_PATTERN.finditer(rendered):
        slot = int(match["slot"])
        escape = _ESCAPES_BY_PROBE.get(match["probe"])
        if escape is repr and (slots[slot].is_content or rendered[match.start() - 1] != "'"):
            escape = None
        if slots[slot].is_content:
            strips = {None: None, (escape or _raw)("\t"): "\n"}
            left = "" if match["left"] == (escape or _raw)(_LEFT_PAD) else strips[match["left"]]
            right = "" if match["right"] == (escape or _raw)(_RIGHT_PAD) else strips[match["right"]]
            found.append((match.start(), match.end(), Occurrence(slot, left, right, escape)))
        else:
            start, end = match.start() + len(match["left"] or ""), match.end()
            end -= len(match["right"] or "")
            if escape is repr:
                start, end = start - 1, end + 1
            found.append((start, end, Occurrence(slot, "", "", escape)))
    return found
