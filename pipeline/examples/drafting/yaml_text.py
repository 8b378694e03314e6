"""Writing an annotation as YAML that reads well, with comments, and reads back as it was meant."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH = 98
_PLAIN = re.compile(r"[A-Za-z_](?:[A-Za-z0-9_./$%+()'?! -]*[A-Za-z0-9_./$%+)?!])?")
_WORDS_WITH_MEANING = frozenset(
    {"true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan"}
)
_PATH = re.compile(r"[A-Za-z_$][\w$]*(\.[A-Za-z_]\w*|\[(\d+|\*)\])*")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def write_yaml(value: Mapping[str, Any], comments: Mapping[str, Sequence[str]]) -> str:
    """Return a map as YAML, one key per line or block.

    Args:
        value: Maps, lists and scalars; keys may be whole numbers.
        comments: Lines to write above a top-level key.
    """
    lines: list[str] = []
    for key, inner in value.items():
        for comment in comments.get(key, ()):
            lines += [f"# {line}" for line in textwrap.wrap(" ".join(comment.split()), WIDTH - 4)]
        lines += _entry(f"{scalar(key)}:", inner, 0)
    return "\n".join(lines) + "\n"


def scalar(value: object) -> str:
    """Return a scalar, quoted where a reader of YAML could take it for something else."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    text = str(value)
    is_plain = (_PLAIN.fullmatch(text) or _PATH.fullmatch(text)) and " #" not in text
    return text if is_plain and text.lower() not in _WORDS_WITH_MEANING else _quoted(text)


def _quoted(text: str) -> str:
    return '"' + "".join(_ESCAPES.get(c, c) if c in _ESCAPES else _visible(c) for c in text) + '"'


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    number = ord(character)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _flow(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(k)}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    text = scalar(value)
    # Brackets inside a plain scalar would end the flow it stands in.
    return (
        _quoted(str(value)) if isinstance(value, str) and "[" in text and text[0] != '"' else text
    )


def _key(key: object) -> str:
    return scalar(key)


def _entry(head: str, value: object, indent: int) -> list[str]:
    pad = " " * indent
    flow = (
        f"{pad}{head} {_flow(value)}" if not _is_scalar(value) else f"{pad}{head} {scalar(value)}"
    )
    if _is_scalar(value) or not value or len(flow) <= WIDTH:
        return [flow]
    inner = indent + 2
    if isinstance(value, Mapping):
        lines = [f"{pad}{head}"]
        for key, item in value.items():
            lines += _entry(f"{_key(key)}:", item, inner)
        return lines
    assert isinstance(value, list | tuple)
    lines = [f"{pad}{head}"]
    for item in value:
        lines += _item(item, inner)
    return lines


def _item(item: object, indent: int) -> list[str]:
    """Return one element of a list in block style."""
    lines = _entry("-", item, indent)
    if len(lines) == 1 or not isinstance(item, Mapping):
        return lines
    return [f"{lines[0].rstrip()} {lines[1].strip()}", *lines[2:]]


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)
