"""Write `data_annotations/general/` from recorded facts about public datasets.

    python -m scripts.build_general_catalogue FACTS.jsonl --to FOLDER --docs PAGE.md

FACTS.jsonl has one line per annotation of tasksource 0.1.1 (CC BY 4.0, see NOTICE): ids, hub ids,
splits, column paths, label names, licences. It is not part of this project. Instructions, golden
rows and titles are written here. Nothing is written where a check fails.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from pipeline.annotations.catalogue import annotation_files, builtin_folder
from pipeline.annotations.check import check_files
from pipeline.annotations.schema import load_annotation
from scripts.general_catalogue import known
from scripts.general_catalogue.annotate import annotate
from scripts.general_catalogue.golden import add_golden
from scripts.general_catalogue.hand_rows import HAND_ROWS
from scripts.general_catalogue.overview import overview
from scripts.general_catalogue.render import yaml_text
from scripts.general_catalogue.wording import wording

CATALOGS = ("english", "multilingual")


def main(arguments: list[str] | None = None) -> int:
    """Write the annotations and the overview; return 1 when a check fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("facts", type=Path, help="the facts, one JSON map per line")
    parser.add_argument("--to", type=Path, required=True, help="folder for the annotations")
    parser.add_argument("--docs", type=Path, help="file for the overview")
    parser.add_argument("--log", type=Path, help="file for what has no golden row, and why")
    options = parser.parse_args(arguments)
    facts = [entry for entry in _read(options.facts) if entry["catalog"] in CATALOGS]
    built, left_out, without = build(facts, taken_ids())
    written: set[Path] = set()
    for family, annotation in built:
        file = options.to / family / f"{file_name(annotation['id'])}.yaml"
        if file in written:
            first_config = file_name(annotation["source"]["config"][0])
            file = file.with_name(f"{file.stem}_{first_config}.yaml")
        written.add(file)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml_text(annotation), encoding="utf-8")
    errors = check_files([options.to])
    for error in errors:
        sys.stderr.write(f"{error}\n")
    if options.docs:
        options.docs.write_text(overview(facts, built, left_out), encoding="utf-8")
    if options.log:
        options.log.write_text("".join(f"{k}\t{v}\n" for k, v in without.items()))
    counts = Counter(annotation["verified"] for _, annotation in built)
    sys.stdout.write(f"{len(built)} annotations {dict(counts)}, {len(left_out)} left out\n")
    return 1 if errors else 0


def build(
    facts: list[dict[str, Any]], taken: dict[str, str]
) -> tuple[list[tuple[str, dict[str, Any]]], dict[str, str], dict[str, str]]:
    """Return the annotations by family, what is left out and why, and what has no golden row.

    Args:
        facts: Entries of the facts file.
        taken: Ids of annotations written by hand, with their files.
    """
    built: list[tuple[str, dict[str, Any]]] = []
    left_out: dict[str, str] = {}
    without: dict[str, str] = {}
    seen: dict[str, None] = {}
    for entry in facts:
        first = entry["id"][0]
        reason = why_left_out(first)
        if reason:
            left_out.update(dict.fromkeys(entry["id"][:1], reason))
            continue
        annotation = annotate(entry)
        task_id = annotation["id"]
        if task_id in taken:
            left_out[first] = f"written by hand in {taken[task_id]}"
            continue
        if first in seen:
            left_out[f"{first} (multilingual)"] = "the same annotation stands in both catalogues"
            continue
        seen[first] = None
        family, _ = wording(first_task(annotation), annotation["task"], annotation.get("labels"))
        problem = add_golden(annotation, family, known.starting(HAND_ROWS, first))
        if problem:
            without[task_id] = problem
        if first in known.RAN_ON_ROWS:
            annotation["verified"] = "rows"
        built.append((family, annotation))
    return built, left_out, without


def first_task(annotation: dict[str, Any]) -> str:
    """Return the id of the task of the first config."""
    configs = annotation["source"].get("config")
    task_id: str = annotation["id"]
    return task_id.replace("{config}", configs[0]) if isinstance(configs, list) else task_id


def why_left_out(task_id: str) -> str | None:
    """Return why a catalogue entry has no annotation, `None` when it has one."""
    whole = {"multidogo", "procedural-choices"}
    return known.LEFT_OUT.get(task_id) or next(
        (known.LEFT_OUT[start] for start in whole if task_id.startswith(f"{start}/")), None
    )


def taken_ids() -> dict[str, str]:
    """Return the ids of the annotations that are written by hand."""
    folder = builtin_folder()
    found: dict[str, str] = {}
    for file in annotation_files(folder):
        parts = file.relative_to(folder).parts
        if parts[0] != "general" or len(parts) == 2:
            found[load_annotation(file).id] = f"data_annotations/{'/'.join(parts)}"
    return found


def file_name(task_id: str) -> str:
    """Return the file name of a task, without suffix."""
    return re.sub(r"[^A-Za-z0-9.\-]+", "_", task_id.replace("/{config}", "")).strip("_")


def _read(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


if __name__ == "__main__":
    raise SystemExit(main())
