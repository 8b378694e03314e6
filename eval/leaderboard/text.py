"""How numbers and foreign text are shown, on a terminal and on a page."""

from __future__ import annotations

import re

from eval.leaderboard.board import Cell, Column

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def harmless(text: str) -> str:
    """Return `text` with control characters replaced by visible signs.

    Terminal escapes and marks that reverse the reading direction become inert; line feeds and
    tabs stay.
    """
    return _SURROGATE.sub("\ufffd", _CONTROL.sub(_picture, text))


def number(value: float, column: Column | None) -> str:
    """Return a value as it is shown: times 100, but errors and distances as they are."""
    if column is not None and not column.higher_is_better:
        return f"{value:.3f}"
    return f"{100 * value:.1f}"


def cell_text(cell: Cell, column: Column | None) -> str:
    """Return `84.6 ± 1.2`, marked where the cell cannot be compared."""
    mark = "" if cell.is_comparable else " †"
    return f"{number(cell.value, column)} ± {number(cell.standard_error, column)}{mark}"


def failures_text(cell: Cell) -> str:
    """Return `3 unparsable, 26 without an answer`, or an empty text where every row was read."""
    counts = {
        "unparsable": cell.num_failures - cell.num_unanswered,
        "without an answer": cell.num_unanswered,
    }
    return ", ".join(f"{count} {words}" for words, count in counts.items() if count)


def _picture(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else "\ufffd"
