"""Compare annotations with tasksource's own objects, on rows made up in the source's columns.

tasksource is no dependency of this project. Install it into an environment of its own, which also
sees this project's packages, and run there:

    python -m venv /tmp/tasksource && /tmp/tasksource/bin/pip install --no-deps tasksource==0.1.1
    /tmp/tasksource/bin/pip install funcy exrex dotwiz ftfy magicattr sorcery langcodes datasets \
        pydantic pyyaml pyarrow
    /tmp/tasksource/bin/python -m scripts.compare_with_tasksource FACTS.jsonl \
        --to tests/golden/tasksource_agreement.jsonl

For every annotation of `data_annotations/general/` that stands for one of tasksource, three rows
are made up and given to both. Texts, option lists, the text of the right option and label names
have to be the same. Where tasksource permutes options, its own order is switched off; where our
annotation permutes them (`choice_order: hashed`), options are compared as sets. The file that is
written holds what both agree on, and `tests/integration/test_tasksource_agreement.py` replays it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.annotations.catalogue import annotation_files, builtin_folder
from pipeline.annotations.check import golden_values
from pipeline.annotations.schema import DatasetAnnotation, Golden, load_annotation
from pipeline.examples.registered import REGISTERED_FUNCTIONS
from scripts.general_catalogue import known
from scripts.general_catalogue.hand_rows import HAND_ROWS
from scripts.general_catalogue.invent import CannotInvent, Inventor
from scripts.general_catalogue.placing import spelled

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")


NUM_ROWS = 3
NUM_COPIES = 8
"""How often rows are repeated where tasksource cuts its own splits out of one."""

Json = Any


def main() -> int:
    """Compare, write the agreement and print the counts; return 1 when something differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("facts", type=Path)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    objects = _tasksource_objects()
    counts: Counter[str] = Counter()
    kept: list[str] = []
    for facts, annotation in _pairs_of(options.facts):
        if options.only and annotation.id not in options.only:
            continue
        state, record = _compared(facts, annotation, objects)
        counts[state.split(":")[0]] += 1
        if state != "agrees":
            sys.stdout.write(f"{annotation.id}\t{state}\n")
        else:
            kept.append(json.dumps(record, ensure_ascii=False, separators=(",", ":")))
    options.to.write_text("\n".join(kept) + "\n", encoding="utf-8")
    sys.stdout.write(f"{dict(counts)}\n")
    return 1 if counts["differs"] else 0


def _tasksource_objects() -> dict[tuple[str, str], Json]:
    from tasksource import multilingual_tasks, tasks  # type: ignore[import-not-found]

    found: dict[tuple[str, str], Json] = {}
    for catalog, module in (("english", tasks), ("multilingual", multilingual_tasks)):
        for name, value in vars(module).items():
            found[catalog, name] = value
    return found


def _pairs_of(path: Path) -> Iterator[tuple[Json, DatasetAnnotation]]:
    """Yield each entry of the facts with the generated annotation of the same id."""
    folder = builtin_folder()
    files = [f for f in annotation_files(folder) if f.relative_to(folder).parts[0] == "general"]
    loaded = [load_annotation(file, family="general") for file in files]
    ours = {task.id: annotation for annotation in loaded for task in annotation.expanded()}
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            facts = json.loads(line)
            if facts["catalog"] in {"english", "multilingual"}:
                annotation = ours.get(_id_of(facts["id"][0]))
                if annotation is not None:
                    yield facts, annotation


def _id_of(task_id: str) -> str:
    return spelled(task_id).replace("(", "").replace(")", "")


def _words(seed: int) -> Json:
    def text(column: str, number: int) -> str:
        return f"Word{seed}{number} of {column.replace('[', ' ').split('.')[-1][:20]} {seed * 7}."

    return text


def _rows(annotation: DatasetAnnotation, task_id: str, first: int = 1) -> list[Json]:
    given = known.starting(HAND_ROWS, task_id)
    if given:
        return [json.loads(json.dumps(row)) for row in given]
    raw = annotation._raw
    return [Inventor(raw, _words(n + first), label=n).make() for n in range(NUM_ROWS)]


def _compared(facts: Json, annotation: DatasetAnnotation, objects: Json) -> tuple[str, Json]:
    try:
        rows = _rows(annotation, facts["id"][0])
    except CannotInvent as reason:
        return f"no rows: {reason}", None
    theirs_of = objects.get((facts["catalog"], facts["annotation"]))
    if theirs_of is None:
        return "no object", None
    try:
        theirs, rows = _with_missing_columns(theirs_of, facts, annotation, rows)
        ours = [_ours(annotation, row) for row in rows]
        difference = _difference(annotation, ours, theirs)
    except Exception as error:  # any fault of the other library is only reported
        return f"tasksource fails: {type(error).__name__} {str(error)[:120]!r}", None
    if difference:
        return f"differs: {difference}", None
    return "agrees", {"id": annotation.expanded()[0].id, "rows": rows, "examples": ours}


FILLERS: dict[str, Json] = {
    "annotators": 3,
    "annotations": "3",
    "B-coref": False,
    "hard": False,
    "metadata": '{"observations": 10}',
}
"""Values of columns that only tasksource reads; any other is a text."""


def _with_missing_columns(
    task: Json, facts: Json, annotation: DatasetAnnotation, rows: list[Json]
) -> tuple[list[Json], list[Json]]:
    """Return what tasksource makes of the rows, and the rows with the columns that it asks for."""
    for _ in range(12):
        try:
            return _theirs(task, facts, annotation, rows), rows
        except KeyError as error:
            name = str(error.args[0])
            if name in rows[0]:
                raise
            filler = FILLERS.get(name, "x")
            rows = [{**row, name: filler} for row in rows]
        except ValueError as error:
            column = facts["fields"]["labels"]
            if "Unmapped labels" not in str(error) or isinstance(rows[0][column], str):
                raise
            # The facts do not tell whether raw labels are texts or numbers.
            rows = [{**row, column: str(row[column])} for row in rows]
    raise KeyError("too many columns are missing")


def _ours(annotation: DatasetAnnotation, row: Json) -> list[Json]:
    golden = Golden(row=row, skipped=True)
    values = golden_values(annotation, golden, REGISTERED_FUNCTIONS)
    return [
        {
            "inputs": value["inputs"],
            "target": value["target"],
            **({"choices": value["choices"]} if annotation.task == "multiple_choice" else {}),
        }
        for value in values
    ]


def _theirs(task: Json, facts: Json, annotation: DatasetAnnotation, rows: list[Json]) -> list[Json]:
    """Return what tasksource makes of the rows: one list of plain rows per source row."""
    import datasets

    features = _features(facts, annotation, rows)
    names = facts["splits"] if facts["splits"] != "default" else None
    wanted = [name for name in (names or {}).values() if name] or ["train", "validation", "test"]
    others = _rows(annotation, facts["id"][0], first=11)
    column = facts["fields"]["labels"]
    for other, row in zip(others, rows, strict=True):
        for name in row.keys() - other.keys():
            other[name] = row[name]
        if isinstance(column, str) and isinstance(row.get(column), str):
            other[column] = str(other[column])
    if others == rows and not facts["complete_splits"]:
        # Rows written by hand are the same for every split, which `holdout` would take out.
        wanted = wanted[:1]
    if any("merge_splits" in operation for operation in facts.get("row_ops", [])):
        wanted = wanted[:1]
    train = rows if len(wanted) > 1 else rows + NUM_COPIES * others
    parts = {
        name: datasets.Dataset.from_list(train if name == wanted[0] else others, features=features)
        for name in wanted
    }
    if hasattr(task, "view"):
        task = task.view(soft=not (task.regression or task.hard))
    extra = {}
    if facts["task_type"] == "MultipleChoice":
        extra = {"gold_first": False, "max_options": None}
    done = task(datasets.DatasetDict(parts), source_index=True, **extra)
    return _by_source_row(done, wanted[0], len(rows))


def _by_source_row(done: Json, first: str, count: int) -> list[Json]:
    """Return the rows that each row of the first split became, with label names."""
    found: list[Json] = [[] for _ in range(count)]
    for name, part in done.items():
        names = _label_names(part.features.get("labels"))
        for position, row in enumerate(part):
            # Rows that tasksource makes anew carry no number, but stand in the order of the source.
            given = row.pop("source_index", None)
            split, _, number = (given or f"{name}:{position}").rpartition(":")
            record = {**row, "_names": names}
            if given is None and name == "train":
                found[0].append(record)
            elif given is not None and split == first and int(number) < count:
                found[int(number)].append(record)
    return found


def _label_names(feature: Json) -> list[str] | None:
    inner = getattr(feature, "feature", feature)
    names = getattr(inner, "names", None)
    return list(names) if names else None


def _features(facts: Json, annotation: DatasetAnnotation, rows: list[Json]) -> Json:
    """Return column types that record class names where the annotation takes them by number."""
    import datasets

    features = datasets.Dataset.from_list(rows).features
    listed = annotation.expanded()[0].listed_labels
    column = facts["fields"]["labels"]
    if not isinstance(column, str) or column not in features or listed is None:
        return features
    if facts["task_type"] == "SoftLabeling":
        return features
    if facts.get("label_names") or any("label_names" in op for op in facts.get("row_ops", [])):
        return features
    if isinstance(listed, list):
        names = listed[:-1] if listed[-1] == "fair clause" else listed
        kind = datasets.ClassLabel(names=names)
        value = rows[0][column]
        if isinstance(value, int) and not isinstance(value, bool):
            features[column] = kind
        elif isinstance(value, list) and all(isinstance(item, int) for item in value):
            features[column] = datasets.Sequence(kind)
    return features


# --- comparison --------------------------------------------------------------------------------


def _difference(annotation: DatasetAnnotation, ours: list[Json], theirs: list[Json]) -> str | None:
    compare = {
        "multiple_choice": _choice,
        "regression": _number,
        "token_classification": _tags,
        "multi_label": _several_labels,
    }.get(annotation.task, _label)
    seen = 0
    if theirs[0] and not any(theirs[1:]):
        # Numbers were lost, so the rows are compared in order.
        ours = [[example for examples in ours for example in examples][: len(theirs[0])]]
        theirs = [theirs[0][: len(ours[0])]]
    for mine, other in zip(ours, theirs, strict=True):
        if len(mine) != len(other):
            return f"{len(mine)} examples against {len(other)}"
        for example, row in zip(mine, other, strict=True):
            seen += 1
            found = _texts(annotation, example, row) or compare(annotation, example, row)
            if found:
                return found
    return None if seen else "no example to compare"


def _texts(annotation: DatasetAnnotation, example: Json, row: Json) -> str | None:
    inputs = example["inputs"]
    if annotation.task == "multiple_choice":
        wanted = {"question": row["inputs"]}
    elif annotation.task == "token_classification":
        wanted = {"tokens": row["tokens"]}
    elif "text" in inputs:
        wanted = {"text": row["sentence1"]}
    else:
        wanted = {"text_a": row["sentence1"]}
        if "text_b" in inputs:
            wanted["text_b"] = row["sentence2"]
    for name, value in wanted.items():
        if inputs[name] != value and not (inputs[name] == "" and value is None):
            return f"{name}: {inputs[name]!r} against {value!r}"
    return None


def _choice(annotation: DatasetAnnotation, example: Json, row: Json) -> str | None:
    names = sorted((key for key in row if key.startswith("choice")), key=lambda key: int(key[6:]))
    options = [row[name] for name in names if row[name] is not None]
    gold = row["labels"]
    if row["_names"] and not str(row["_names"][0]).isdigit():
        return None if row["_names"][gold] else "letters"
    if options[gold] != example["choices"][example["target"]]:
        mine = example["choices"][example["target"]]
        return f"right option: {mine!r} against {options[gold]!r}"
    mine = example["choices"]
    if annotation.settings.get("choice_order") == "hashed":
        mine, options = sorted(mine), sorted(options)
    return None if mine == options else f"options: {mine} against {options}"


def _number(annotation: DatasetAnnotation, example: Json, row: Json) -> str | None:
    value = row["labels"]
    if isinstance(value, list):
        value = _mean(annotation, value)
    if math.isclose(value, example["target"], abs_tol=1e-6):
        return None
    return f"number: {example['target']} against {value}"


def _mean(annotation: DatasetAnnotation, shares: list[float]) -> float:
    """Return the number behind a distribution over one or several levels."""
    low, high = annotation.settings["minimum"], annotation.settings["maximum"]
    if len(shares) == 1:
        return float(low + shares[0] * (high - low))
    step = (high - low) / (len(shares) - 1)
    return float(sum(share * (low + step * level) for level, share in enumerate(shares)))


def _label(annotation: DatasetAnnotation, example: Json, row: Json) -> str | None:
    value = row["labels"]
    if isinstance(value, list) and len(value) == 1:
        labels = annotation.label_table()
        value, row = int(value[0] > 0.5), {**row, "_names": labels.names if labels else []}
    elif isinstance(value, list):
        names = row.get("options") or []
        value, row = value.index(max(value)), {**row, "_names": names}
    name = row["_names"][value] if row["_names"] else value
    return None if name == example["target"] else f"label: {example['target']!r} against {name!r}"


def _several_labels(annotation: DatasetAnnotation, example: Json, row: Json) -> str | None:
    names = [row["_names"][value] for value in row["labels"]]
    return None if sorted(names) == sorted(example["target"]) else f"labels: {names}"


def _tags(annotation: DatasetAnnotation, example: Json, row: Json) -> str | None:
    names = row["_names"]
    tags = [names[tag] if names and isinstance(tag, int) else tag for tag in row["labels"]]
    if annotation.settings.get("scheme") == "plain":
        return None if tags == example["target"] else f"tags: {example['target']} against {tags}"
    inside = {i for span in example["target"] for i in range(span["start"], span["end"])}
    if inside != {i for i, tag in enumerate(tags) if tag != "O"}:
        return f"tags: {example['target']} against {tags}"
    for span in example["target"]:
        if span["type"] not in tags[span["start"]]:
            return f"type: {span['type']} against {tags[span['start']]}"
    return None


if __name__ == "__main__":
    raise SystemExit(main())
