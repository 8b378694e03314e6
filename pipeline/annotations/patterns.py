r"""Regular expressions that an annotation may hold.

They run in RE2 (through pyarrow), whose time is linear in the text. Look-around and
back-references do not exist there; in replacements a group is written as \1.
"""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable
from typing import Any, cast

from pipeline.annotations.outcomes import RowSkipped, as_text
from pipeline.types import Json

MAX_REGEX_LENGTH = 300
MAX_REPEATS = 1000
"""The limit of the engine."""
MAX_REGEX_TEXT = 65_536
"""Longer texts skip the row when a regular expression meets them."""


def regex_complaint(pattern: Json) -> str | None:
    """Return why `pattern` cannot be used, `None` when it can."""
    if not isinstance(pattern, str) or not pattern:
        return "needs a regular expression"
    if len(pattern) > MAX_REGEX_LENGTH:
        return f"needs a regular expression of at most {MAX_REGEX_LENGTH} characters"
    if re.search(r"\(\?(<?[=!]|P=|\()|\\[1-9]", pattern):
        return "uses look-around or a back-reference, which the linear engine does not have"
    repeats = re.findall(r"\{(\d*),?(\d*)\}", pattern)
    if any(int(number or 0) > MAX_REPEATS for pair in repeats for number in pair):
        return f"repeats something more than {MAX_REPEATS} times"
    try:
        _num_groups(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        return f"is no regular expression: {error}"
    return None


def _num_groups(pattern: str) -> int:
    with warnings.catch_warnings():
        # Python warns of sets that may mean something else one day; RE2 does not care.
        warnings.simplefilter("ignore")
        return re.compile(pattern).groups


def substitution_complaint(argument: Json) -> str | None:
    """Return why `[pattern, replacement]` cannot be used, `None` when it can."""
    if not (isinstance(argument, list) and len(argument) == 2 and isinstance(argument[1], str)):
        return "needs [pattern, replacement]"
    return regex_complaint(argument[0])


@functools.cache
def _arrow() -> tuple[Any, Any]:
    # Imported late: most annotations use no regular expression, and listing must stay fast.
    import pyarrow
    import pyarrow.compute

    return pyarrow, pyarrow.compute


def _regex_text(value: Json) -> str:
    text = as_text(value)
    if len(text) > MAX_REGEX_TEXT:
        raise RowSkipped("text too long for a regular expression")
    return text


def _scalar(text: str) -> Any:  # noqa: ANN401 - pyarrow is untyped
    return _arrow()[0].scalar(text)


def substitute(argument: Json) -> Callable[[Json], Json]:
    """Return a function that replaces every match of `[pattern, replacement]`."""
    pattern, replacement = cast("list[str]", argument)
    compute = _arrow()[1]
    compute.replace_substring_regex(_scalar(""), pattern=pattern, replacement=replacement)

    def run(value: Json) -> Json:
        text = _scalar(_regex_text(value))
        done = compute.replace_substring_regex(text, pattern=pattern, replacement=replacement)
        return cast("str", done.as_py())

    return run


def extract(argument: Json) -> Callable[[Json], Json]:
    """Return a function that gives the first match: its first group, or all of it."""
    pattern = cast("str", argument)
    compute = _arrow()[1]
    around, group = extraction(pattern)
    found = matcher(pattern)

    def run(value: Json) -> Json:
        text = _regex_text(value)
        if not found(text):
            raise RowSkipped("a regular expression finds nothing")
        done = compute.replace_substring_regex(
            _scalar(text), pattern=around, replacement=group, max_replacements=1
        )
        return cast("str", done.as_py())

    return run


def extraction(pattern: str) -> tuple[str, str]:
    """Return the substitution that replaces a whole text by what `extract` gives of it."""
    group = "\\1" if _num_groups(pattern) == 0 else "\\2"
    return f"(?s:^.*?)({pattern})(?s:.*)$", group


def split_by_regex(argument: Json) -> Callable[[Json], Json]:
    """Return a function that splits a text where the pattern matches."""
    pattern = cast("str", argument)
    compute = _arrow()[1]
    compute.split_pattern_regex(_scalar(""), pattern=pattern)

    def run(value: Json) -> Json:
        done = compute.split_pattern_regex(_scalar(_regex_text(value)), pattern=pattern)
        return cast("Json", done.as_py())

    return run


def matcher(pattern: str) -> Callable[[Json], bool]:
    """Return a function that tells whether `pattern` occurs in a text.

    Raises:
        ValueError: The engine refuses the pattern.
    """
    compute = _arrow()[1]
    compute.match_substring_regex(_scalar(""), pattern=pattern)

    def run(value: Json) -> bool:
        text = _scalar(_regex_text(value))
        return cast("bool", compute.match_substring_regex(text, pattern=pattern).as_py())

    return run
