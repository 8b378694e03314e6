"""Run by every process of a launch: prepares data together, or trains with dynamic rates.

share_data.py prepare FOLDER [own]     share_data.py train FOLDER NAME ROWS_PER_PROCESS
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from accelerate import PartialState

from pipeline.mixture import batches, parts
from pipeline.process_group import group_left
from pipeline.training import preparing
from pipeline.training.preparing_together import find_share, load_tasks_together
from tests.fixtures.tiny_recipe import tiny_recipe

STEPS = 12


def prepare(folder: Path, *, own_cache: bool) -> None:
    state = PartialState(cpu=True)
    rank = state.process_index
    os.environ["TASKLOOM_CACHE"] = str(folder / (f"cache-{rank}" if own_cache else "cache"))
    cut = parts.cut_into_parts
    preparing.cut_into_parts = lambda rows: cut(rows, part_rows=4)
    made, real = [], preparing.Maker.make_part

    def recorded(maker, work):
        made.append([work[0].name, work[1].number])
        real(maker, work)

    preparing.Maker.make_part = recorded
    recipe = tiny_recipe(folder)
    tokenizer = preparing.Maker(recipe).tokenizer
    share = find_share(state)
    tasks = load_tasks_together(recipe, tokenizer, state)["train"]
    record = {
        "share": [share.index, share.count, share.group],
        "made": made,
        "tasks": [[task.name, task.fingerprint, str(task.folder)] for task in tasks],
    }
    (folder / f"record-{rank}.json").write_text(json.dumps(record))


def train(folder: Path, name: str, rows_per_process: int) -> None:
    from pipeline.training.run import run_training

    os.environ["TASKLOOM_CACHE"] = str(folder / "cache")
    batches.WINDOW_LENGTH = 1024
    run_training(
        tiny_recipe(
            folder,
            output_dir=str(folder / name),
            packing=False,
            mixture={
                "policy": "uniform",
                "max_epochs_per_task": None,
                "dynamic": {
                    "reference_losses": {"tiny/colour": 0.0, "tiny/calls": 6.0},
                    "update_steps": 2,
                },
            },
            loss_reduction="task",
            per_device_train_batch_size=rows_per_process,
            gradient_accumulation_steps=4,
            max_steps=STEPS,
            logging_steps=1,
            learning_rate=1e-3,
            save_strategy="no",
        )
    )


if __name__ == "__main__":
    with group_left():
        if sys.argv[1] == "prepare":
            prepare(Path(sys.argv[2]), own_cache="own" in sys.argv)
        else:
            train(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
