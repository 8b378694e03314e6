"""The processes of a training run prepare its data together: none waits while one works.

Processes that see the same cache share the work: of one machine where caches are local, of all
machines where the cache lies on a shared disk.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from accelerate.utils import gather_object

from pipeline.examples.workers import automatic_num_proc
from pipeline.files import cache_root, output_errors
from pipeline.mixture.parts import deal_parts
from pipeline.mixture.tokens import TokenizedTask
from pipeline.recipe import Recipe
from pipeline.training.crew import Crew
from pipeline.training.preparing import Maker, Preparation
from pipeline.training.processes import run_together
from pipeline.types import Split

if TYPE_CHECKING:
    from accelerate import PartialState
    from transformers import PreTrainedTokenizerBase

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Share:
    """This process's place among those that see the same cache."""

    index: int
    count: int
    group: int
    """Lowest process number of the group."""


def load_tasks_together(
    recipe: Recipe, tokenizer: PreTrainedTokenizerBase, state: PartialState
) -> dict[Split, list[TokenizedTask]]:
    """Return the tokens of every task by split; every process of a launch calls this.

    What is prepared is verified and read; what is not is made, in equal shares. Validation is
    there only when the recipe evaluates during training.

    Raises:
        PipelineError: A task is unknown, or its data cannot be read, rendered or written.
        PipelineErrors: That holds for several tasks.
    """
    share = find_share(state)
    # The tokenizer is at hand here; helping processes load it themselves.
    maker = Maker(recipe, tokenizer)
    with Crew(
        partial(Maker, recipe),
        worker=maker,
        most_workers=automatic_num_proc(recipe.dataset_num_proc),
    ) as crew:
        work = run_together(state, lambda: Preparation(recipe, crew))
        mine = range(share.index, len(work.tasks), share.count)
        done = run_together(state, lambda: work.normalise(mine))
        everywhere = _gather(state, (share.group, work.folders, done))
        done = set().union(*(tasks for group, _, tasks in everywhere if group == share.group))
        left = [part for part in work.parts if part.task not in done]
        parts = deal_parts(left, share.count)[share.index]
        run_together(state, lambda: work.make_parts(parts))
        run_together(state, lambda: work.join(task for task in mine if task not in done))
    folders: dict[int, Path] = {}
    for group, found, _ in everywhere:
        folders |= found if group == share.group else {}
    tasks: dict[Split, list[TokenizedTask]] = {"train": [], "validation": []}
    for position, data in enumerate(work.tasks):
        tasks[data.split].append(TokenizedTask(folders[position], data.name))
    return tasks


def find_share(state: PartialState) -> Share:
    """Return which share of the work is this process's.

    Every process leaves a mark in its cache; those that see each other's marks share a cache.

    Raises:
        OutputError: The cache cannot be written.
    """
    if state.num_processes == 1:
        return Share(0, 1, 0)
    mark = cache_root() / f".process-{uuid.uuid4().hex}"
    run_together(state, lambda: _leave(mark))
    marks = _gather(state, mark.name)
    seen = [number for number, name in enumerate(marks) if mark.with_name(name).exists()]
    groups = _gather(state, min(seen, default=state.process_index))
    mark.unlink(missing_ok=True)
    group = groups[state.process_index]
    members = [number for number, other in enumerate(groups) if other == group]
    return Share(members.index(state.process_index), len(members), group)


def _leave(mark: Path) -> None:
    with output_errors(mark):
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()


def _gather(state: PartialState, value: T) -> list[T]:
    """Return the values of all processes, in their order."""
    return [value] if state.num_processes == 1 else list(gather_object([value]))
