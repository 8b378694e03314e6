"""Which example is drawn at which position of a run: a function of seed, rates and position.

Positions come in blocks of 1024. In every block each task has its quota, rounded up or down, so
rare tasks are never forgotten; inside a block they are spread evenly, with some chance. A task's
examples follow a new permutation in every epoch of the task. Nothing is replayed to get to a
position, and no generator state exists that could be lost. Rates may change between blocks: the
changes are recorded as phases, and the function is that of the recorded phases.
"""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]
UInt64Array = npt.NDArray[np.uint64]

BLOCK_LENGTH = 1024
_CHECKPOINT_BLOCKS = 64
_GOLDEN_FRACTION = 0.6180339887498949
_FEISTEL_ROUNDS = 6


@dataclass(frozen=True, slots=True)
class Phase:
    """Blocks that are drawn at the same rates."""

    first_block: int
    rates: tuple[float, ...]
    """Share of draws per task, summing to 1."""
    draws_before: tuple[int, ...]
    """Draws of each task before the first block."""


class MixtureSchedule:
    """The endless sequence of draws of a mixture.

    Changing one thing changes only what depends on it: a task of rate 0 may come or go without
    moving any draw of the others, as long as `names` keeps telling the tasks apart.
    """

    def __init__(
        self,
        rates: Sequence[float],
        sizes: Sequence[int],
        seed: int,
        *,
        names: Sequence[str] | None = None,
    ) -> None:
        """Start with rates that hold until `change_rates`.

        Args:
            rates: Share of draws per task, of any positive sum.
            sizes: Examples per task; at least 1 where the rate is above 0.
            seed: Decides the order.
            names: Task names, which key the permutations; the index of the task by default.

        Raises:
            ValueError: Lengths differ, a rate is negative, or a drawn task is empty.
        """
        if len(rates) != len(sizes) or (names is not None and len(names) != len(sizes)):
            raise ValueError("rates, sizes and names must have one entry per task")
        self.rates = np.asarray(rates, dtype=np.float64)
        self.sizes = np.asarray(sizes, dtype=np.int64)
        if (self.rates < 0).any() or not self.rates.sum() > 0:
            raise ValueError("rates must not be negative, and one must be above 0")
        if (self.sizes[self.rates > 0] < 1).any():
            raise ValueError("a task that is drawn needs at least one example")
        self.seed = seed
        self.rates = self.rates / self.rates.sum()
        keys = [str(i) for i in range(len(sizes))] if names is None else list(names)
        self._task_keys = np.array([_key(seed, name) for name in keys], dtype=np.uint64)
        self._offset = _key(seed, "block offset") / 2.0**64
        nothing = (0,) * len(sizes)
        self._quotas = [_Quotas(Phase(0, tuple(self.rates.tolist()), nothing), self._offset)]

    def change_rates(self, first_block: int, rates: Sequence[float]) -> None:
        """Draw at other rates from a block on; a change at the same block replaces the last.

        Args:
            first_block: Not before the block of the last change.
            rates: Share of draws per task, of any positive sum; 0 where it was 0 at the start.

        Raises:
            ValueError: The block lies before the last change, or the rates do not fit.
        """
        last = self._quotas[-1].phase.first_block
        shares = np.asarray(rates, dtype=np.float64)
        if first_block < max(last, 1) or len(shares) != len(self.rates):
            raise ValueError(f"no rates can start at block {first_block} after block {last}")
        if (shares < 0).any() or ((shares > 0) != (self.rates > 0)).any():
            raise ValueError("rates must be above 0 where they were at the start, and only there")
        before = tuple(self._counts(first_block).tolist())
        phase = Phase(first_block, tuple((shares / shares.sum()).tolist()), before)
        if first_block == last:
            self._quotas.pop()
        self._quotas.append(_Quotas(phase, self._offset))

    def phases_from(self, block: int) -> list[Phase]:
        """Return the phase of a block and all later ones: what must be kept to go on there."""
        first = self._phase_number(block)
        return [quotas.phase for quotas in self._quotas[first:]]

    def restore_phases(self, phases: Sequence[Phase]) -> None:
        """Go on with phases of `phases_from`; what was drawn before them is no longer known.

        Raises:
            ValueError: There is none, or one has another number of tasks.
        """
        if not phases or any(len(phase.rates) != len(self.rates) for phase in phases):
            raise ValueError("phases must have one rate per task")
        self._quotas = [_Quotas(phase, self._offset) for phase in phases]

    def entries(self, start: int, stop: int) -> tuple[Int64Array, Int64Array]:
        """Return task index and example index of the positions from `start` up to `stop`.

        Both arrays have shape `[stop - start]`.

        Raises:
            ValueError: The range is not in order or starts below 0.
        """
        if not 0 <= start <= stop:
            raise ValueError(f"positions {start} to {stop} are no range")
        first, last = start // BLOCK_LENGTH, -(-stop // BLOCK_LENGTH)
        blocks = [self._block(block) for block in range(first, last)]
        if not blocks:
            empty = np.zeros(0, dtype=np.int64)
            return empty, empty.copy()
        window = slice(start - first * BLOCK_LENGTH, stop - first * BLOCK_LENGTH)
        tasks = np.concatenate([tasks for tasks, _ in blocks])[window]
        draws = np.concatenate([draws for _, draws in blocks])[window]
        return tasks, self._examples(tasks, draws)

    def counts(self, position: int) -> Int64Array:
        """Return how often each task is drawn before `position`, shape `[T]`."""
        block, rest = divmod(position, BLOCK_LENGTH)
        before = self._counts(block)
        if rest:
            tasks, _ = self._block(block)
            before = before + np.bincount(tasks[:rest], minlength=len(self.sizes))
        return before

    def _block(self, block: int) -> tuple[Int64Array, Int64Array]:
        """Return task of each position of a block, and its number among the task's draws."""
        quotas = self._quotas[self._phase_number(block)]
        counts = quotas.of_blocks(np.array([block]))[0]
        tasks = np.repeat(np.arange(len(counts)), counts)
        numbers = np.arange(BLOCK_LENGTH) - np.repeat(np.cumsum(counts) - counts, counts)
        # Draw k of n falls at random into the kth of n equal parts of the block: shuffled, yet
        # every stretch of a block holds the tasks nearly at their rates.
        chance = _hashes(BLOCK_LENGTH, self.seed, f"block {block}") / 2.0**64
        order = np.argsort((numbers + chance) / counts[tasks], kind="stable")
        tasks = tasks[order]
        return tasks, numbers[order] + quotas.before(block)[tasks]

    def _counts(self, block: int) -> Int64Array:
        """Return draws of each task before a block."""
        return self._quotas[self._phase_number(block)].before(block)

    def _phase_number(self, block: int) -> int:
        firsts = [quotas.phase.first_block for quotas in self._quotas]
        if block < firsts[0]:
            raise ValueError(f"the rates of block {block} are not known, only from {firsts[0]} on")
        return bisect.bisect_right(firsts, block) - 1

    def _examples(self, tasks: Int64Array, draws: Int64Array) -> Int64Array:
        sizes = self.sizes[tasks]
        epochs = draws // sizes
        with np.errstate(over="ignore"):
            keys = _mix(self._task_keys[tasks] + epochs.astype(np.uint64))
        return permute(draws % sizes, sizes, keys)


class _Quotas:
    """How often each task is drawn in the blocks of one phase."""

    def __init__(self, phase: Phase, offset: float) -> None:
        """Lay the rates out as intervals; `offset` is where the grid of block 0 lies, 0 to 1."""
        self.phase = phase
        self._offset = offset
        edges = np.concatenate(([0.0], np.cumsum(phase.rates))) * BLOCK_LENGTH
        edges[edges >= edges[-1]] = BLOCK_LENGTH
        self._edges = edges
        self._before = [np.array(phase.draws_before, dtype=np.int64)]
        """Draws of each task before every 64th block of the phase, grown on demand."""

    def of_blocks(self, blocks: Int64Array) -> Int64Array:
        """Return draws per block and task, shape `[len(blocks), T]`.

        A task owns an interval as long as its quota; it is drawn once for every point of a unit
        grid inside, which is its quota rounded up or down. The grid moves from block to block by
        the golden fraction, so that roundings cancel out soon.
        """
        offsets = (self._offset + blocks * _GOLDEN_FRACTION) % 1.0
        points_before = np.ceil(self._edges[None, :] - offsets[:, None])
        points_before[:, -1] = BLOCK_LENGTH
        points_before[:, self._edges >= BLOCK_LENGTH] = BLOCK_LENGTH
        return np.diff(np.maximum(points_before, 0.0), axis=1).astype(np.int64)

    def before(self, block: int) -> Int64Array:
        """Return draws of each task before a block of this phase."""
        checkpoint, rest = divmod(block - self.phase.first_block, _CHECKPOINT_BLOCKS)
        while len(self._before) <= checkpoint:
            first = self.phase.first_block + (len(self._before) - 1) * _CHECKPOINT_BLOCKS
            blocks = np.arange(first, first + _CHECKPOINT_BLOCKS)
            self._before.append(self._before[-1] + self.of_blocks(blocks).sum(axis=0))
        before = self._before[checkpoint]
        if rest:
            before = before + self.of_blocks(np.arange(block - rest, block)).sum(axis=0)
        return before


def permute(indices: Int64Array, sizes: Int64Array, keys: UInt64Array) -> Int64Array:
    """Return where seeded permutations of `0..size-1` send each index.

    A Feistel network on the next even number of bits, walked until it lands below the size: any
    index is permuted alone, in constant memory. All arrays have the same shape.
    """
    bits = np.ceil(np.log2(np.maximum(sizes, 4)) / 2).astype(np.uint64)
    result = indices.astype(np.uint64)
    limits = sizes.astype(np.uint64)
    pending = np.arange(len(indices))
    while len(pending):
        result[pending] = _feistel(result[pending], bits[pending], keys[pending])
        pending = pending[result[pending] >= limits[pending]]
    return result.astype(np.int64)


def shuffled_order(length: int, seed: int, name: str) -> Int64Array:
    """Return `0..length-1` in an order that depends on nothing but seed and name."""
    return np.argsort(_hashes(length, seed, name), kind="stable")


def _hashes(length: int, seed: int, name: str) -> UInt64Array:
    """Return seeded 64-bit hashes; numpy's generators may change between releases."""
    with np.errstate(over="ignore"):
        return _mix(np.uint64(_key(seed, name)) + np.arange(length, dtype=np.uint64))


def _feistel(values: UInt64Array, bits: UInt64Array, keys: UInt64Array) -> UInt64Array:
    mask = (np.uint64(1) << bits) - np.uint64(1)
    left, right = values >> bits, values & mask
    with np.errstate(over="ignore"):
        for number in range(_FEISTEL_ROUNDS):
            mixed = _mix(right + keys + np.uint64(number + 1) * np.uint64(0x9E3779B97F4A7C15))
            left, right = right, left ^ (mixed & mask)
    return (left << bits) | right


def _mix(values: UInt64Array) -> UInt64Array:
    """Return well-spread hashes; the finaliser of splitmix64."""
    with np.errstate(over="ignore"):
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return values ^ (values >> np.uint64(31))


def _key(seed: int, name: str) -> int:
    digest = hashlib.sha256(f"{seed}\n{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big")
