"""Tells files of other kinds from a recipe before every field of theirs is called unknown."""

from __future__ import annotations

from typing import Literal

from pipeline.errors import RecipeError
from pipeline.yaml_reader import YamlDocument

FileKind = Literal["training", "merge", "continual", "annotation"]

_MARKS: dict[FileKind, tuple[str, ...]] = {
    "annotation": ("source", "fields"),
    "continual": ("stages",),
    "merge": ("adapters",),
    "training": ("model_name_or_path",),
}
"""Fields by which a file is known; the other kinds have none of them at the top."""
_SAID: dict[FileKind, str] = {
    "annotation": "an annotation",
    "continual": "a recipe of stages",
    "merge": "a merge recipe",
    "training": "a training recipe",
}
_USES: dict[FileKind, str] = {
    "annotation": "Check it with `taskloom check`, and name its id under `tasks:` of a recipe",
    "continual": "Use `taskloom continual`",
    "merge": "Use `taskloom merge`",
    "training": "Use `taskloom plan` or `python -m pipeline.train`",
}


def check_kind(document: YamlDocument, wanted: FileKind) -> None:
    """Check that a document is not plainly a file of another kind.

    Args:
        document: What was read.
        wanted: What the command takes.

    Raises:
        RecipeError: It is another kind (REC011).
    """
    value = document.value
    if not isinstance(value, dict) or any(name in value for name in _MARKS[wanted]):
        return
    for kind, marks in _MARKS.items():
        if all(name in value for name in marks):
            raise RecipeError(
                "REC011",
                f"this is {_SAID[kind]}, {_SAID[wanted]} is wanted",
                where=document.name,
                hint=_USES[kind],
            )
