"""Relations between the keys of an annotation, checked once each key is fine by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.annotations.columns import paths_used
from pipeline.annotations.expressions import Column, Const, Function, If, Map, Record
from pipeline.annotations.references import column_uses, evaluation_order
from pipeline.annotations.source import Take, is_test_name
from pipeline.annotations.task_kinds import (
    CLUSTER,
    METRIC_NAMES,
    NO_INPUTS,
    TASK_KINDS,
    SettingRule,
)
from pipeline.annotations.views import LIBRARY_FUNCTION, VIEW_FIELDS, view_problems
from pipeline.errors import did_you_mean
from pipeline.yaml_reader import Problem, excerpt

if TYPE_CHECKING:
    from pipeline.annotations.expressions import Expression
    from pipeline.annotations.schema import DatasetAnnotation

_TYPE_NAMES = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}


def relation_problems(annotation: DatasetAnnotation) -> list[Problem]:
    """Return every contradiction between the keys of an annotation."""
    checks = (
        _inputs,
        _computed,
        _labels,
        _settings,
        _records,
        _metrics,
        _configs,
        view_problems,
        _others,
        _guide,
        _test_files,
        _shared_files,
        _strands,
        _constant_target,
        _leaking_target,
    )
    return [problem for check in checks for problem in check(annotation)]


def _inputs(annotation: DatasetAnnotation) -> Iterator[Problem]:
    rules = TASK_KINDS[annotation.task]
    own = {"target"} | ({"choices"} if rules.has_choices else set())
    required = {*rules.required_inputs, *own}
    own.add(CLUSTER)
    for name in sorted(required - set(annotation.fields)):
        message = f"a {annotation.task} task needs the field {name!r}"
        yield Problem(("fields",), "ANN105", message)
    allowed = required | own | set(rules.optional_inputs)
    if annotation.views:
        allowed = required | own | set(VIEW_FIELDS)
    if rules.any_inputs:
        if set(annotation.fields) <= own:
            yield Problem(("fields",), "ANN105", "at least one input beside `target` is needed")
        for name in annotation.fields:
            if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
                message = f"an input is named with small letters, digits and _, got {excerpt(name)}"
                yield Problem(("fields", name), "ANN106", message)
        return
    for name in annotation.fields:
        if name not in allowed:
            message = f"a {annotation.task} task has no field {excerpt(name)}"
            yield Problem(("fields", name), "ANN106", message, did_you_mean(name, allowed))


def _computed(annotation: DatasetAnnotation) -> Iterator[Problem]:
    """Check the uses of `$name`, the value of another field."""
    fields = annotation.fields
    for field in fields.values():
        for use in column_uses(field):
            name = use.path.root.removeprefix("$")
            if use.path.root.startswith("$") and name not in fields:
                message = f"no field is named {excerpt(name)}"
                yield Problem(use.loc, "ANN118", message, did_you_mean(name, fields))
    try:
        evaluation_order(fields)
    except ValueError as error:
        message = "fields read each other in a circle"
        yield Problem(("fields", str(error)), "ANN119", message)
    for use in paths_used(annotation):
        if use.path.root.startswith("$") and use.loc[:1] == ("rows",):
            message = "row operations run before fields are computed"
            yield Problem(use.loc, "ANN118", message, "Bind the value with `let`")


def _strands(annotation: DatasetAnnotation) -> Iterator[Problem]:
    """Check that a sequence and its other strand cannot come to different splits."""
    if not annotation.settings.get("reverse_complement"):
        return
    for split in annotation.splits.present():
        if isinstance(annotation.splits.of(split), Take):
            message = "`take` cuts by rows, so a sequence and its other strand may part"
            hint = (
                "Cut by content, under `rows`: {split_by: {clean: COLUMN, steps: [either_strand]}, "
                f"from: train, {split}: 0.1}}"
            )
            yield Problem(("splits", split), "ANN149", message, hint)


def _labels(annotation: DatasetAnnotation) -> Iterator[Problem]:
    rules = TASK_KINDS[annotation.task]
    if annotation.labels is not None and not rules.has_labels and annotation.task != "records":
        yield Problem(("labels",), "ANN152", f"a {annotation.task} task has no labels")
    names = annotation.listed_labels or []
    values = names.values() if isinstance(names, dict) else names
    if (
        names
        and len(set(values)) < 2
        and annotation.task
        not in {
            "token_classification",
            "multi_label",
        }
    ):
        yield Problem(("labels",), "ANN152", "at least two labels are needed")


def _settings(annotation: DatasetAnnotation) -> Iterator[Problem]:
    rules = TASK_KINDS[annotation.task].settings
    for name, value in annotation.settings.items():
        if name not in rules:
            message = f"a {annotation.task} task has no setting {excerpt(name)}"
            hint = did_you_mean(name, rules) if rules else "Take it out"
            yield Problem(("settings", name), "ANN153", message, hint)
        elif not _fits(value, rules[name]):
            allowed = rules[name].allowed
            listed = f"one of {', '.join(map(str, allowed))}" if allowed else ""
            needed = listed or _TYPE_NAMES[rules[name].type]
            message = f"setting {name!r} is {needed}, got {excerpt(value)}"
            yield Problem(("settings", name), "ANN153", message)
    low, high = annotation.settings.get("minimum"), annotation.settings.get("maximum")
    if isinstance(low, int | float) and isinstance(high, int | float) and low >= high:
        yield Problem(("settings",), "ANN153", "`minimum` must be below `maximum`")
    bases = annotation.settings.get("max_bases", 1)
    if isinstance(bases, int) and bases < 1:
        message = f"'max_bases' is at least 1, got {bases}"
        yield Problem(("settings", "max_bases"), "ANN153", message)
    negative, names = annotation.settings.get("negative_label"), annotation.listed_labels
    known = names.values() if isinstance(names, dict) else names
    if isinstance(negative, str) and known is not None and negative not in known:
        message = f"'negative_label' is one of the labels, got {excerpt(negative)}"
        hint = did_you_mean(negative, known)
        yield Problem(("settings", "negative_label"), "ANN153", message, hint)
    if annotation.settings.get("max_choices", 2) in (0, 1):
        yield Problem(("settings", "max_choices"), "ANN153", "`max_choices` is at least 2")


def _records(annotation: DatasetAnnotation) -> Iterator[Problem]:
    if annotation.task != "records":
        return
    answer = annotation.settings.get("answer")
    if answer in {"label", "labels"} and annotation.labels is None:
        yield Problem(("settings", "answer"), "ANN153", f"`answer: {answer}` needs `labels`")
    for name in ("max_events", "event_characters", "total_characters"):
        value = annotation.settings.get(name, 1)
        if isinstance(value, int) and value < 1:
            yield Problem(("settings", name), "ANN153", f"{name!r} is at least 1, got {value}")


def _fits(value: object, rule: SettingRule) -> bool:
    types = (int, float) if rule.type is float else (rule.type,)
    if not isinstance(value, types) or (isinstance(value, bool) and rule.type is not bool):
        return False
    return rule.allowed is None or value in rule.allowed


def _metrics(annotation: DatasetAnnotation) -> Iterator[Problem]:
    for position, name in enumerate(annotation.metrics):
        if name not in METRIC_NAMES:
            message = f"no metric is named {excerpt(name)}"
            hint = did_you_mean(name, METRIC_NAMES)
            yield Problem(("metrics", position), "ANN154", message, hint)
        elif name in annotation.metrics[:position]:
            yield Problem(("metrics", position), "ANN154", f"metric {name!r} is listed twice")
    if TASK_KINDS[annotation.task].needs_instruction and not annotation.instruction.strip():
        message = f"a {annotation.task} task needs an `instruction`"
        yield Problem(("instruction",), "ANN102", message)


def _configs(annotation: DatasetAnnotation) -> Iterator[Problem]:
    configs = annotation.source.config
    listed = configs if isinstance(configs, tuple) else ()
    if len(listed) > 1 and "{config}" not in annotation.id:
        message = "several configs give several tasks, so the id must hold `{config}`"
        yield Problem(("id",), "ANN146", message)
    if not listed and "{config}" in annotation.id:
        yield Problem(("id",), "ANN146", "`{config}` needs a list of configs under `source`")
    for position, name in enumerate(listed):
        if not re.fullmatch(r"[A-Za-z0-9_.\-]+", name) and name not in annotation.per_config:
            message = f"the config {excerpt(name)} cannot stand in an id"
            hint = "Give it one under `per_config`: {NAME: {id: ...}}"
            yield Problem(("source", "config", position), "ANN146", message, hint)
    if re.search(r"[{}]", annotation.id.replace("{config}", "").replace("{view}", "")):
        yield Problem(
            ("id",), "ANN146", "the only placeholders of an id are `{config}` and `{view}`"
        )
    for name in annotation.per_config:
        if name not in listed:
            message = f"no config {excerpt(name)} under `source`"
            hint = did_you_mean(name, listed) if listed else "List the configs there"
            yield Problem(("per_config", name), "ANN146", message, hint)


def _others(annotation: DatasetAnnotation) -> Iterator[Problem]:
    truncate = annotation.truncate
    if truncate is not None and truncate.input not in annotation.fields:
        hint = did_you_mean(truncate.input, annotation.fields)
        message = f"no input is named {excerpt(truncate.input)}"
        yield Problem(("truncate", "input"), "ANN155", message, hint)
    if annotation.verified == "golden" and not annotation.golden:
        message = "`verified: golden` needs golden rows"
        yield Problem(("verified",), "ANN156", message, "Write `verified: unverified`")


def _guide(annotation: DatasetAnnotation) -> Iterator[Problem]:
    golden = annotation.golden
    for position, row in enumerate(golden):
        if row.explanation is None:
            continue
        first = row.expected()[0]
        needed = ["inputs", "target"] + ["choices"] * TASK_KINDS[annotation.task].has_choices
        for key in needed:
            if key not in first:
                message = f"a worked example needs its {key}"
                yield Problem(("golden", position), "ANN151", message)
    for position, item in enumerate(annotation.guide.negative if annotation.guide else ()):
        loc = ("guide", "negative", position, "golden")
        if item.golden >= len(golden) or not golden[item.golden].expected():
            message = f"golden[{item.golden}] has no example"
            yield Problem(loc, "ANN159", message, f"There are {len(golden)} golden rows, from 0")


def _constant_target(annotation: DatasetAnnotation) -> Iterator[Problem]:
    """Refuse a target that is the same for every row."""
    target = annotation.fields.get("target")
    if target is None or not _is_constant(target):
        return
    if annotation.task == "multiple_choice":
        if annotation.full_settings().get("choice_order") != "hashed":
            message = "the right option always stands at the same place"
            hint = "Add `settings: {choice_order: hashed}`"
            yield Problem(("fields", "target"), "ANN157", message, hint)
    elif annotation.task != "ranking":
        yield Problem(("fields", "target"), "ANN157", "the target is the same for every row")


def _test_files(annotation: DatasetAnnotation) -> Iterator[Problem]:
    """Refuse test files under another split's name for training."""
    for key in ("files", "data_files"):
        given = getattr(annotation.source, key)
        listed = given if isinstance(given, dict) else {"train": given or ()}
        for split in annotation.splits.named("train"):
            files = listed.get(split, ())
            for file in (files,) if isinstance(files, str) else files:
                if is_test_name(file):
                    message = f"file {excerpt(file)} is a test split and may not be trained on"
                    hint = "Name it under `test`"
                    yield Problem(("source", key), "ANN145", message, hint)


def _shared_files(annotation: DatasetAnnotation) -> Iterator[Problem]:
    """Refuse a file that is named for two source splits; what patterns match is seen in loading."""
    used = annotation.splits.source_splits()
    for key in ("files", "data_files"):
        given = getattr(annotation.source, key)
        users: dict[str, str] = {}
        for name in used if isinstance(given, dict) else ():
            files = given.get(name, ())
            for file in (files,) if isinstance(files, str) else files:
                other = users.setdefault(file, name)
                if other != name:
                    message = f"file {excerpt(file)} already serves {excerpt(other)}"
                    hint = "No row may come twice; cut a part out: {take: 0.1, from: NAME}"
                    yield Problem(("source", key), "ANN144", message, hint)


def _shown(field: Expression) -> Expression:
    """Return what an input shows: a library is varied by the calls, but does not hold them."""
    if not (isinstance(field, Function) and field.name == LIBRARY_FUNCTION):
        return field
    row = field.of
    return row.members.get("functions", field) if isinstance(row, Record) else field


def _leaking_target(annotation: DatasetAnnotation) -> Iterator[Problem]:
    """Refuse an input that shows the very column the target is read from."""
    target = annotation.fields.get("target")
    if not isinstance(target, Column):
        return
    for name, field in annotation.fields.items():
        uses = column_uses(_shown(field)) if name not in NO_INPUTS else ()
        if any(use.path == target.path for use in uses):
            message = f"the input {name!r} shows the target, {str(target.path)!r}"
            yield Problem(("fields", name), "ANN158", message)


def _is_constant(expression: Expression) -> bool:
    if isinstance(expression, Const):
        return True
    if isinstance(expression, Map):
        return _is_constant(expression.value)
    if isinstance(expression, If):
        return (
            isinstance(expression.then, Const)
            and isinstance(expression.otherwise, Const)
            and expression.then == expression.otherwise
        )
    return False
