"""Every batch of a training run, known in advance and reachable by a jump.

    schedule -> windows of draws -> rows (packed, or one example each) -> global steps
    -> micro steps -> the rows of one rank

Rows are numbered over the whole run, before anything is known about ranks. A global step takes
the next `global_batch_size` rows, so world size and accumulation only divide them. The process
that trains finds out what each row holds; worker processes are told, and need no state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from pipeline.errors import MixtureError
from pipeline.files import sha256_of_json
from pipeline.mixture.loader_signals import obey_parent_only
from pipeline.mixture.packing import Row, build_row, pack_lengths, pad_row
from pipeline.mixture.schedule import BLOCK_LENGTH, MixtureSchedule, Phase, shuffled_order
from pipeline.types import Json

if TYPE_CHECKING:
    from pipeline.mixture.tokens import TokenizedTask

WINDOW_LENGTH = 4096
"""Draws that are packed together. Longer windows fill rows better but mix a step less."""

_MAX_CACHED_WINDOWS = 8
_LENGTH_MULTIPLE = 8
"""Row lengths that matrix units of accelerators like."""
_ROW_FIELDS = ("input_ids", "labels", "position_ids", "task_ids")

RowKey = tuple[int, int]
"""Window, and number of the row in it."""
Draws = list[tuple[int, int]]
"""Task index and example index of every example in a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchShape:
    """How rows are divided over ranks and accumulation steps."""

    per_device_batch_size: int
    """Rows per micro step and rank."""
    world_size: int = 1
    rank: int = 0
    gradient_accumulation_steps: int = 1

    @property
    def global_batch_size(self) -> int:
        """Rows per optimizer step over all ranks."""
        return self.per_device_batch_size * self.world_size * self.gradient_accumulation_steps


@dataclass(frozen=True, slots=True)
class Cursor:
    """The next row to be trained on."""

    window: int = 0
    row: int = 0


@dataclass(frozen=True, slots=True)
class _Window:
    """The draws of one window, and which of them stand in each row."""

    tasks: npt.NDArray[np.int64]
    examples: npt.NDArray[np.int64]
    rows: list[list[int]]


class RowPlan:
    """The rows of a run, one window of draws after the other."""

    def __init__(
        self,
        tasks: Sequence[TokenizedTask],
        schedule: MixtureSchedule,
        *,
        packing: bool,
        max_length: int,
    ) -> None:
        """Keep the parts; rows are made when asked for.

        Args:
            tasks: In the order of the schedule's rates.
            schedule: Says which example is drawn when.
            packing: Whether a row holds several examples.
            max_length: Tokens per row; no example may be longer.
        """
        self.tasks = tasks
        self.schedule = schedule
        self.packing = packing
        self.max_length = max_length
        self._windows: dict[int, _Window] = {}
        self._num_rows: dict[int, int] = {}

    def num_rows(self, window: int) -> int:
        """Return how many rows a window gives."""
        if window not in self._num_rows:
            self._num_rows[window] = len(self._window(window).rows)
        return self._num_rows[window]

    def num_rows_before(self, num_draws: int) -> int:
        """Return how many rows the first draws fill, a begun window counted by its share."""
        windows, rest = divmod(num_draws, WINDOW_LENGTH)
        rows = sum(self.num_rows(window) for window in range(windows))
        return rows + round(self.num_rows(windows) * rest / WINDOW_LENGTH) if rest else rows

    def draws(self, key: RowKey) -> Draws:
        """Return task index and example index of every example in a row."""
        window = self._window(key[0])
        return [(int(window.tasks[i]), int(window.examples[i])) for i in window.rows[key[1]]]

    def row(self, key: RowKey) -> Row:
        """Return the tokens of a row."""
        return self.row_of(self.draws(key))

    def row_of(self, draws: Draws) -> Row:
        """Return the tokens of a row that holds these examples."""
        return build_row(
            [(*self.tasks[task].ids_and_mask(example), task) for task, example in draws]
        )

    def change_rates(self, window: int, rates: Sequence[float]) -> None:
        """Draw at other rates from a window on; see `MixtureSchedule.change_rates`."""
        self.schedule.change_rates(window * WINDOW_LENGTH // BLOCK_LENGTH, rates)
        self._forget(window)

    def phases_from(self, window: int) -> list[Phase]:
        """Return the rates of a window and of all later ones, as far as they are known."""
        return self.schedule.phases_from(window * WINDOW_LENGTH // BLOCK_LENGTH)

    def restore_phases(self, phases: Sequence[Phase]) -> None:
        """Go on with recorded rates; see `MixtureSchedule.restore_phases`."""
        self.schedule.restore_phases(phases)
        self._forget(0)

    def advance(self, cursor: Cursor, num_rows: int) -> Cursor:
        """Return the cursor `num_rows` later."""
        window, row = cursor.window, cursor.row + num_rows
        while row >= self.num_rows(window):
            row -= self.num_rows(window)
            window += 1
        return Cursor(window, row)

    def keys(self, cursor: Cursor, num_rows: int) -> list[RowKey]:
        """Return the next `num_rows` rows from `cursor` on."""
        window, row = cursor.window, cursor.row
        keys: list[RowKey] = []
        while len(keys) < num_rows:
            if row >= self.num_rows(window):
                window, row = window + 1, 0
                continue
            keys.append((window, row))
            row += 1
        return keys

    def _forget(self, first_window: int) -> None:
        """Drop what is remembered of a window and all later ones."""
        for kept in (self._windows, self._num_rows):
            for window in [window for window in kept if window >= first_window]:
                del kept[window]

    @cached_property
    def _all_lengths(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Return the lengths of all examples of all tasks, and where each task starts."""
        counts = np.array([len(task) for task in self.tasks])
        lengths = [np.diff(task.offsets).astype(np.int32) for task in self.tasks]
        return np.concatenate(lengths), np.cumsum(counts) - counts

    def _window(self, number: int) -> _Window:
        found = self._windows.get(number)
        if found is None:
            if len(self._windows) >= _MAX_CACHED_WINDOWS:
                self._windows.pop(next(iter(self._windows)))
            found = self._windows[number] = self._build_window(number)
        return found

    def _build_window(self, number: int) -> _Window:
        start = number * WINDOW_LENGTH
        tasks, examples = self.schedule.entries(start, start + WINDOW_LENGTH)
        if not self.packing:
            return _Window(tasks, examples, [[i] for i in range(WINDOW_LENGTH)])
        all_lengths, starts = self._all_lengths
        lengths = all_lengths[starts[tasks] + examples]
        rows = pack_lengths(lengths, self.max_length)
        # Packing sorts by length; training must not.
        order = shuffled_order(len(rows), self.schedule.seed, f"rows of window {number}")
        return _Window(tasks, examples, [rows[i] for i in order])


class TrainingBatches(Dataset[Row]):
    """The batches of one rank: a map-style dataset of rows, its sampler and its collator."""

    def __init__(
        self,
        plan: RowPlan,
        shape: BatchShape,
        *,
        num_steps: int,
        pad_token_id: int,
        padding_free: bool = False,
    ) -> None:
        """Start at the first step.

        Args:
            plan: The rows of the run.
            shape: Batch size, ranks and accumulation.
            num_steps: Optimizer steps of the run.
            pad_token_id: Fills the ends of short rows.
            padding_free: Whether a batch is one long row `[1, T]` without padding, as
                flash attention wants it, instead of `[B, T]`.

        Raises:
            ValueError: A number of the shape or `num_steps` is below 1.
        """
        if min(shape.global_batch_size, num_steps) < 1 or not 0 <= shape.rank < shape.world_size:
            raise ValueError(f"{shape} with {num_steps} steps is no batch shape")
        self.plan = plan
        self.shape = shape
        self.num_steps = num_steps
        self.pad_token_id = pad_token_id
        self.padding_free = padding_free
        self._base_step = 0
        self._base = Cursor()

    @property
    def first_step(self) -> int:
        """Step to start with, counted from 0: that of the loaded state, else the first."""
        return self._base_step

    def __getitem__(self, draws: Draws) -> Row:
        """Return the row that holds these examples."""
        return self.plan.row_of(draws)

    def step_keys(self, step: int) -> list[RowKey]:
        """Return the rows of all ranks in optimizer step `step`, which counts from 0."""
        size = self.shape.global_batch_size
        return self.plan.keys(self._cursor(step), size)

    def step_examples(self, step: int) -> list[tuple[str, int]]:
        """Return task and source row of every example in step `step`, over all ranks."""
        return [
            (self.plan.tasks[task].name, self.plan.tasks[task].source_row(example))
            for key in self.step_keys(step)
            for task, example in self.plan.draws(key)
        ]

    def micro_steps(self, start_step: int | None = None) -> Iterator[list[RowKey]]:
        """Yield this rank's rows of every micro step, up to the end of the run.

        Args:
            start_step: First optimizer step, counted from 0; where a loaded state stood when
                left out.
        """
        step = self._base_step if start_step is None else start_step
        cursor = self._cursor(step)
        shape = self.shape
        rows_per_micro_step = shape.per_device_batch_size * shape.world_size
        for _ in range(step, self.num_steps):
            keys = self.plan.keys(cursor, shape.global_batch_size)
            for first in range(0, shape.global_batch_size, rows_per_micro_step):
                yield keys[first : first + rows_per_micro_step][shape.rank :: shape.world_size]
            cursor = self.plan.advance(cursor, shape.global_batch_size)

    def loader(
        self,
        *,
        num_workers: int = 0,
        pin_memory: bool = False,
        start_step: int | None = None,
    ) -> DataLoader[Row]:
        """Return a loader of this rank's micro batches; workers change nothing but speed."""
        return DataLoader(
            self,
            batch_sampler=MicroBatchSampler(self, start_step),
            collate_fn=self.collate,
            num_workers=num_workers,
            pin_memory=pin_memory,
            worker_init_fn=obey_parent_only,
        )

    def collate(self, rows: Sequence[Row]) -> dict[str, torch.Tensor]:
        """Return rows as one batch of int64 tensors.

        Returns:
            `input_ids`, `labels`, `position_ids` and `task_ids`, each `[B, T]`, or `[1, T]` when
            padding-free. `attention_mask` comes only with padded rows of one example: an
            attention mask beside packed rows makes attention run across examples.
        """
        if self.padding_free:
            return {name: _concatenated(rows, name) for name in _ROW_FIELDS}
        length = max(len(row) for row in rows)
        length = -(-length // _LENGTH_MULTIPLE) * _LENGTH_MULTIPLE
        padded = [pad_row(row, length, pad_token_id=self.pad_token_id) for row in rows]
        batch = {
            name: torch.from_numpy(np.stack([getattr(row, name) for row in padded]))
            for name in _ROW_FIELDS
        }
        if not self.plan.packing:
            lengths = torch.tensor([len(row) for row in rows])
            batch["attention_mask"] = (torch.arange(length) < lengths[:, None]).long()
        return batch

    def change_rates(self, after_step: int, rates: Sequence[float]) -> None:
        """Draw at other rates from the first window on that begins after step `after_step`.

        Every process must do the same. Steps up to `after_step` may be fetched already.

        Args:
            after_step: Counted from 0.
            rates: Share of draws of each task, of any positive sum.
        """
        self.plan.change_rates(self._cursor(after_step).window + 1, rates)

    def can_change_rates(self, after_step: int) -> bool:
        """Return whether `change_rates` would change anything before the end of the run."""
        if after_step >= self.num_steps:
            return False
        windows = range(self._cursor(after_step).window + 1)
        num_rows = sum(self.plan.num_rows(window) for window in windows)
        return num_rows < self.num_steps * self.shape.global_batch_size

    def rates_at(self, step: int) -> tuple[float, ...]:
        """Return the share of draws of each task in step `step`, which counts from 0."""
        return self.plan.phases_from(self._cursor(step).window)[0].rates

    @property
    def fingerprint(self) -> str:
        """Hash of all that decides over the order of rows: data, rates, seed and packing.

        Changes of rates during the run are no part of it; they are in the state.
        """
        schedule = self.plan.schedule
        return sha256_of_json(
            {
                "tasks": [[task.name, task.fingerprint] for task in self.plan.tasks],
                "rates": cast("Json", schedule.rates.tolist()),
                "sizes": cast("Json", schedule.sizes.tolist()),
                "seed": schedule.seed,
                "packing": self.plan.packing,
                "max_length": self.plan.max_length,
                "window": WINDOW_LENGTH,
            }
        )

    def state(self, num_completed_steps: int) -> dict[str, Json]:
        """Return what a checkpoint must keep to go on after `num_completed_steps`."""
        cursor = self._cursor(num_completed_steps)
        state: dict[str, Json] = {
            "num_completed_steps": num_completed_steps,
            "window": cursor.window,
            "row": cursor.row,
            "fingerprint": self.fingerprint,
        }
        phases = self.plan.phases_from(cursor.window)
        if phases[-1].first_block > 0:
            state["phases"] = [
                cast("Json", [phase.first_block, [*phase.rates], [*phase.draws_before]])
                for phase in phases
            ]
        return state

    def load_state(self, state: dict[str, Json]) -> None:
        """Go on where `state` was taken, on any number of ranks; nothing is replayed.

        Raises:
            MixtureError: The state was taken with other data, rates, seed or packing (MIX005).
        """
        if state["fingerprint"] != self.fingerprint:
            raise MixtureError(
                "MIX005",
                "the checkpoint was made with another order of data "
                f"({str(state['fingerprint'])[:12]}), this run has {self.fingerprint[:12]}",
                where="mixture",
                hint="Restore the data and the mixture settings, or start a new run",
            )
        if "phases" in state:
            recorded = cast("list[tuple[int, list[float], list[int]]]", state["phases"])
            self.plan.restore_phases(
                [Phase(block, tuple(rates), tuple(before)) for block, rates, before in recorded]
            )
        self._base_step = cast("int", state["num_completed_steps"])
        self._base = Cursor(cast("int", state["window"]), cast("int", state["row"]))

    def _cursor(self, step: int) -> Cursor:
        """Return where step `step` starts, counted from the loaded state where possible."""
        base_step, base = (
            (self._base_step, self._base) if step >= self._base_step else (0, Cursor())
        )
        return self.plan.advance(base, (step - base_step) * self.shape.global_batch_size)


class MicroBatchSampler:
    """Batch sampler over the micro steps of one rank."""

    def __init__(self, batches: TrainingBatches, start_step: int | None = None) -> None:
        """Start at `start_step`, or where a loaded state stood."""
        self._batches = batches
        self._start_step = batches.first_step if start_step is None else start_step

    def __iter__(self) -> Iterator[list[Draws]]:
        """Yield what the rows of each micro step hold.

        Steps before a loaded state are empty lists: whoever resumes skips them unread, and
        nothing is computed for them.
        """
        batches = self._batches
        first_step = max(self._start_step, batches.first_step)
        num_skipped = first_step - self._start_step
        for _ in range(num_skipped * batches.shape.gradient_accumulation_steps):
            yield []
        for keys in batches.micro_steps(first_step):
            yield [batches.plan.draws(key) for key in keys]

    def __len__(self) -> int:
        """Return the number of micro steps left."""
        steps = max(0, self._batches.num_steps - self._start_step)
        return steps * self._batches.shape.gradient_accumulation_steps


def _concatenated(rows: Sequence[Row], name: str) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([getattr(row, name) for row in rows]))[None]
