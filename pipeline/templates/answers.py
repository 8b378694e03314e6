"""Gold answers as text. `eval.parsers` reads exactly what is written here."""

from __future__ import annotations

import json
import string
from collections.abc import Callable, Mapping
from typing import cast

from pipeline.types import Json, TaskKind, TaskSpec

EMPTY_ANSWER = "None"
"""Answer where nothing is asked for: no entity, no label, no answer span, no call."""

LETTERS = string.ascii_uppercase
"""Option letters of multiple choice, in order."""

MAX_DECIMALS = 2
"""Decimals of a number answer."""


def render_answer(target: Json, spec: TaskSpec) -> str:
    """Return the text a model is trained to produce for `target`.

    Function calls are not text here: they are turns of their own, see `styles`.

    Args:
        target: Gold answer in the shape of the task's kind.
        spec: The task it belongs to.

    Raises:
        ValueError: The target does not have the shape of the kind.
    """
    try:
        return _RENDERERS[spec.kind](target, spec.settings)
    except (TypeError, KeyError, IndexError, AttributeError) as error:
        raise ValueError(f"{spec.id}: {target!r} is no target of kind {spec.kind!r}") from error


def option_letter(index: int) -> str:
    """Return the letter of option `index`: A, B, ..., Z, AA, AB, ...

    Raises:
        ValueError: `index` is negative.
    """
    if index < 0:
        raise ValueError(f"an option index is not negative, got {index}")
    letters = ""
    while index >= 0:
        letters = LETTERS[index % len(LETTERS)] + letters
        index = index // len(LETTERS) - 1
    return letters


def format_number(value: float) -> str:
    """Return `value` with at most two decimals and no trailing zeros."""
    text = f"{value:.{MAX_DECIMALS}f}".rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def _text(target: Json, _settings: Mapping[str, Json]) -> str:
    if not isinstance(target, str):
        raise TypeError(f"expected text, got {type(target).__name__}")
    return target


def _option(target: Json, _settings: Mapping[str, Json]) -> str:
    return option_letter(cast("int", target))


def _entities(target: Json, settings: Mapping[str, Json]) -> str:
    if settings.get("scheme") == "plain":
        raise TypeError("tags need their tokens: use render_tags")
    spans = cast("list[dict[str, str]]", target)
    return ", ".join(f"{span['text']} <{span['type']}>" for span in spans) or EMPTY_ANSWER


def render_tags(tokens: list[str], tags: list[str]) -> str:
    """Return `word <TAG> word <TAG>`, the answer form of tagging every token.

    Raises:
        ValueError: The lists differ in length.
    """
    return " ".join(f"{token} <{tag}>" for token, tag in zip(tokens, tags, strict=True))


def _label_set(target: Json, _settings: Mapping[str, Json]) -> str:
    return ", ".join(cast("list[str]", target)) or EMPTY_ANSWER


def _most_shared(target: Json, _settings: Mapping[str, Json]) -> str:
    """Return the label that most speaks for; of several, the first of the labels."""
    shares = cast("dict[str, float]", target)
    return max(shares, key=lambda name: shares[name])


def _records_answer(target: Json, settings: Mapping[str, Json]) -> str:
    return _label_set(target, settings) if isinstance(target, list) else _text(target, settings)


def _number(target: Json, _settings: Mapping[str, Json]) -> str:
    return format_number(float(cast("float", target)))


def _first_answer(target: Json, _settings: Mapping[str, Json]) -> str:
    answers = cast("list[str]", target)
    return answers[0] if answers else EMPTY_ANSWER


def _indexes(target: Json, _settings: Mapping[str, Json]) -> str:
    return ", ".join(option_letter(index) for index in cast("list[int]", target)) or EMPTY_ANSWER


def _function_answer(target: Json, settings: Mapping[str, Json]) -> str:
    if settings.get("granular") in {"response", "next"}:
        return _text(target, settings)
    return json.dumps(target, ensure_ascii=False)


_RENDERERS: dict[TaskKind, Callable[[Json, Mapping[str, Json]], str]] = {
    "classification": _text,
    "pair_classification": _text,
    "relation": _text,
    "dna_classification": _text,
    "text": _text,
    "chat": _text,
    "multiple_choice": _option,
    "token_classification": _entities,
    "multi_label": _label_set,
    "soft_label": _most_shared,
    "regression": _number,
    "extractive_qa": _first_answer,
    "ranking": _indexes,
    "records": _records_answer,
    "function_calling": _function_answer,
}
