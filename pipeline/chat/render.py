"""A conversation through the model's own chat template, with data and template kept apart.

    Conversation -> template input with placeholders -> rendered text -> segments

The template decides everything about the format. Rendering placeholders in place of the data
tells which characters are its own, where the data stands, and how it is trimmed or escaped; so
no search for headers or markers in text is ever needed, and no data can look like a header.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import takewhile
from typing import TYPE_CHECKING, cast

from jinja2.exceptions import TemplateError

from pipeline.chat.folding import fold_system, fold_tools
from pipeline.chat.slots import (
    SINGLE_ESCAPES,
    ArgumentsForm,
    Occurrence,
    Place,
    Slot,
    TemplateInput,
    Wrap,
    build_input,
    probe_text,
    read_rendered,
    sample_text,
)
from pipeline.chat.vocabulary import encoder_for
from pipeline.errors import ChatError
from pipeline.types import Conversation, FunctionCall, FunctionSpec, Json, Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_TEMPLATE_SETTINGS: dict[str, Json] = {
    # Templates that print today's date would train on another prompt every day.
    "date_string": "26 Jul 2024",
}
_TEMPLATE_FAILURES = (TemplateError, TypeError, ValueError, KeyError, AttributeError, IndexError)
_MAX_CACHED_SHAPES = 4096
_TOOLS_HINT = (
    "Use a chat template with tool support, or set function_format in the recipe, e.g. to json, "
    "which writes functions and calls as text"
)
_SAMPLE = Conversation(
    key="sample/train/0",
    task="sample",
    messages=(
        Message(role="user", content="Hello."),
        Message(role="assistant", content="Hello!", trainable=True),
    ),
)


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of the rendered conversation."""

    text: str
    is_content: bool
    """True for data, which must not become a control token; False for template text."""
    trainable: bool
    """Whether the model learns to write it: an answer and the end of its turn."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A template text, or a place of a slot."""

    text: str
    occurrence: Occurrence | None
    trainable: bool


@dataclass(frozen=True, eq=False)
class Skeleton:
    """What conversations of one shape have in common: all but the data."""

    pieces: tuple[Piece, ...]
    num_prompt_pieces: int
    """How many pieces come before the last trainable answer; all, when there is none."""
    needs_eos: bool
    """Whether the template ends the last answer with nothing, so that EOS must follow it."""

    def fill(self, texts: Sequence[str]) -> tuple[Segment, ...]:
        """Return the segments of a conversation with these texts in its slots."""
        return tuple(
            Segment(piece.text, False, piece.trainable)
            if piece.occurrence is None
            else Segment(piece.occurrence.fill(texts[piece.occurrence.slot]), True, piece.trainable)
            for piece in self.pieces
        )


class ChatRenderer:
    """Renders conversations with one tokenizer's chat template; shapes are cached."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Take the template of `tokenizer`.

        Raises:
            ChatError: It has none.
        """
        if not tokenizer.chat_template:
            raise ChatError(
                "CHT001",
                f"the tokenizer {tokenizer.name_or_path!r} has no chat template",
                hint="Set chat_template_path in the recipe to a template file, "
                "or use an instruction-tuned model",
            )
        self._chat_template = tokenizer.chat_template
        self._tokenizer = weakref.proxy(tokenizer)
        self._encoder = encoder_for(tokenizer)
        self._skeletons: dict[str, Skeleton] = {}
        self._answer_headers: dict[str, str] = {}
        self._verified: set[str] = set()

    def is_current(self, tokenizer: PreTrainedTokenizerBase) -> bool:
        """Return whether `tokenizer` still has the template and tokens it was made with."""
        same_tokens = self._encoder is encoder_for(tokenizer)
        return same_tokens and bool(self._chat_template == tokenizer.chat_template)

    def outline(self, conversation: Conversation) -> tuple[Skeleton, list[str]]:
        """Return the skeleton of a conversation, and the texts of its slots.

        Raises:
            ChatError: The template refuses the conversation, leaves a part out, or changes text
                in a way that cannot be repeated.
        """
        _check_roles(conversation)
        if conversation.tools and conversation.can_tell_tools and not self._shows_tools:
            conversation = fold_tools(conversation)
        if conversation.messages[0].role == "system" and not self._accepts_system:
            conversation = fold_system(conversation)
        source: TemplateInput | None = None
        if _has_functions(conversation):
            source = self._input(conversation, probe_text)
            flags = [message.trainable for message in conversation.messages]
            key = json.dumps([flags, source.messages, source.tools])
            texts = [slot.text for slot in source.slots]
        else:
            key, texts = _plain_shape(conversation)
        skeleton = self._skeletons.get(key)
        if skeleton is None:
            source = source or self._input(conversation, probe_text)
            skeleton = self._build(conversation, source)
            if len(self._skeletons) >= _MAX_CACHED_SHAPES:
                self._skeletons.clear()
            self._skeletons[key] = skeleton
        return skeleton, texts

    @cached_property
    def end_of_turn(self) -> str:
        """Template text that ends an answer, up to its control token; empty if there is none."""
        source = build_input(_SAMPLE, probe_text, "object")
        rendered = self._apply(source)
        found = read_rendered(rendered, source.slots)
        tail = rendered[found[-1][1] :] if found else ""
        end = self._encoder.find_control_end(tail)
        return tail.rstrip() if end is None else tail[:end]

    @cached_property
    def answer_header(self) -> str:
        """Template text that the model writes in front of every answer in words; mostly none."""
        skeleton, _ = self.outline(_SAMPLE)
        answer = skeleton.pieces[skeleton.num_prompt_pieces :]
        return "".join(piece.text for piece in takewhile(lambda p: p.occurrence is None, answer))

    @cached_property
    def _accepts_system(self) -> bool:
        system = Message(role="system", content="Be brief.")
        sample = replace(_SAMPLE, messages=(system, *_SAMPLE.messages))
        try:
            self._apply(build_input(sample, sample_text, "object"))
        except ChatError:
            return False
        return True

    @cached_property
    def _shows_tools(self) -> bool:
        parameters: dict[str, Json] = {"type": "object", "properties": {}}
        spec = FunctionSpec(name="look_up", description="Looks up.", parameters=parameters)
        sample = replace(_SAMPLE, tools=(spec,))
        source = build_input(sample, probe_text, "object")
        try:
            places = read_rendered(self._apply(source), source.slots)
        except ChatError:
            return False
        return any(source.slots[place.slot].text == "look_up" for *_, place in places)

    @cached_property
    def _arguments_form(self) -> ArgumentsForm:
        """The form of call arguments that this template writes as plain JSON or plain text."""
        call = FunctionCall(name="look_up", arguments={"place": "Oslo"})
        answer = Message(role="assistant", tool_calls=(call,), trainable=True)
        sample = replace(_SAMPLE, messages=(_SAMPLE.messages[0], answer))
        forms: tuple[ArgumentsForm, ...] = ("object", "text")
        for form in forms:
            source = build_input(sample, probe_text, form)
            try:
                found = read_rendered(self._apply(source), source.slots)
            except ChatError:
                continue
            readable = {at.slot for *_, at in found if at.escape in SINGLE_ESCAPES}
            if readable >= set(range(len(source.slots))):
                return form
        return "object"

    @cached_property
    def _keeps_order(self) -> bool:
        """Whether the arguments of a call are shown in the order in which they are given."""
        call = FunctionCall(name="look_up", arguments={"zone": 1, "area": 2})
        answer = Message(role="assistant", tool_calls=(call,), trainable=True)
        sample = replace(_SAMPLE, messages=(_SAMPLE.messages[0], answer))

        def descending(slot: int, _is_content: bool, _rank: str) -> str:
            return f"{'zyxw'[slot]} text"

        source = build_input(sample, descending, self._arguments_form)
        try:
            rendered = self._apply(source)
        except ChatError:
            return True
        zone, area = (
            rendered.rfind(descending(number, False, ""))
            for number, slot in enumerate(source.slots)
            if slot.text in call.arguments
        )
        return zone <= area

    def _input(self, conversation: Conversation, wrap: Wrap) -> TemplateInput:
        if not _has_functions(conversation):
            return build_input(conversation, wrap, "object")
        return build_input(conversation, wrap, self._arguments_form, keeps_order=self._keeps_order)

    def _apply(
        self,
        source: TemplateInput,
        *,
        num_messages: int | None = None,
        add_generation_prompt: bool = False,
        **settings: Json,
    ) -> str:
        try:
            rendered = self._tokenizer.apply_chat_template(
                source.messages[:num_messages],
                tools=source.tools,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                **_TEMPLATE_SETTINGS,
                **settings,
            )
        except _TEMPLATE_FAILURES as error:
            roles = ", ".join(str(message["role"]) for message in source.messages)
            raise ChatError(
                "CHT003",
                f"the chat template refuses a conversation of {roles}: {error}",
                hint="Use another chat_template_path, or leave out what it cannot show",
            ) from error
        return cast("str", rendered)

    def _build(self, conversation: Conversation, source: TemplateInput) -> Skeleton:
        rendered = self._apply(source)
        places = read_rendered(rendered, source.slots)
        _check_places(conversation, source, places)
        regions = [
            self._answer_region(source, index, rendered, places)
            for index, message in enumerate(conversation.messages)
            if message.trainable
        ]
        pieces = _cut(rendered, places, regions)
        prompt_end = regions[-1][0] if regions else len(rendered)
        num_prompt_pieces = sum(1 for start, _ in pieces if start < prompt_end)
        needs_eos = bool(regions and conversation.messages[-1].trainable and not self.end_of_turn)
        skeleton = Skeleton(tuple(piece for _, piece in pieces), num_prompt_pieces, needs_eos)
        self._verify(conversation, skeleton)
        return skeleton

    def _answer_region(
        self, source: TemplateInput, index: int, rendered: str, places: Sequence[Place]
    ) -> tuple[int, int]:
        """Return where the answer of message `index` starts, and where its turn has ended."""
        mine = [place for place in places if source.slots[place[2].slot].message == index]
        first = mine[0][0]
        coarse = f"{index} {_coarse_shape(source)}"
        header = self._answer_headers.get(coarse)
        if header is None or not rendered[:first].endswith(header):
            header = self._answer_header(source, index, rendered[:first])
            self._answer_headers[coarse] = header
        start = first - len(header)
        marker = self.end_of_turn
        later = [at for at, _, place in places if source.slots[place.slot].message > index]
        end = rendered.find(marker, first, min(later, default=None)) if marker else -1
        if end >= 0:
            return start, end + len(marker)
        is_last = index == len(source.messages) - 1
        shown = rendered if is_last else self._apply(source, num_messages=index + 1)
        if rendered.startswith(shown):
            # What a template writes behind the last text of a call belongs to the answer; the turn
            # of a result, which may tell the name of the function again, does not.
            inside = (end for _, end, _ in mine if end <= len(shown))
            return start, max(len(shown.rstrip()), *inside)
        return start, mine[-1][1]

    def _answer_header(self, source: TemplateInput, index: int, before: str) -> str:
        """Return the end of `before` that the model writes itself.

        That is all after the generation prompt: nothing for most templates, the start of the
        call for an answer with tool calls.
        """
        if index == 0:
            return ""
        bare = self._apply(source, num_messages=index)
        # Answers hold no thoughts, so the prompt is the one of a model told not to think.
        for settings in ({"enable_thinking": False}, {}):
            prompt = self._apply(source, num_messages=index, add_generation_prompt=True, **settings)
            if prompt != bare and before.startswith(prompt):
                return before[len(prompt) :]
        if not before.startswith(bare):
            return ""
        return self._header_without_generation_prompt(source, index, before[len(bare) :])

    def _header_without_generation_prompt(
        self, source: TemplateInput, index: int, header: str
    ) -> str:
        """Return the part of `header` to be learned, for a template without generation prompt.

        What stands before any plain answer belongs to the prompt, save for a last blank: most
        vocabularies join it with the next word.
        """
        number = len(source.slots)
        answer: dict[str, Json] = {"role": "assistant", "content": probe_text(number, True)}
        slots = [*source.slots, Slot("", index, is_required=True, is_content=True)]
        plain = TemplateInput([*source.messages[:index], answer], source.tools, slots)
        rendered = self._apply(plain)
        start = next(
            (at for at, _, place in read_rendered(rendered, slots) if place.slot == number), 0
        )
        shown = rendered[:start].removeprefix(self._apply(source, num_messages=index))
        pairs = takewhile(lambda pair: pair[0] == pair[1], zip(header, shown, strict=False))
        num_common = sum(1 for _ in pairs)
        return header[len(header[:num_common].rstrip(" ")) :]

    def _verify(self, conversation: Conversation, skeleton: Skeleton) -> None:
        """Check once per kind of conversation that filling equals rendering ordinary text."""
        source = self._input(conversation, sample_text)
        coarse = _coarse_shape(source)
        if coarse in self._verified:
            return
        texts = [sample_text(i, True, slot.rank) for i, slot in enumerate(source.slots)]
        filled = "".join(segment.text for segment in skeleton.fill(texts))
        if filled != self._apply(source):
            raise ChatError(
                "CHT004",
                "the chat template changes the text of the data in a way that cannot be repeated",
                where=conversation.key,
                hint="Use another chat_template_path",
            )
        self._verified.add(coarse)


_RENDERERS: weakref.WeakKeyDictionary[PreTrainedTokenizerBase, ChatRenderer] = (
    weakref.WeakKeyDictionary()
)


def renderer_for(tokenizer: PreTrainedTokenizerBase) -> ChatRenderer:
    """Return the renderer of `tokenizer`, built again after its template or tokens changed.

    Raises:
        ChatError: The tokenizer has no chat template or no fast backend.
    """
    renderer = _RENDERERS.get(tokenizer)
    if renderer is None or not renderer.is_current(tokenizer):
        renderer = _RENDERERS[tokenizer] = ChatRenderer(tokenizer)
    return renderer


def render_segments(
    conversation: Conversation, tokenizer: PreTrainedTokenizerBase
) -> tuple[Segment, ...]:
    """Return a conversation as pieces of template text and of content, in order.

    Joined, the texts are what `apply_chat_template` renders. A template that refuses a system
    message is given its text in front of the first user message.

    Raises:
        ChatError: No chat template (CHT001), no fast backend (CHT002), or the template refuses
            (CHT003), changes (CHT004) or leaves out (CHT005) what the conversation holds.
    """
    skeleton, texts = renderer_for(tokenizer).outline(conversation)
    return skeleton.fill(texts)


def _has_functions(conversation: Conversation) -> bool:
    return bool(conversation.tools) or any(m.tool_calls for m in conversation.messages)


def _check_roles(conversation: Conversation) -> None:
    if not conversation.messages:
        raise ChatError("CHT006", "a conversation without messages", where=conversation.key)
    for message in conversation.messages:
        if message.trainable and message.role != "assistant":
            raise ChatError(
                "CHT006",
                f"a {message.role} message is marked trainable; only assistant messages can be",
                where=conversation.key,
            )


def _check_places(
    conversation: Conversation, source: TemplateInput, places: Sequence[Place]
) -> None:
    """Raise where the template changed a text in an unknown way, or left a needed one out."""
    for _, _, occurrence in places:
        if occurrence.escape is None:
            raise ChatError(
                "CHT004",
                "the chat template changes the text "
                f"{source.slots[occurrence.slot].text[:40]!r} in a way that cannot be repeated",
                where=conversation.key,
                hint="Use another chat_template_path",
            )
    shown = {occurrence.slot for _, _, occurrence in places}
    for number, slot in enumerate(source.slots):
        if slot.is_required and number not in shown:
            what, hint = "a function", _TOOLS_HINT
            if slot.message >= 0:
                message = conversation.messages[slot.message]
                what = f"the {message.role} message number {slot.message + 1}"
                if slot.is_content or not message.trainable:
                    hint = "Use another chat_template_path"
                    hint += "" if slot.is_content else ", of a template with tool support"
            raise ChatError(
                "CHT005",
                f"the chat template does not show {slot.text[:40]!r} of {what}",
                where=conversation.key,
                hint=hint,
            )


def _plain_shape(conversation: Conversation) -> tuple[str, list[str]]:
    """Return cache key and slot texts of a conversation without functions."""
    key, texts = "", []
    for message in conversation.messages:
        has_slot = bool(message.content) or message.trainable
        key += f"{message.role}{has_slot:d}{message.trainable:d}{message.name is not None:d} "
        if has_slot:
            texts.append(message.content)
        if message.name is not None:
            texts.append(message.name)
    return key, texts


def _coarse_shape(source: TemplateInput) -> str:
    """Return what decides over headers and escapes: roles, empty contents, number of calls."""
    turns = [
        f"{message['role']}{bool(message['content']):d}{len(cast('list[Json]', calls))}"
        for message in source.messages
        for calls in [message.get("tool_calls", [])]
    ]
    return f"{' '.join(turns)} {bool(source.tools):d}"


def _cut(
    rendered: str, places: Sequence[Place], regions: Sequence[tuple[int, int]]
) -> list[tuple[int, Piece]]:
    """Return the pieces of a rendered template with their start, cut at places and regions."""
    borders = sorted({border for region in regions for border in region})
    pieces: list[tuple[int, Piece]] = []

    def add_text(start: int, end: int) -> None:
        for cut in [*(border for border in borders if start < border < end), end]:
            if start < cut:
                trainable = any(first <= start < last for first, last in regions)
                pieces.append((start, Piece(rendered[start:cut], None, trainable)))
            start = cut

    position = 0
    for start, end, occurrence in places:
        add_text(position, start)
        trainable = any(first <= start < last for first, last in regions)
        pieces.append((start, Piece("", occurrence, trainable)))
        position = end
    add_text(position, len(rendered))
    return pieces
