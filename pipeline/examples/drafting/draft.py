"""From a survey of a dataset to a complete annotation that has been run on its rows."""

from __future__ import annotations

import contextlib
import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.annotations.columns import paths_used
from pipeline.annotations.schema import DatasetAnnotation, annotation_from
from pipeline.errors import PipelineError, SourceError
from pipeline.examples.cache import load_examples
from pipeline.examples.drafting.golden_rows import golden_entries, invented_rows, real_rows
from pipeline.examples.drafting.guess import Guess, labels_from_values, names_in_text
from pipeline.examples.drafting.heading import heading, propose_id
from pipeline.examples.drafting.kinds import RULES, guesses
from pipeline.examples.drafting.plain_kinds import set_range
from pipeline.examples.drafting.structured_kinds import name_tags
from pipeline.examples.drafting.survey import Survey
from pipeline.examples.drafting.yaml_text import write_yaml
from pipeline.examples.stored import ExamplesReport
from pipeline.types import Json, Split, TaskKind
from pipeline.yaml_reader import read_yaml

_HIDDEN = frozenset({"-1", '"-1"', "null", '""', "-1.0"})
"""Values, as JSON text, that stand where a label is not given away."""

Progress = Callable[[str], None]
"""Told what is being done, in a few words."""


@dataclass(slots=True, kw_only=True)
class Draft:
    """An annotation, and how it came about."""

    text: str
    """The YAML."""
    annotation: DatasetAnnotation
    guess: Guess
    others: list[TaskKind]
    """Kinds that the columns could be as well."""
    reports: list[ExamplesReport] = field(default_factory=list)
    """What became of the rows, by split."""
    error: PipelineError | None = None
    """What stopped it from running on the rows."""


def draft_annotation(
    survey: Survey,
    out: Path,
    *,
    kind: TaskKind | None = None,
    taken_ids: Collection[str] = (),
    data_root: Path | None = None,
    is_real: bool = True,
    with_real_golden: bool = False,
    progress: Progress = lambda doing: None,
) -> Draft:
    """Draft an annotation and run it on the rows.

    Kinds that fit the columns are tried in order; the first that gives examples of the rows of
    every split is taken.

    Args:
        survey: What the dataset shows.
        out: File that the annotation is meant for; it is not written.
        kind: Only this kind of task.
        taken_ids: Ids that other annotations have.
        data_root: Local mirror, which is looked into before the hub.
        is_real: Whether these are rows of the dataset, and not generated ones.
        with_real_golden: Whether golden rows are taken from the data, instead of invented.
        progress: Told what is being done.

    Raises:
        SourceError: No kind of task fits the columns.
    """
    found = guesses(survey.columns, kind)
    if not found:
        raise _nothing_fits(survey, kind)
    first: Draft | None = None
    for guess in found:
        writer = _Writer(survey, out, guess, [other.kind for other in found if other is not guess])
        progress(f"trying {guess.kind}")
        draft = writer.draft(
            propose_id(survey, out, taken_ids),
            data_root=data_root,
            is_real=is_real,
            with_real_golden=with_real_golden,
        )
        if draft.error is None:
            return draft
        first = first or draft
    assert first is not None
    return first


class _Writer:
    """Fills in what a guess leaves open, and writes it."""

    def __init__(self, survey: Survey, out: Path, guess: Guess, others: list[TaskKind]) -> None:
        self.survey = survey
        self.out = out
        self.guess = guess
        self.others = others
        self.slots = dict(survey.slots)
        self.raw_labels: list[Json] = []

    def draft(
        self, task_id: str, *, data_root: Path | None, is_real: bool, with_real_golden: bool
    ) -> Draft:
        value = self._value(task_id)
        annotation = self._parsed(value)
        value["golden"] = self._golden(annotation, with_real_golden)
        if not value["golden"]:
            del value["golden"]
        annotation = self._parsed(value)
        reports, error = self._run(annotation, data_root)
        is_run = error is None and bool(reports) and is_real
        value["verified"] = "rows" if is_run else "golden" if "golden" in value else "unverified"
        if error is not None:
            self.guess.doubt("verified", f"did not run on the rows: {error.message}")
        text = write_yaml(value, self._comments(value, reports))
        annotation = annotation_from(
            read_yaml(text, name=str(self.out)), family=self.out.resolve().parent.name
        )
        return Draft(
            text=text,
            annotation=annotation,
            guess=self.guess,
            others=self.others,
            reports=reports,
            error=error,
        )

    def _value(self, task_id: str) -> dict[str, Any]:
        guess, survey = self.guess, self.survey
        labels = self._labels()
        if guess.kind == "regression":
            self._set_range()
        value: dict[str, Any] = {
            "schema_version": 1,
            "id": task_id,
            **heading(survey, guess),
        }
        self._drop_hidden_splits()
        value["splits"] = {
            slot: names[0] if len(names) == 1 else list(names) for slot, names in self.slots.items()
        }
        if guess.rows:
            value["rows"] = guess.rows
        value["fields"] = guess.fields
        if labels:
            value["labels"] = labels
        if guess.instruction:
            value["instruction"] = guess.instruction
        for key in ("settings", "metrics", "truncate"):
            if getattr(guess, key):
                value[key] = getattr(guess, key)
        return value

    def _labels(self) -> list[str] | dict[Any, str] | None:
        """Return the labels, from the names recorded with the data or from all values."""
        guess, path = self.guess, self.guess.label_path
        if path is None:
            return None
        counts: Counter[str] = Counter()
        for name in self.survey.splits:
            counts.update(self.survey.values(path, name))
        seen = {text: count for text, count in counts.items() if text != "null"}
        hidden = {text for text in seen if text in _HIDDEN and _is_number(text)}
        names = guess.label_names
        if guess.kind == "token_classification" and not names:
            names = self._names_on_the_card(seen)
        if hidden and (names or len(seen) > len(hidden) + 1):
            self._leave_out_hidden(path, hidden)
            seen = {text: count for text, count in seen.items() if text not in hidden}
        if names:
            self.raw_labels = list(range(len(names)))
            return list(names)
        self.raw_labels = sorted(
            (json.loads(text) for text in seen), key=lambda v: (str(type(v)), v)
        )
        labels = labels_from_values(seen, guess)
        if guess.kind == "token_classification" and isinstance(labels, list):
            order = sorted(labels, key=lambda name: (name != "O", labels.index(name)))
            is_text = all(isinstance(value, str) for value in self.raw_labels)
            return order if is_text else labels
        return labels

    def _set_range(self) -> None:
        """Take the range of a regression from all rows, so that none falls outside of it."""
        path = _target_column(self.guess)
        if path is None:
            return
        values: list[float] = []
        for name in self.survey.splits:
            for text in self.survey.values(path, name):
                with contextlib.suppress(TypeError, ValueError):
                    values.append(float(json.loads(text)))
        set_range(self.guess, path, [value for value in values if math.isfinite(value)])

    def _names_on_the_card(self, seen: Collection[str]) -> tuple[str, ...] | None:
        """Return the names of tags that the text of the card tells, if it names all of them."""
        guess = self.guess
        if guess.label_path is None or not all(text.isdecimal() for text in seen):
            return None
        names = names_in_text(self.survey.facts.body, len(seen))
        if names is not None:
            name_tags(guess, names)
            guess.label_names = names
            guess.doubts.pop("labels", None)
            guess.doubt("labels", "named as the text of the card says")
        return names

    def _leave_out_hidden(self, path: str, hidden: set[str]) -> None:
        if self.guess.kind in {"token_classification", "multi_label"}:
            return
        value = json.loads(min(hidden))
        self.guess.rows.append({"where": {"of": path, "ne": value}})
        self.guess.doubt("rows", f"{value} in {path} is taken for a label that is not given")

    def _drop_hidden_splits(self) -> None:
        """Take out splits whose labels are all hidden."""
        path = _target_column(self.guess)
        if path is None or path not in self.survey.columns:
            return
        for slot in ("test", "validation"):
            names = self.slots.get(slot, [])
            counts: Counter[str] = Counter()
            for name in names:
                counts.update(self.survey.values(path, name))
            if names and counts and set(counts) <= _HIDDEN and len(self.slots) > 1:
                del self.slots[slot]
                self.guess.doubt("splits", f"{', '.join(names)} is left out: its labels are hidden")

    def _golden(self, annotation: DatasetAnnotation, is_real: bool) -> list[dict[str, Any]]:
        if is_real:
            used = [use.path.root for use in paths_used(annotation)]
            rows = real_rows(self.survey.rows[:2000], used)
            self.guess.doubt("golden", f"rows of the data themselves ({annotation.source.licence})")
            return golden_entries(annotation, rows)
        self.guess.doubt("golden", "invented rows in the columns of the data, run as they are")
        try:
            rows = invented_rows(self.guess, self.survey.columns, self.raw_labels)
        except (KeyError, ValueError, TypeError, IndexError, AssertionError):
            return []
        return golden_entries(annotation, rows)

    def _run(
        self, annotation: DatasetAnnotation, data_root: Path | None
    ) -> tuple[list[ExamplesReport], PipelineError | None]:
        reports: list[ExamplesReport] = []
        try:
            for slot in annotation.splits.present():
                reports.append(load_examples(annotation, slot, data_root=data_root).report)
        except PipelineError as error:
            return reports, error
        return reports, None

    def _parsed(self, value: Mapping[str, Any]) -> DatasetAnnotation:
        text = write_yaml({**value, "verified": "unverified"}, {})
        return annotation_from(read_yaml(text, name=str(self.out)))

    def _comments(
        self, value: Mapping[str, Any], reports: list[ExamplesReport]
    ) -> dict[str, list[str]]:
        comments = {key: list(lines) for key, lines in self.guess.doubts.items() if key in value}
        rows = ", ".join(f"{report.split} {report.num_rows}" for report in reports)
        top = ["Drafted from the columns and rows; every comment says what was guessed."]
        comments["schema_version"] = [*top, *([f"Rows: {rows}."] if rows else [])]
        also = f"; the columns would also do for {', '.join(self.others)}" if self.others else ""
        comments["task"] = [f"{self.guess.reason}{also}", *comments.get("task", [])]
        if "validation" not in self.slots or "test" not in self.slots:
            comments.setdefault("splits", []).extend(self._about_splits())
        if self.survey.unused:
            unused = ", ".join(self.survey.unused[:10])
            comments.setdefault("splits", []).append(f"not used: {unused}")
        read = {use.path.root for use in paths_used(self._parsed(value))}
        if unread := [name for name in self.survey.columns if name.partition(".")[0] not in read]:
            told = f"columns that are not read: {', '.join(unread[:10])}"
            comments.setdefault("fields", []).append(told)
        skipped = [f"{r.split}: {_skipped(r)}" for r in reports if r.skipped]
        if skipped:
            comments.setdefault("verified", []).extend(skipped)
        return comments

    def _about_splits(self) -> list[str]:
        source = next(iter(self.slots.values()))[0]
        missing: list[Split] = [s for s in ("validation", "test") if s not in self.slots]
        if "train" not in self.slots:
            return ["no split to train on; cut one out of another to train on this task"]
        entries = ", ".join(f"{slot}: {{take: 0.1, from: {source}}}" for slot in missing)
        return [f"to cut the missing ones out of {source}: {entries}"]


def _skipped(report: ExamplesReport) -> str:
    reasons = ", ".join(f"{count} {reason}" for reason, count in report.skipped.items())
    return f"rows without an example: {reasons}"


def _target_column(guess: Guess) -> str | None:
    target = guess.fields.get("target")
    if isinstance(target, str):
        return target
    if isinstance(target, dict):
        inner = target.get("clean") or target.get("find")
        return inner if isinstance(inner, str) else None
    return None


def _is_number(text: str) -> bool:
    return text.lstrip("-").replace(".", "", 1).isdigit()


def _nothing_fits(survey: Survey, kind: TaskKind | None) -> SourceError:
    shown = ", ".join(f"{c.name} ({c.form})" for c in list(survey.columns.values())[:20])
    what = f"the columns do not fit a {kind} task" if kind else "no kind of task fits the columns"
    return SourceError(
        "SRC150",
        f"{what}: {shown}",
        where=survey.hub or survey.origin,
        hint=f"Kinds that are drafted (--task): {', '.join(RULES)}; others are written by hand",
    )
