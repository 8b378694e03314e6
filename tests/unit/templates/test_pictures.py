"""Pictures as codes: 28 x 28 points out of 49 codes, nothing out of anything else."""

from __future__ import annotations

import pytest

from pipeline.templates.pictures import CODEBOOK, DIGITS, digit_codes, ink_runs, read_picture


@pytest.mark.parametrize("digit", range(len(DIGITS)))
def test_a_picture_is_made_of_the_patches_of_its_codes(digit):
    picture = read_picture(digit_codes(digit))
    assert len(picture) == 28
    assert {len(row) for row in picture} == {28}
    codes = digit_codes(digit).split()
    for place, code in enumerate(codes):
        top, left = 4 * (place // 7), 4 * (place % 7)
        patch = tuple(row[left : left + 4] for row in picture[top : top + 4])
        assert patch == CODEBOOK[int(code)]


def test_the_four_pictures_and_the_six_codes_differ():
    assert len({read_picture(digit_codes(digit)) for digit in range(4)}) == 4
    assert len(set(CODEBOOK)) == 6


def test_blanks_between_codes_do_not_matter():
    codes = digit_codes(2)
    assert read_picture(codes.replace(" ", "")) == read_picture(f"\n{codes}\n")


@pytest.mark.parametrize("text", ["", "0 " * 48, "0 " * 50, "6 " * 49, "a " * 49, "٣" * 49])
def test_what_is_no_picture_is_none(text):
    assert read_picture(text) is None


def test_strokes_cover_the_ink_and_nothing_else():
    picture = read_picture(digit_codes(3))
    points = [["."] * 28 for _ in range(28)]
    for column, row, length in ink_runs(picture):
        points[row][column : column + length] = "#" * length
    assert tuple("".join(row) for row in points) == picture
