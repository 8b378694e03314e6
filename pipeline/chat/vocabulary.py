"""Text to token ids, such that only a template can write a control token.

A tokenizer turns every piece of text that looks like `<|im_end|>` into a control token, also
where a row of data wrote it. Here the two kinds of text take two ways: template text is searched
for added tokens, everything else goes through a copy of the tokenizer that knows none of them.

Guaranteed: no id of a non-blank added token comes out of `encode_texts`. Not covered: slow
(pure Python) tokenizers, which are refused.
"""

from __future__ import annotations

import hashlib
import json
import re
import weakref
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, cast

from tokenizers import AddedToken, Tokenizer

from pipeline.chat.dna import (
    DNA_END,
    DNA_START,
    DnaUnit,
    UnitIds,
    encode_units,
    find_dna_unit,
    find_merges,
)
from pipeline.chat.dna_bpe import Merge
from pipeline.errors import ChatError
from pipeline.types import Json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MAX_CACHED_TEXTS = 10_000
_EMPTY_MODEL: dict[str, Json] = {"type": "BPE", "vocab": {}, "merges": []}


class TextEncoder:
    """Encodes template text with, and content without, the added tokens of one tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Read the added tokens of `tokenizer`; build the copies without them when needed.

        Raises:
            ChatError: The tokenizer has no fast backend.
        """
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if not isinstance(backend, Tokenizer):
            raise ChatError(
                "CHT002",
                f"{type(tokenizer).__name__} has no fast backend, so control tokens in data "
                "could not be told from those of the template",
                hint="Use a tokenizer that has a tokenizer.json",
            )
        self._backend = backend
        self._added: dict[int, AddedToken] = dict(tokenizer.added_tokens_decoder)
        self._ids: dict[str, int] = {token.content: i for i, token in self._added.items()}
        self._template_parts: dict[str, tuple[str | int, ...]] = {}
        self._fixed: dict[tuple[str, bool], list[int]] = {}
        self.vocabulary_size = len(tokenizer)
        self.eos_token_id: int | None = tokenizer.eos_token_id
        self.dna_unit: DnaUnit | None = find_dna_unit(tokenizer)
        self.dna_merges: tuple[Merge, ...] = find_merges(tokenizer)

    @cached_property
    def backend_sha256(self) -> str:
        """Hash of the vocabulary and rules of the tokenizer, added tokens and DNA unit included."""
        text = f"{self._backend.to_str()}{self.dna_unit}{self.dna_merges}"
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def control_ids(self) -> frozenset[int]:
        """Ids of added tokens that content must never become; blank runs are harmless."""
        unknown = getattr(self._backend.model, "unk_token", None)
        return frozenset(
            i
            for i, token in self._added.items()
            if (token.special or token.content.strip()) and token.content != unknown
        )

    def token_id(self, text: str) -> int | None:
        """Return the id of the added token that reads `text`, if there is one."""
        return self._ids.get(text)

    def require_eos(self) -> int:
        """Return the id of EOS.

        Raises:
            ChatError: There is none, and the chat template ends an answer with nothing.
        """
        if self.eos_token_id is None:
            raise ChatError(
                "CHT011",
                "the chat template ends an answer with nothing, and the tokenizer has no EOS",
                hint="Set eos_token, or use another chat_template_path",
            )
        return self.eos_token_id

    def split_template(self, text: str) -> tuple[str | int, ...]:
        """Return template text as plain pieces and the ids of added tokens between them."""
        parts = self._template_parts.get(text)
        if parts is None:
            if len(self._template_parts) >= _MAX_CACHED_TEXTS:
                self._template_parts.clear()
            parts = self._template_parts[text] = tuple(self._split(text))
        return parts

    def find_control_end(self, text: str) -> int | None:
        """Return where the first added token in template text ends."""
        match = self._pattern.search(text) if self._pattern else None
        return match.end() if match else None

    def encode_texts(self, texts: Sequence[str], *, has_prefix: bool) -> list[list[int]]:
        """Encode plain texts; nothing in them becomes a control token.

        Args:
            texts: Any text.
            has_prefix: Whether the texts may get the leading blank that some tokenizers put in
                front of a text. False for text that goes on after other text.

        Raises:
            ChatError: A text reaches a control token through the model's own vocabulary
                (CHT008), or is not Unicode (CHT012).
        """
        encoder = self._plain if has_prefix else self._plain_without_prefix
        try:
            encodings = encoder.encode_batch_fast(list(texts), add_special_tokens=False)
        except TypeError as error:
            raise _unreadable(texts) from error
        encoded = [encoding.ids for encoding in encodings]
        if self._blank_ids:
            encoded = [[self._blank_ids.get(i, i) for i in ids] for ids in encoded]
        if self._reachable_ids:
            self._check_no_control_ids(texts, encoded)
        return encoded

    def encode_fixed(self, text: str, *, has_prefix: bool) -> list[int]:
        """Return the ids of a text of the template, kept for the next time."""
        found = self._fixed.get((text, has_prefix))
        if found is None:
            if len(self._fixed) >= _MAX_CACHED_TEXTS:
                self._fixed.clear()
            found = self.encode_texts([text], has_prefix=has_prefix)[0]
            self._fixed[text, has_prefix] = found
        return found

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Return the character range of every token of `text`."""
        return self._plain_without_prefix.encode(text, add_special_tokens=False).offsets

    def encode_sequence(self, sequence: str) -> list[int]:
        """Return the ids of a DNA sequence over `ACGTN` with its markers.

        A base without a token of its own, as `N` in some vocabularies, is read as its letter.
        """
        assert self.dna_unit is not None
        markers = self._ids[DNA_START], self._ids[DNA_END]
        if self._unit_ids is not None:
            return [markers[0], *self._unit_ids.encode(sequence).tolist(), markers[1]]
        ids = [markers[0]]
        for token in encode_units(sequence, self.dna_unit, self.dna_merges):
            found = self._ids.get(token)
            letters = token.removeprefix("<dna_")[:-1]
            ids += self.encode_fixed(letters, has_prefix=False) if found is None else [found]
        return [*ids, markers[1]]

    @cached_property
    def _unit_ids(self) -> UnitIds | None:
        if self.dna_unit is None or self.dna_unit == "bpe":
            return None
        units = UnitIds(self.dna_unit, self._ids)
        return units if units.is_complete else None

    @cached_property
    def prefix_follows_controls(self) -> bool:
        """Whether a text after an added token gets the leading blank too, not only the first."""
        return b'"prepend_scheme":"first"' not in _state(self._backend.pre_tokenizer)

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        alternatives = []
        for text in sorted(filter(str.strip, self._ids), key=len, reverse=True):
            escaped = re.escape(text)
            if self._added[self._ids[text]].single_word:
                escaped = rf"(?<!\w){escaped}(?!\w)"
            alternatives.append(escaped)
        return re.compile("|".join(alternatives)) if alternatives else None

    def _split(self, text: str) -> list[str | int]:
        parts: list[str | int] = []
        position = 0
        for match in self._pattern.finditer(text) if self._pattern else ():
            token_id = self._ids[match.group()]
            token = self._added[token_id]
            between = text[position : match.start()]
            if parts and self._added[cast("int", parts[-1])].rstrip:
                between = between.lstrip()
            if token.lstrip:
                between = between.rstrip()
            if between:
                parts.append(between)
            parts.append(token_id)
            position = match.end()
        rest = text[position:]
        if parts and self._added[cast("int", parts[-1])].rstrip:
            rest = rest.lstrip()
        return [*parts, rest] if rest else parts

    @cached_property
    def _reachable_ids(self) -> frozenset[int]:
        """Control ids that are entries of the model's vocabulary, not only added to it."""
        base = self._backend.get_vocab(with_added_tokens=False)
        return frozenset(base.values()) & self.control_ids

    @cached_property
    def _plain(self) -> Tokenizer:
        return self._build_plain(keep_prefix=True)

    @cached_property
    def _plain_without_prefix(self) -> Tokenizer:
        states = _state(self._backend.normalizer) + _state(self._backend.pre_tokenizer)
        adds_prefix = any(
            mark in states for mark in (b'"Prepend"', b'"Metaspace"', b'"add_prefix_space":true')
        )
        return self._build_plain(keep_prefix=False) if adds_prefix else self._plain

    def _build_plain(self, *, keep_prefix: bool) -> Tokenizer:
        """Copy the backend without its added tokens; runs of blanks stay, they are text."""
        model: Json = _EMPTY_MODEL
        if self._reachable_ids:
            model = _hide_entries(json.loads(_state(self._backend.model)), self._reachable_ids)
        settings: dict[str, Json] = {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [],
            "normalizer": _load_state(self._backend.normalizer),
            "pre_tokenizer": _load_state(self._backend.pre_tokenizer),
            "post_processor": None,
            "decoder": None,
            "model": model,
        }
        if not keep_prefix:
            for part in ("normalizer", "pre_tokenizer"):
                settings[part] = _without_prefix(settings[part])
        plain = Tokenizer.from_str(json.dumps(settings))
        if not self._reachable_ids:
            plain.model = self._backend.model
        plain.add_tokens([self._added[i] for i in self._blank_tokens])
        return plain

    @cached_property
    def _blank_tokens(self) -> tuple[int, ...]:
        """Added tokens made of blanks only, which vocabularies for code hold: they are text."""
        return tuple(
            i
            for i, token in sorted(self._added.items())
            if not token.content.strip() and i not in self.control_ids
        )

    @cached_property
    def _blank_ids(self) -> dict[int, int]:
        """Ids that the copy gave to tokens of blanks, where they differ from the tokenizer's."""
        given = {self._plain.token_to_id(self._added[i].content): i for i in self._blank_tokens}
        return {new: old for new, old in given.items() if new is not None and new != old}

    def _check_no_control_ids(self, texts: Sequence[str], encoded: list[list[int]]) -> None:
        for text, ids in zip(texts, encoded, strict=True):
            if not self._reachable_ids.isdisjoint(ids):
                found = next(i for i in ids if i in self._reachable_ids)
                raise ChatError(
                    "CHT008",
                    f"content becomes the control token {self._added[found].content!r} "
                    f"in {text[:60]!r}",
                    hint="Remove this row, or use another tokenizer",
                )


_ENCODERS: weakref.WeakKeyDictionary[PreTrainedTokenizerBase, TextEncoder] = (
    weakref.WeakKeyDictionary()
)


def encoder_for(tokenizer: PreTrainedTokenizerBase) -> TextEncoder:
    """Return the encoder of `tokenizer`, built once and again after tokens were added.

    Raises:
        ChatError: The tokenizer has no fast backend.
    """
    encoder = _ENCODERS.get(tokenizer)
    if encoder is None or encoder.vocabulary_size != len(tokenizer):
        encoder = _ENCODERS[tokenizer] = TextEncoder(tokenizer)
    return encoder


def _unreadable(texts: Sequence[str]) -> Exception:
    """Return the error for texts that the backend refuses: half a surrogate pair is in one."""
    for text in texts:
        found = re.search("[\\ud800-\\udfff]", text)
        if found:
            return ChatError(
                "CHT012",
                f"{text[max(0, found.start() - 20) : found.start()]!r} is followed by half a "
                "surrogate pair, which is no letter",
                hint="Repair the row; the file was probably written with a wrong encoding",
            )
    return TypeError("texts must be str")


def _state(part: object) -> bytes:
    """Return a backend part's JSON; `b"null"` for an absent part."""
    return b"null" if part is None else cast("bytes", part.__getstate__())


def _load_state(part: object) -> Json:
    return cast("Json", json.loads(_state(part)))


def _without_prefix(part: Json) -> Json:
    """Return a normalizer or pre-tokenizer that puts no blank in front of a text."""
    if not isinstance(part, dict):
        return part
    kind = part.get("type")
    if kind == "Prepend":
        return None
    if kind == "Metaspace":
        return part | {"prepend_scheme": "never"}
    if kind == "ByteLevel":
        return part | {"add_prefix_space": False}
    for members in ("normalizers", "pretokenizers"):
        if isinstance(part.get(members), list):
            kept = [_without_prefix(member) for member in cast("list[Json]", part[members])]
            part = part | {members: [member for member in kept if member is not None]}
    return part


def _hide_entries(model: dict[str, Json], hidden: frozenset[int]) -> dict[str, Json]:
    """Rename vocabulary entries to texts that no input can spell; drop merges into them.

    A rename, not a removal: ids must not shift, and some models look entries up by position.
    """
    unknown = model.get("unk_token")
    vocabulary = model["vocab"]
    if isinstance(vocabulary, list):
        pieces = [
            [f"\x00 {i} \x00", score] if i in hidden else [piece, score]
            for i, (piece, score) in enumerate(cast("list[tuple[str, float]]", vocabulary))
        ]
        return model | {"vocab": cast("Json", pieces)}
    entries = cast("dict[str, int]", vocabulary)
    gone = {text for text, i in entries.items() if i in hidden and text != unknown}
    renamed = {f"\x00 {i} \x00" if text in gone else text: i for text, i in entries.items()}
    hidden_model = model | {"vocab": cast("Json", renamed)}
    if "merges" in model:
        merges = cast("list[list[str]]", model["merges"])
        hidden_model["merges"] = cast(
            "Json",
            [pair for pair in merges if not gone.intersection((*pair, "".join(pair)))],
        )
    return hidden_model
