"""The page `docs/catalogue.md`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

_HEAD = """# The general catalogue

`data_annotations/general/` holds annotations of public datasets for general language
understanding: the files in its folders were generated once, by
`scripts/build_general_catalogue.py`, from facts recorded about tasksource 0.1.1 (ids, hub ids,
splits, column paths, label names, licences; CC BY 4.0, see NOTICE) and then reviewed; the files
directly in it were written by hand. Instructions, titles and golden rows are our own.

- An id stands for one dataset and task; with several configs, `{config}` in it is the config.
- **Splits** are those the dataset is known to have. A test split that is published without
  answers is left out; where there is no validation split (or none is known for certain, which
  `notes` says), a tenth of train is cut out for it. Nothing is trained on a split called test.
- **Soft labels** became a number where raters give a share or a mean, and otherwise the label
  that most raters chose; rows without a most frequent one are left out.
- **Labels** are listed where they are known. Where they are not, the class names recorded with
  the data are used, and `notes` says so; a value without a name is an error, never a guess.
- **Multiple choice** keeps every option, in the order of the source, and in a hashed order
  where the right one always stands first.
- **Verification** is `rows` for those that ran on real rows of their dataset, `golden` where an
  invented row in the source's columns gives the expected example, and `unverified` otherwise.
- **Agreement.** `scripts/compare_with_tasksource.py` gives the same invented rows to
  tasksource's own objects; `tests/golden/tasksource_agreement.jsonl` holds those where texts,
  options, the right option and label names are the same.
"""


def overview(
    facts: Sequence[dict[str, Any]],
    built: Sequence[tuple[str, dict[str, Any]]],
    left_out: dict[str, str],
) -> str:
    """Return the page as Markdown.

    Args:
        facts: Entries of the facts file.
        built: Annotations with their family.
        left_out: Reasons by id.
    """
    annotations = [annotation for _, annotation in built]
    tasks = sum(_num_tasks(annotation) for annotation in annotations)
    by_hand = sum("by hand" in reason for reason in left_out.values())
    lines = [
        _HEAD,
        f"Of {len(facts)} entries, {len(annotations)} were generated ({tasks} tasks, counting"
        f" configs), {by_hand} stand under the same id in a file written by hand, and"
        f" {len(left_out) - by_hand} are left out.\n",
        "## Counts\n",
        *_table("kind", Counter(a["task"] for a in annotations)),
        *_table("family", Counter(family for family, _ in built)),
        *_table("verified", Counter(a["verified"] for a in annotations)),
        *_table("commercial use", Counter(a["source"]["commercial"] for a in annotations)),
        *_table("licence", Counter(a["source"]["licence"] for a in annotations)),
        *_table("language", Counter(_languages(annotations))),
        "## Left out, or found elsewhere\n",
        "| id | why |",
        "|---|---|",
        *(f"| {task_id} | {reason} |" for task_id, reason in sorted(left_out.items())),
        "",
    ]
    return "\n".join(lines)


def _num_tasks(annotation: dict[str, Any]) -> int:
    configs = annotation["source"].get("config")
    return len(configs) if isinstance(configs, list) else 1


def _languages(annotations: Iterable[dict[str, Any]]) -> Iterable[str]:
    for annotation in annotations:
        found = annotation["source"].get("language", "not stated")
        yield from found if isinstance(found, list) else [found]


def _table(name: str, counts: Counter[str]) -> list[str]:
    rows = [f"| {key} | {count} |" for key, count in counts.most_common()]
    return [f"| {name} | annotations |", "|---|---|", *rows, ""]
