"""Write `docs/real_rows.md`: every annotation whose dataset is in a mirror, run on its rows.

python scripts/real_rows.py --data-root MIRROR
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.annotations.catalogue import load_catalogue
from pipeline.examples.real_rows import SplitRun, markdown_table, run_on_rows, tasks_in_mirror
from pipeline.files import write_text

PAGE = Path(__file__).resolve().parent.parent / "docs" / "real_rows.md"

INTRODUCTION = """# Annotations on real rows

Each annotation whose dataset is in the local mirror of public data was run on every row there. The
mirror holds samples (at most a few thousand rows of a split), and not every config. *Rows* are
source rows; a row may give several examples, or none, and the last column says why. "where" and
"rows[k]" are row operations of the annotation, "fields.x: empty" an input without content. The
table is made by `scripts/real_rows.py`, and a test compares it with a new run.

{summary}

"""


def page(runs: list[SplitRun]) -> str:
    """Return the page."""
    present = [run for run in runs if not run.is_absent]
    tasks, datasets = {run.task for run in present}, {run.dataset for run in present}
    num_rows = sum(run.num_rows for run in present)
    num_errors = sum(run.error is not None for run in present)
    summary = (
        f"{len(tasks)} tasks of {len(datasets)} datasets, {len(present)} splits, "
        f"{num_rows:,} rows, "
        f"{sum(run.num_examples for run in present):,} examples, {num_errors} errors."
    )
    return INTRODUCTION.format(summary=summary) + markdown_table(present)


def main() -> None:
    """Run all annotations and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", type=Path, required=True, help="the mirror")
    parser.add_argument("--output", type=Path, default=PAGE)
    options = parser.parse_args()
    tasks = tasks_in_mirror(load_catalogue(), options.data_root)
    runs = [run for task in tasks for run in run_on_rows(task, data_root=options.data_root)]
    write_text(options.output, page(runs))


if __name__ == "__main__":
    main()
