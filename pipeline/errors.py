"""Errors that say where, what was got, what is allowed, and the fix.

Every mistake a user can make ends in a `PipelineError`: one line, no traceback, exit code 2.
`ValueError` and `TypeError` are kept for misuse of the Python API.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

EXIT_OK = 0
EXIT_BUG = 1
EXIT_USER_ERROR = 2
EXIT_HEALTH = 3
EXIT_PREEMPTED = 75
EXIT_INTERRUPTED = 130
"""Stopped with Ctrl-C, as shells count it."""


@dataclass(frozen=True, slots=True)
class SourceMark:
    """A place in a file that a person wrote."""

    file: str
    """Path as the user gave it."""
    line: int
    """Counts from 1."""
    column: int
    """Counts from 1."""

    def __str__(self) -> str:
        """Return `file:line:column`, which editors make clickable."""
        return f"{self.file}:{self.line}:{self.column}"


class PipelineError(Exception):
    """A user's mistake, printed as `where: what, got, allowed. Hint. [CODE]`."""

    exit_code = EXIT_USER_ERROR
    is_of_one_process = False
    """Whether one process of several met it alone, and must tell the user itself."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        where: SourceMark | Path | str | None = None,
        hint: str | None = None,
    ) -> None:
        """Keep the parts; `str()` joins them.

        Args:
            code: Stable code such as `ANN104`; listed in `docs/errors.md`.
            message: What is wrong, what was got and what is allowed.
            where: File position, path, or name of the thing that is wrong.
            hint: One sentence that tells the fix.
        """
        super().__init__(message)
        self.code = code
        self.message = message
        self.where = where
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        """Travel between processes whole: `Exception` alone would lose the keyword arguments."""
        rebuild = functools.partial(type(self), where=self.where, hint=self.hint)
        return rebuild, (self.code, self.message)

    def __str__(self) -> str:
        """Return the one line a user reads."""
        text = f"{self.where}: " if self.where is not None else ""
        text += _sentence(self.message)
        if self.hint:
            text += f" {_sentence(self.hint)}"
        return f"{text} [{self.code}]".replace("\n", " ")


class YamlError(PipelineError):
    """A YAML file that the safe reader refuses."""


class AnnotationError(PipelineError):
    """An annotation that is not valid, or does not fit its data."""


class RecipeError(PipelineError):
    """A recipe, or a command line override of one, that is not valid."""


class SourceError(PipelineError):
    """Data that cannot be found or read."""


class ChatError(PipelineError):
    """A conversation that cannot be rendered or tokenised."""


class MixtureError(PipelineError):
    """A mixture of tasks that cannot be trained on."""


class ModelError(PipelineError):
    """A model or tokenizer folder that cannot be used."""


class AdapterError(PipelineError):
    """An adapter that cannot be built, saved or loaded."""


class TrainingError(PipelineError):
    """A training run that cannot start or go on."""


class CheckpointError(PipelineError):
    """A checkpoint that does not verify."""


class ParseError(PipelineError):
    """Model output or a function call text that cannot be parsed."""


class EvalError(PipelineError):
    """An evaluation that cannot run."""


class OutputError(PipelineError):
    """A file or folder that cannot be written."""


class PipelineErrors(PipelineError):
    """Several mistakes of one input, reported all at once."""

    def __init__(self, errors: Sequence[PipelineError]) -> None:
        """Keep `errors`, at least one, in the order they should be printed.

        Raises:
            ValueError: `errors` is empty.
        """
        if not errors:
            raise ValueError("PipelineErrors needs at least one error")
        super().__init__(errors[0].code, errors[0].message, where=errors[0].where)
        self.errors: tuple[PipelineError, ...] = tuple(errors)

    def __reduce__(self) -> tuple[object, ...]:
        """Travel between processes with all errors."""
        return PipelineErrors, (self.errors,)

    def __str__(self) -> str:
        """Return one line per error."""
        return "\n".join(str(error) for error in self.errors)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else text + "."


def raise_all(errors: Sequence[PipelineError]) -> None:
    """Raise nothing, the only error, or all of them together."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise PipelineErrors(errors)


def nearest_names(name: str, allowed: Iterable[str], *, count: int = 3) -> list[str]:
    """Return the names in `allowed` closest to `name`, best first."""
    candidates = sorted(set(allowed))
    folded = {candidate.casefold(): candidate for candidate in candidates}
    close = difflib.get_close_matches(name.casefold(), list(folded), n=count, cutoff=0.5)
    return [folded[match] for match in close]


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """Return `Did you mean 'x'?`, or the list of allowed names when none is near."""
    names = list(allowed)
    close = nearest_names(name, names)
    if close:
        return "Did you mean " + " or ".join(repr(match) for match in close) + "?"
    listed = ", ".join(sorted(names)[:12])
    return f"Allowed: {listed}{', ...' if len(names) > 12 else ''}"
