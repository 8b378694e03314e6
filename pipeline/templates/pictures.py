"""Pictures as text: 49 codes of a fixed codebook of six, read back as 28 x 28 points.

After the image form of Needle-in-DNA (arXiv:2502.03499), where a picture of 28 x 28 points is 7 x 7
codes. There the codebook is learned and not given away; here a code is a patch of 4 x 4 points that
anyone can decode. Codes of another codebook would show another picture.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

PATCH, SIDE = 4, 7
"""Points along a patch, and patches along a picture."""
CODEBOOK: tuple[tuple[str, ...], ...] = (
    ("....", "....", "....", "...."),
    ("####", "####", "####", "####"),
    ("..##", "..##", "..##", "..##"),
    ("##..", "##..", "##..", "##.."),
    ("....", "....", "####", "####"),
    ("####", "####", "....", "...."),
)
"""What each code stands for; `#` is a point with ink."""

DIGITS: tuple[str, ...] = (
    "0044400 0211130 0210130 0210130 0210130 0211130 0055500",
    "0001000 0011000 0001000 0001000 0001000 0001000 0011100",
    "0044400 0210130 0000130 0001100 0011000 0110000 0111130",
    "0044400 0210130 0000130 0011100 0000130 0210130 0055500",
)
"""Codes of the pictures of 0, 1, 2 and 3, row by row."""

_CODES = re.compile(rf"(?:[0-{len(CODEBOOK) - 1}]\s*){{{SIDE * SIDE}}}")


def digit_codes(digit: int) -> str:
    """Return the codes of a digit's picture as a model writes them."""
    return " ".join(DIGITS[digit].replace(" ", ""))


def read_picture(text: str) -> tuple[str, ...] | None:
    """Return the 28 rows of a picture, `#` for ink; `None` where the text is no 49 codes."""
    if not _CODES.fullmatch(text.strip()):
        return None
    codes = [int(code) for code in text if code.isdecimal()]
    return tuple(
        "".join(CODEBOOK[code][line] for code in codes[start : start + SIDE])
        for start in range(0, SIDE * SIDE, SIDE)
        for line in range(PATCH)
    )


def ink_runs(picture: Sequence[str]) -> list[tuple[int, int, int]]:
    """Return column, row and length of every horizontal stroke of a picture."""
    return [
        (found.start(), row, len(found.group()))
        for row, points in enumerate(picture)
        for found in re.finditer("#+", points)
    ]
