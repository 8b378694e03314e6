"""The schema of a dataset annotation: one YAML file per task.

An annotation is data. Everything a file may say is here, checked as a whole when it is loaded;
whether it fits its dataset is checked by `columns`, before any row is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, cast

import pydantic
from pydantic import ConfigDict, Field, PlainValidator, PrivateAttr
from pydantic_core import InitErrorDetails, PydanticCustomError

from pipeline.annotations.expressions import Column, Expression, Spans
from pipeline.annotations.labels import LabelTable
from pipeline.annotations.library import varied_fields
from pipeline.annotations.parsing import parse_expression
from pipeline.annotations.parts import Cap, Golden, Guide, Truncate, task_guide
from pipeline.annotations.row_operations import Operation, parse_operations
from pipeline.annotations.rules import relation_problems
from pipeline.annotations.source import Access, Source, SplitSources, spelled
from pipeline.annotations.tagging import entity_types
from pipeline.annotations.task_kinds import TASK_KINDS, KindRules, default_metrics
from pipeline.annotations.views import VIEWS, ViewOverride, fields_of_view, read_views
from pipeline.errors import AnnotationError, PipelineError, SourceMark, raise_all
from pipeline.files import sha256_of_json
from pipeline.types import Json, TaskKind, TaskSpec
from pipeline.yaml_reader import (
    ErrorCodes,
    Problem,
    YamlDocument,
    excerpt,
    load_yaml,
    position_of,
    problems_as_validation_error,
    validation_errors,
)

_ID_PART = r"[A-Za-z0-9_{][A-Za-z0-9_.{}\-]*"
_CODES = ErrorCodes("ANN101", "ANN102", "ANN103", AnnotationError)
Verified = Literal["rows", "golden", "unverified"]
_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True)
FROM_DATA: Literal["from_data"] = "from_data"
"""What `labels:` says where the values of the data are the names."""

_ROW_KEYS = ("task", "source", "splits", "rows", "fields", "labels", "settings", "cap")


def _fields(value: object) -> object:
    problems: list[Problem] = []
    if not isinstance(value, dict) or not value:
        problems.append(Problem((), "ANN103", "a map from field names to expressions is needed"))
        value = {}
    parsed = {}
    for name, inner in value.items():
        if inner is None:
            problems.append(Problem((name,), "ANN110", "an expression is needed, got nothing"))
        parsed[name] = parse_expression(inner, ("fields", name), problems)
    return _or_problems(parsed, problems, "fields")


def _rows(value: object) -> object:
    problems: list[Problem] = []
    parsed = parse_operations(value, ("rows",), problems)  # type: ignore[arg-type]
    return _or_problems(parsed, problems, "rows")


def _or_problems(parsed: object, problems: list[Problem], key: str) -> object:
    if problems:
        # pydantic puts the key of the field in front again.
        inside = [
            Problem(p.loc[1:] if p.loc[:1] == (key,) else p.loc, p.code, p.message, p.hint)
            for p in problems
        ]
        raise problems_as_validation_error(inside)
    return parsed


def _labels(value: object) -> object:
    if value == FROM_DATA:
        return value
    if isinstance(value, dict) and value:
        entries: list[Json] = list(value.values())
    elif isinstance(value, list) and value:
        entries = value
    else:
        message = "a list of names, a map from raw values to names, or from_data is needed"
        raise problems_as_validation_error([Problem((), "ANN150", message)])
    keys = list(value) if isinstance(value, dict) else range(len(entries))
    problems = [
        Problem((key,), "ANN150", f"a label is text, got {excerpt(entry)}", "Quote it")
        for key, entry in zip(keys, entries, strict=True)
        if not isinstance(entry, str) or not entry.strip() or "\n" in entry
    ]
    if isinstance(value, list) and not problems and len(set(value)) != len(value):
        problems.append(Problem((), "ANN150", "a label is listed twice"))
    if problems:
        raise problems_as_validation_error(problems)
    return value


if TYPE_CHECKING:
    Fields = dict[str, Expression]
    Rows = tuple[Operation, ...]
    Labels = list[str] | dict[str, str] | Literal["from_data"]
else:
    # pydantic would build validators for the dataclasses of the language, which it never needs.
    Fields = Annotated[Any, PlainValidator(_fields)]
    Rows = Annotated[Any, PlainValidator(_rows)]
    Labels = Annotated[Any, PlainValidator(_labels)]


TaskId = Annotated[
    str,
    Field(max_length=120),
    spelled(f"{_ID_PART}(/{_ID_PART})*", "letters, digits, _, -, . and single / between them"),
]


class _Strict(pydantic.BaseModel):
    model_config = _STRICT


class ConfigOverride(_Strict):
    """What one config of several has of its own."""

    id: TaskId | None = None
    title: str | None = None
    instruction: str | None = None
    labels: Labels | None = None
    splits: SplitSources | None = None
    language: tuple[str, ...] | None = None
    verified: Verified | None = None

    @pydantic.field_validator("language", mode="before")
    @classmethod
    def _as_tuple(cls, value: object) -> object:
        if isinstance(value, str):
            return (value,)
        return tuple(value) if isinstance(value, list) else value


class DatasetAnnotation(_Strict):
    """How one public dataset becomes the examples of one task."""

    schema_version: Literal[1]
    id: TaskId
    """Stable name, e.g. `glue/rte`; `{config}` stands for the config's name, `{view}` for the
    view's."""
    title: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    task: TaskKind
    source: Source
    splits: SplitSources
    rows: Rows = ()
    fields: Fields
    labels: Labels | None = None
    """Names in order, raw value to name, or `from_data`; absent: the class names recorded with
    the data."""
    ordered: bool = False
    """Whether the order of the labels means more and less."""
    instruction: Annotated[str, Field(max_length=2000)] = ""
    settings: dict[str, Any] = Field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    """The first is the headline; absent: those of the kind."""
    cap: Cap = Cap()
    truncate: Truncate | None = None
    per_config: dict[str, ConfigOverride] = Field(default_factory=dict)
    views: dict[str, ViewOverride] = Field(default_factory=dict)
    """Views of the calls; the annotation then stands for one task per view."""
    guide: Guide | None = None
    """Definition, wrong answers and things to avoid, for the styles that show them."""
    golden: tuple[Golden, ...] = ()
    verified: Verified = "unverified"
    """`rows`: run on real rows of the dataset; `golden`: on its golden rows; else not run."""
    notes: Annotated[str, Field(max_length=4000)] | None = None

    _document: YamlDocument | None = PrivateAttr(default=None)
    _raw: dict[str, Json] = PrivateAttr(default_factory=dict)
    _family: str = PrivateAttr(default="own")
    _config: str | None = PrivateAttr(default=None)
    _view: str | None = PrivateAttr(default=None)
    _call_fields: dict[str, Expression] | None = PrivateAttr(default=None)
    _library: dict[str, Json] = PrivateAttr(default_factory=dict)

    @pydantic.field_validator("metrics", "golden", mode="before")
    @classmethod
    def _as_tuple(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value

    @pydantic.field_validator("views", mode="before")
    @classmethod
    def _read_views(cls, value: object) -> object:
        return read_views(value)

    @pydantic.model_validator(mode="after")
    def _check_relations(self) -> Self:
        problems = relation_problems(self)
        if problems:
            raise problems_as_validation_error(problems)
        return self

    @property
    def rules(self) -> KindRules:
        """What the kind of task needs and allows."""
        return TASK_KINDS[self.task]

    @property
    def family(self) -> str:
        """First folder below the annotations folder, e.g. `biomedical`."""
        return self._family

    @property
    def config(self) -> str | None:
        """The one config of the source this task reads."""
        if self.source.config_column is not None:
            return None
        return self._config or (self.source.config if isinstance(self.source.config, str) else None)

    @property
    def access(self) -> Access:
        """Whether anybody can get the data."""
        return self.source.access

    @property
    def path(self) -> Path | None:
        """The file, when the annotation comes from one."""
        return Path(self._document.name) if self._document else None

    def mark(self, loc: Sequence[str | int] = (), *, key: bool = False) -> SourceMark | str:
        """Return the place of `loc` in the annotation's file, or its id without a file."""
        return self._document.mark(loc, key=key) if self._document else self.id

    def full_settings(self) -> dict[str, Json]:
        """Return the settings with the defaults of the kind filled in."""
        defaults = {
            name: rule.default
            for name, rule in self.rules.settings.items()
            if rule.default is not None
        }
        return {**defaults, **self.settings}

    def label_path(self) -> str | None:
        """Return the path whose recorded class names are the labels, when there is one."""
        target = self.fields.get("target")
        if isinstance(target, Spans):
            target = target.tags
        return str(target.path) if isinstance(target, Column) else None

    @property
    def listed_labels(self) -> list[str] | dict[str, str] | None:
        """The labels that the file itself lists."""
        return None if self.labels == FROM_DATA else self.labels

    @property
    def has_labels_from_data(self) -> bool:
        """Whether the values that occur in the data, in any split, are the labels."""
        return self.labels == FROM_DATA

    def label_table(self, class_names: Sequence[str] | None = None) -> LabelTable | None:
        """Return the vocabulary, before the tags of a BIO scheme become entity types.

        Args:
            class_names: Names recorded with or found in the data, where the file lists none.
        """
        if self.listed_labels is not None:
            return LabelTable.of(self.listed_labels)
        if not class_names:
            return None
        if self.has_labels_from_data:  # a number is a name here, not a position
            return LabelTable(tuple(class_names), {name: name for name in class_names})
        return LabelTable(tuple(class_names))

    def spec(self, class_names: Sequence[str] | None = None) -> TaskSpec:
        """Return what later stages must know of the task.

        Args:
            class_names: Names recorded with or found in the data, where the file lists none.
        """
        settings = self.full_settings()
        if self.truncate is not None:
            settings["truncate"] = {"input": self.truncate.input, "side": self.truncate.side}
        return TaskSpec(
            id=self.id,
            kind=self.task,
            family=self.family,
            instruction=self.instruction,
            labels=self._answer_labels(class_names),
            metrics=self.metrics
            or default_metrics(self.task, settings, has_labels=self.labels is not None),
            settings=settings,
            guide=task_guide(self.guide, self.golden),
            is_dna=self.source.modality == "dna",
        )

    def _answer_labels(self, class_names: Sequence[str] | None) -> tuple[str, ...] | None:
        table = self.label_table(class_names)
        if table is None:
            return None
        target = self.fields.get("target")
        if isinstance(target, Spans):
            types = entity_types(table.names, scheme=target.scheme)
            return types or ((target.type,) if target.type else ())
        return table.names

    def data_fingerprint(self) -> str:
        """Return a hash of everything that decides which examples the rows become."""
        part: dict[str, Json] = {key: self._raw.get(key) for key in _ROW_KEYS}
        overrides = self._raw.get("per_config")
        part["config"] = config = self._config or self.config
        part["own"] = overrides.get(config or "") if isinstance(overrides, dict) else None
        if self._view is not None:
            part["view"] = self._view
        if self._library:
            part["library"] = self._library
        return sha256_of_json(part)

    def expanded(self) -> tuple[DatasetAnnotation, ...]:
        """Return one annotation per config of the source and view; itself when there are none."""
        configs = self.source.config
        tasks: tuple[DatasetAnnotation, ...] = (self,)
        if isinstance(configs, tuple):
            tasks = tuple(self._for_config(config) for config in configs)
        return tuple(view for task in tasks for view in task._views())

    @property
    def view(self) -> str | None:
        """The view this task is, of an annotation that has several."""
        return self._view

    def _views(self) -> tuple[DatasetAnnotation, ...]:
        return tuple(self._for_view(view) for view in self.views) if self.views else (self,)

    def _for_view(self, view: str) -> DatasetAnnotation:
        own, rule = self.views[view], VIEWS[view]
        title = None if self.title is None else f"{self.title} ({view})"
        copy = self.model_copy(
            update={
                "id": self.id.replace("{view}", view),
                "title": own.title or title,
                "instruction": own.instruction or self.instruction or rule.instruction,
                "settings": {"granular": rule.granular, "view": view},
                "metrics": own.metrics,
                "fields": fields_of_view(view, self.fields),
                "views": {},
            }
        )
        copy._view = view
        copy._call_fields = self.fields
        return copy

    def with_library(self, options: Mapping[str, Json]) -> DatasetAnnotation:
        """Return this task with its functions shown in another way, see `annotations.library`.

        Raises:
            AnnotationError: `ANN148`, the functions of this task cannot be varied.
        """
        fields = varied_fields(self, self._call_fields or self.fields, options)
        copy = self.model_copy(update={"fields": fields})
        copy._library = dict(options)
        return copy

    def _parts_of(self, config: str) -> dict[str, object]:
        """Return those of fields, rows and golden rows that name the config."""
        readers: dict[str, Callable[[Any], object]] = {
            "fields": _fields,
            "rows": _rows,
            "golden": lambda rows: tuple(Golden.model_validate(row) for row in rows),
        }
        return {
            key: read(_filled(self._raw[key], config))
            for key, read in readers.items()
            if "{config}" in repr(self._raw.get(key))
        }

    def _for_config(self, config: str) -> DatasetAnnotation:
        own = self.per_config.get(config, ConfigOverride())
        source = self.source.model_copy(
            update={
                "config": config if self.source.config_column is None else None,
                "data_dir": _filled(self.source.data_dir, config),
                "data_files": _filled(self.source.data_files, config),
                "files": _filled(self.source.files, config),
                **({"language": own.language} if own.language is not None else {}),
            }
        )
        parts = self._parts_of(config)
        if source.config_column is not None:
            kept = {"where": {"of": source.config_column, "eq": config}}
            rows = parts.get("rows", self.rows)
            parts["rows"] = (*cast("Rows", _rows([kept])), *cast("Rows", rows))
        copy = self.model_copy(
            update={
                "id": own.id or _filled(self.id, config),
                "title": own.title or _filled(self.title, config),
                "instruction": own.instruction or _filled(self.instruction, config),
                "labels": own.labels if own.labels is not None else self.labels,
                "splits": own.splits or self.splits,
                "source": source,
                "verified": own.verified or self.verified,
                **parts,
            }
        )
        copy._config = config
        return copy


def _filled(value: Any, config: str) -> Any:  # noqa: ANN401 - any JSON value, tuples too
    """Return `value` with `{config}` replaced in every text and key."""
    if isinstance(value, str):
        return value.replace("{config}", config)
    if isinstance(value, list | tuple):
        return type(value)(_filled(item, config) for item in value)
    if isinstance(value, dict):
        return {_filled(key, config): _filled(item, config) for key, item in value.items()}
    return value


def load_annotation(path: Path, *, family: str | None = None) -> DatasetAnnotation:
    """Read and check one annotation file.

    Args:
        path: The YAML file.
        family: Its family; by default the name of its folder.

    Raises:
        YamlError: The file is no YAML of the kind that is read.
        AnnotationError: It is no valid annotation.
        PipelineErrors: It has several mistakes.
    """
    return annotation_from(load_yaml(path), family=family or path.resolve().parent.name)


def annotation_from(document: YamlDocument, *, family: str = "own") -> DatasetAnnotation:
    """Check one annotation that is already read; errors as for `load_annotation`."""
    if not isinstance(document.value, dict):
        message = "an annotation is a map of keys"
        hint = "Start with `schema_version: 1`"
        raise AnnotationError("ANN103", message, where=document.mark(), hint=hint)
    errors: list[PipelineError] = []
    try:
        annotation = DatasetAnnotation.model_validate(document.value)
    except pydantic.ValidationError as error:
        errors = validation_errors(error, document, model=DatasetAnnotation, codes=_CODES)
        hidden = _hidden_errors(document.value, {str(e["loc"][0]) for e in error.errors()})
        if hidden is not None:
            errors += validation_errors(hidden, document, model=DatasetAnnotation, codes=_CODES)
        raise_all(sorted(errors, key=position_of))
        raise AssertionError("a validation error without errors") from error
    annotation._document = document
    annotation._raw = document.value
    annotation._family = family
    return annotation


_STAND_INS: dict[str, Json] = {
    "schema_version": 1,
    "id": "x",
    "source": {"hub": "x", "licence": "unknown"},
    "splits": {"train": "train"},
    "fields": {"text": "text", "target": "target"},
    "instruction": "x",
}
_CHECKED_WITH = {
    "fields": {"truncate", "settings"},
    "source": {"id", "per_config"},
    "rows": {"fields"},
    "golden": {"verified"},
    "settings": {"fields", "metrics"},
}


def _hidden_errors(value: Mapping[str, Json], bad: set[str]) -> pydantic.ValidationError | None:
    """Return the contradictions between the keys that are fine, although others are not.

    pydantic checks relations only once every key is fine; here the bad ones are replaced by
    stand-ins, and complaints about those are dropped.
    """
    if "task" in bad:
        return None
    fine = {key: inner for key, inner in value.items() if key not in bad}
    blurred = bad | {name for key in bad for name in _CHECKED_WITH.get(key, ())}
    try:
        DatasetAnnotation.model_validate({**_STAND_INS, **fine})
    except pydantic.ValidationError as error:
        kept = [
            InitErrorDetails(
                type=PydanticCustomError(e["type"], "{message}", e["ctx"]),
                loc=e["loc"],
                input=None,
            )
            for e in error.errors()
            if e["type"].startswith("ANN") and e["loc"] and e["loc"][0] not in blurred
        ]
        return pydantic.ValidationError.from_exception_data("hidden", kept) if kept else None
    return None
