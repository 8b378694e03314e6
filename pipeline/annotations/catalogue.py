"""All annotations of the built-in folder and of the user's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pipeline
from pipeline.annotations.schema import DatasetAnnotation, annotation_from
from pipeline.errors import AnnotationError, PipelineError, PipelineErrors, did_you_mean, raise_all
from pipeline.types import TaskKind
from pipeline.yaml_reader import load_yaml

SUFFIXES = (".yaml", ".yml")


def builtin_folder() -> Path:
    """Return the folder of the annotations that come with the package."""
    return Path(pipeline.__file__).resolve().parent.parent / "data_annotations"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Annotations by task id."""

    annotations: dict[str, DatasetAnnotation]

    def __len__(self) -> int:
        """Return the number of tasks."""
        return len(self.annotations)

    def __iter__(self) -> Iterator[DatasetAnnotation]:
        """Yield the annotations in the order of their ids."""
        return iter(self.annotations[task_id] for task_id in self.ids())

    def __contains__(self, task_id: object) -> bool:
        """Return whether there is a task of this id."""
        return task_id in self.annotations

    def ids(self) -> list[str]:
        """Return all task ids, sorted."""
        return sorted(self.annotations)

    def get(self, task_id: str) -> DatasetAnnotation:
        """Return the annotation of a task.

        Raises:
            AnnotationError: There is no such task; the nearest ids are named.
        """
        if task_id not in self.annotations:
            hint = did_you_mean(task_id, self.annotations) if self.annotations else None
            raise AnnotationError("ANN160", f"no task is named {task_id!r}", hint=hint)
        return self.annotations[task_id]

    def select(
        self,
        *,
        family: str | None = None,
        kind: TaskKind | None = None,
        licence: str | None = None,
        language: str | None = None,
        access: str | None = None,
        modality: str | None = None,
        verified: str | None = None,
    ) -> list[DatasetAnnotation]:
        """Return the annotations that meet every given condition, in the order of their ids.

        Args:
            family: Folder, e.g. `biomedical`.
            kind: Kind of task.
            licence: A licence id, or `commercial` / `non-commercial` / `unknown` for what the
                licence allows.
            language: Language code; `en` also finds `en-GB`.
            access: `open`, `gated` or `private`.
            modality: `text`, `dna`, `code` or `table`.
            verified: `rows`, `golden` or `unverified`.
        """
        wanted = {
            "family": family,
            "task": kind,
            "access": access,
            "verified": verified,
        }
        return [
            annotation
            for annotation in self
            if all(value in (None, getattr(annotation, key)) for key, value in wanted.items())
            and modality in (None, annotation.source.modality)
            and (licence is None or _has_licence(annotation, licence))
            and (language is None or _has_language(annotation, language))
        ]


_COMMERCIAL = {"commercial": "yes", "non-commercial": "no", "unknown": "unknown"}


def _has_licence(annotation: DatasetAnnotation, licence: str) -> bool:
    source = annotation.source
    if licence in _COMMERCIAL:
        return source.commercial == _COMMERCIAL[licence]
    return source.licence.casefold() == licence.casefold()


def _has_language(annotation: DatasetAnnotation, language: str) -> bool:
    return any(
        code == language or code.startswith(f"{language}-") for code in annotation.source.language
    )


def annotation_files(folder: Path) -> list[Path]:
    """Return the YAML files below `folder`, sorted; hidden ones are left out.

    Raises:
        AnnotationError: `folder` is no folder.
    """
    if not folder.is_dir():
        message = "there is no folder of annotations here"
        raise AnnotationError("ANN161", message, where=folder)
    return sorted(
        file
        for file in folder.rglob("*")
        if file.suffix in SUFFIXES
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )


def family_of(file: Path, folder: Path) -> str:
    """Return the first folder on the way from `folder` to `file`; `own` when there is none."""
    parts = file.relative_to(folder).parts
    return parts[0] if len(parts) > 1 else "own"


def load_catalogue(folders: Sequence[Path] | None = None) -> Catalogue:
    """Load every annotation below the given folders.

    Args:
        folders: Folders of YAML files; by default the built-in one alone.

    Raises:
        YamlError: A file is no YAML of the kind that is read.
        AnnotationError: An annotation is not valid, two have the same id, or a folder is missing.
        PipelineErrors: Several such mistakes, all of them.
    """
    errors: list[PipelineError] = []
    found: dict[str, DatasetAnnotation] = {}
    seen: set[Path] = set()
    for folder in folders if folders is not None else [builtin_folder()]:
        for file in annotation_files(folder):
            # A folder may be named both on the command line and in the recipe.
            if file.resolve() in seen:
                continue
            seen.add(file.resolve())
            try:
                annotation = annotation_from(load_yaml(file), family=family_of(file, folder))
            except PipelineErrors as several:
                errors.extend(several.errors)
                continue
            except PipelineError as error:
                errors.append(error)
                continue
            for task in annotation.expanded():
                errors.extend(_add(found, task))
    raise_all(errors)
    return Catalogue(found)


def _add(found: dict[str, DatasetAnnotation], task: DatasetAnnotation) -> list[PipelineError]:
    first = found.setdefault(task.id, task)
    if first is task:
        return []
    return [
        AnnotationError(
            "ANN162",
            f"id: the id {task.id!r} is already used by {first.path}",
            where=task.mark(("id",)),
            hint="Choose another id",
        )
    ]
