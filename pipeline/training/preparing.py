"""Normalised and tokenised data of a recipe, made by any number of processes and jobs.

    rows of every task -> parts (see `pipeline.mixture.parts`) -> tokens of each part -> joined

A part is a sealed folder in the cache. Who makes it changes nothing: one process, the processes
of a machine, the jobs of an array or the processes of a training run leave the same bytes. What
is complete is never made again; what is damaged is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import MixtureError, PipelineError, raise_all
from pipeline.files import is_complete_folder
from pipeline.mixture.parts import Part, cut_into_parts, deal_parts
from pipeline.mixture.tokens import (
    find_unfinished_parts,
    join_parts,
    tokenise_part,
    tokens_folder,
)
from pipeline.recipe import Recipe
from pipeline.training.crew import Crew, all_or_errors
from pipeline.training.recipe_tokenizer import load_recipe_tokenizer
from pipeline.training.task_tokens import (
    TaskData,
    TokenSource,
    count_source_rows,
    data_of,
    load_source,
)
from pipeline.types import Split

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

_MANY_TO_NORMALISE, _MANY_TO_TOKENISE = 500_000, 40_000
"""Rows from which on starting other processes saves more than it costs."""


class Maker:
    """Makes the data of single tasks and parts; one lives in every process that helps."""

    def __init__(self, recipe: Recipe, tokenizer: PreTrainedTokenizerBase | None = None) -> None:
        """Keep the recipe; the tokenizer is loaded when first needed.

        Args:
            recipe: What to prepare for.
            tokenizer: The recipe's tokenizer, if it is loaded already.
        """
        self._recipe = recipe
        self._given_tokenizer = tokenizer
        self._sources: dict[tuple[str, str], TokenSource] = {}

    @functools.cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The recipe's tokenizer."""
        if self._given_tokenizer is not None:
            return self._given_tokenizer
        return load_recipe_tokenizer(self._recipe)

    def normalise(self, data: TaskData) -> tuple[Path, bool]:
        """Make the examples of a task; return where its tokens belong, and if they are there."""
        folder = tokens_folder(
            data.name,
            self.tokenizer,
            fingerprint=self._source(data).fingerprint,
            max_length=self._recipe.max_length,
        )
        return folder, is_complete_folder(folder)

    def make_part(self, work: tuple[TaskData, Part]) -> None:
        """Make the tokens of a part."""
        data, part = work
        source = self._source(data)
        tokenise_part(
            source.rows,
            source.render,
            self.tokenizer,
            part=part.number,
            num_parts=part.num_parts,
            fingerprint=source.fingerprint,
            max_length=self._recipe.max_length,
        )

    def _source(self, data: TaskData) -> TokenSource:
        key = data.name, data.split
        if key not in self._sources:
            self._sources[key] = load_source(self._recipe, data)
        return self._sources[key]


class Preparation:
    """The work of preparing one recipe, cut into parts."""

    def __init__(
        self, recipe: Recipe, crew: Crew[Maker], *, progress: Progress | None = None
    ) -> None:
        """Find the tasks and count their rows; nothing is written.

        Args:
            recipe: What to prepare for.
            crew: Does the work.
            progress: Told how far the work is.

        Raises:
            PipelineError: A task is unknown, or its data cannot be found.
            PipelineErrors: Several cannot.
        """
        splits: list[Split] = ["train"]
        if recipe.eval_strategy != "no":
            splits.append("validation")
        self.tasks = [data for split in splits for data in data_of(recipe, split)]
        self.parts = cut_into_parts(
            all_or_errors(functools.partial(count_source_rows, recipe, t) for t in self.tasks)
        )
        self.folders: dict[int, Path] = {}
        """Where the tokens of a task belong, by its position; known once it is normalised."""
        self._crew = crew
        self._progress = progress

    def normalise(self, tasks: Iterable[int]) -> set[int]:
        """Make the examples of some tasks, given by position; return those with complete tokens.

        Raises:
            PipelineError: Data do not fit their annotation, or the cache cannot be written.
            PipelineErrors: That holds for several tasks.
        """
        wanted = sorted(set(tasks))
        found = self._crew.run(
            Maker.normalise,
            [self.tasks[task] for task in wanted],
            is_much=_num_rows(p for p in self.parts if p.task in wanted) >= _MANY_TO_NORMALISE,
            done=lambda done: self._tell("tasks normalised", done, len(wanted)),
        )
        done = set()
        for task, (folder, is_complete) in zip(wanted, found, strict=True):
            self.folders[task] = folder
            if is_complete:
                done.add(task)
        return done

    def make_parts(self, parts: Sequence[Part]) -> None:
        """Make the tokens of some parts; what is complete stays as it is.

        Raises:
            PipelineError: A task cannot be rendered, or the cache cannot be written.
            PipelineErrors: That holds for several tasks.
        """
        self._crew.run(
            Maker.make_part,
            [(self.tasks[part.task], part) for part in parts],
            is_much=_num_rows(parts) >= _MANY_TO_TOKENISE,
            done=lambda done: self._tell("parts tokenised", done, len(parts)),
        )

    def join(self, tasks: Iterable[int], *, num_shards: int = 1) -> None:
        """Join the parts of normalised tasks, given by position.

        Args:
            tasks: Positions of the tasks.
            num_shards: Shards that made the parts, to name those that must be run again.

        Raises:
            MixtureError: A part is missing or damaged (MIX006).
            PipelineErrors: That holds for several shards; one error for each.
        """
        wanted = set(tasks)
        unfinished: dict[Part, str] = {}
        for task in wanted:
            parts = [part for part in self.parts if part.task == task]
            found = find_unfinished_parts(self.folders[task], len(parts))
            unfinished |= {part: found[part.number] for part in parts if part.number in found}
        if unfinished:
            raise_all(self._unfinished_errors(unfinished, num_shards))
        for part in self.parts:
            if part.task in wanted and part.number == 0:
                join_parts(self.folders[part.task], self.tasks[part.task].name, part.num_parts)

    def _tell(self, what: str, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress(what, done, total)

    def _unfinished_errors(
        self, unfinished: dict[Part, str], num_shards: int
    ) -> list[PipelineError]:
        """Return one error per shard, which names its first unfinished part."""
        errors: list[PipelineError] = []
        for shard, parts in enumerate(deal_parts(self.parts, num_shards)):
            mine = [part for part in parts if part in unfinished]
            if not mine:
                continue
            first, data = mine[0], self.tasks[mine[0].task]
            more = f", and {len(mine) - 1} more" if len(mine) > 1 else ""
            errors.append(
                MixtureError(
                    "MIX006",
                    f"part {first.number} of {first.num_parts} of {data.name}, split "
                    f"{data.split}, is {unfinished[first]}{more}",
                    where=f"shard {shard}/{num_shards}",
                    hint=f"Run it again: taskloom prepare RECIPE --shard {shard}/{num_shards}",
                )
            )
        return errors


def prepare(recipe: Recipe, *, most_workers: int = 1, progress: Progress | None = None) -> int:
    """Make and join all data of a recipe; return the number of tasks and splits.

    Raises:
        PipelineError: See `Preparation`.
    """
    with _crew(recipe, most_workers) as crew:
        work = Preparation(recipe, crew, progress=progress)
        done = work.normalise(range(len(work.tasks)))
        work.make_parts([part for part in work.parts if part.task not in done])
        work.join(range(len(work.tasks)))
        return len(work.tasks)


def prepare_shard(
    recipe: Recipe,
    *,
    shard: int,
    num_shards: int,
    most_workers: int = 1,
    progress: Progress | None = None,
) -> int:
    """Make one shard of a recipe's data; return the number of its parts.

    Raises:
        PipelineError: See `Preparation`.
    """
    with _crew(recipe, most_workers) as crew:
        work = Preparation(recipe, crew, progress=progress)
        mine = deal_parts(work.parts, num_shards)[shard]
        done = work.normalise(part.task for part in mine)
        work.make_parts([part for part in mine if part.task not in done])
        return len(mine)


def join_shards(
    recipe: Recipe, num_shards: int, *, most_workers: int = 1, progress: Progress | None = None
) -> int:
    """Join what all shards made; return the number of tasks and splits.

    Raises:
        MixtureError: A shard is missing or damaged (MIX006).
        PipelineErrors: Several are; one error for each.
    """
    with _crew(recipe, most_workers) as crew:
        work = Preparation(recipe, crew, progress=progress)
        work.normalise(range(len(work.tasks)))
        work.join(range(len(work.tasks)), num_shards=num_shards)
        return len(work.tasks)


def _crew(recipe: Recipe, most_workers: int) -> Crew[Maker]:
    return Crew(functools.partial(Maker, recipe), most_workers=most_workers)


def _num_rows(parts: Iterable[Part]) -> int:
    return sum(part.num_rows for part in parts)
