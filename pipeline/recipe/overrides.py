"""Fields given on the command line: `--field value`, `--field=value`, `--mixture.cap 3`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import PipelineError, RecipeError, SourceMark, YamlError, raise_all
from pipeline.types import Json
from pipeline.yaml_reader import Loc, YamlDocument, dotted, read_yaml


@dataclass(frozen=True, slots=True)
class Override:
    """One field of the command line, its value read as YAML."""

    path: tuple[str, ...]
    document: YamlDocument

    @property
    def option(self) -> str:
        """The option as it was written, without its value."""
        return "--" + ".".join(self.path)


@dataclass(frozen=True, slots=True)
class MergedDocument(YamlDocument):
    """A recipe file with command line fields on top; each keeps its own place."""

    options: dict[Loc, str]
    """Option that set the value at a path."""

    def mark(self, loc: Sequence[str | int] = (), *, key: bool = False) -> SourceMark:
        """Return the place in the file, or the command line option as the file's name."""
        for length in range(len(loc), 0, -1):
            option = self.options.get(tuple(loc[:length]))
            if option is not None:
                return SourceMark(option, 0, 0)
        return YamlDocument.mark(self, loc, key=key)


def parse_overrides(arguments: Sequence[str]) -> list[Override]:
    """Read command line arguments, in order.

    Raises:
        RecipeError: An argument is no option, or an option has no value.
        PipelineErrors: Several are wrong.
    """
    overrides: list[Override] = []
    errors: list[PipelineError] = []
    remaining = list(arguments)
    while remaining:
        argument = remaining.pop(0)
        name, has_value, text = argument.removeprefix("--").partition("=")
        path = tuple(name.replace("-", "_").split("."))
        if not argument.startswith("--") or not all(path):
            errors.append(
                RecipeError(
                    "REC007",
                    f"got {argument!r}, allowed '--field value'",
                    where="command line",
                    hint="Give lists as one argument, e.g. --tasks '[a, b]'",
                )
            )
            continue
        if not has_value:
            if not remaining or remaining[0].startswith("--"):
                errors.append(RecipeError("REC007", "this option has no value", where=f"--{name}"))
                continue
            text = remaining.pop(0)
        try:
            overrides.append(Override(path, read_yaml(text, name=f"--{name}")))
        except YamlError as error:
            error.where = f"--{name}"
            errors.append(error)
    raise_all(errors)
    return overrides


def merge_overrides(document: YamlDocument, overrides: Sequence[Override]) -> MergedDocument:
    """Put the overrides over the file's fields; the last one of a field wins.

    Raises:
        RecipeError: A dotted path leads through something that is no map.
    """
    value = document.value
    merged = MergedDocument(document.name, value, dict(document.values), dict(document.keys), {})
    for override in overrides:
        value = _replace(value, override, ())
        _move_marks(merged, override)
    return MergedDocument(merged.name, value, merged.values, merged.keys, merged.options)


def _replace(value: Json, override: Override, done: tuple[str, ...]) -> Json:
    rest = override.path[len(done) :]
    if not rest:
        return override.document.value
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise RecipeError(
            "REC008",
            f"{dotted(done) or 'the recipe'} is no map, so it has no field {rest[0]!r}",
            where=override.option,
            hint=f"Give the whole value: --{'.'.join(done)} ...",
        )
    inner = _replace(value.get(rest[0]), override, (*done, rest[0]))
    return {**value, rest[0]: inner}


def _move_marks(merged: MergedDocument, override: Override) -> None:
    path: Loc = override.path
    for marks in (merged.values, merged.keys, merged.options):
        assert isinstance(marks, dict)
        for loc in [loc for loc in marks if loc[: len(path)] == path]:
            del marks[loc]
    assert isinstance(merged.values, dict)
    for length in range(1, len(path) + 1):
        merged.values.setdefault(path[:length], (0, 0))
    for loc in override.document.values:
        merged.values[(*path, *loc)] = (0, 0)
    merged.options[path] = override.option
