"""The files of a tokenised task: written as a stream, joined from shards, read as maps.

    input_ids.bin  int32, all examples one after the other    loss_mask.bin  bool, likewise
    offsets.bin    int64, start of each example and the end   rows.bin       int64, source rows

All numbers are little-endian. Memory does not grow with the number of examples.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.chat.tokenise import ExampleTooLong
from pipeline.types import TokenizedExample

Number = TypeVar("Number", bound=np.generic)

IDS, MASK, OFFSETS, ROWS = "input_ids.bin", "loss_mask.bin", "offsets.bin", "rows.bin"


@dataclass(slots=True, kw_only=True)
class TokenCounts:
    """What became of a task's examples."""

    num_rows: int = 0
    """Examples read."""
    num_examples: int = 0
    """Examples kept."""
    num_tokens: int = 0
    num_loss_tokens: int = 0
    """Tokens trained on."""
    num_truncated_examples: int = 0
    num_truncated_tokens: int = 0
    num_too_long: int = 0
    """Rows left out: too long without their context."""
    num_without_answer: int = 0
    """Rows left out: nothing to train on."""

    def add(self, other: TokenCounts) -> None:
        """Add the counts of other examples."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


def write_tokens(
    folder: Path, results: Iterable[TokenizedExample | ExampleTooLong], *, first_row: int = 0
) -> TokenCounts:
    """Write examples to the files of a folder; leave out what cannot be trained on.

    Args:
        folder: Exists and has none of the files.
        results: One per source row, in order.
        first_row: Number of the first source row.
    """
    counts = TokenCounts()
    with ExitStack() as stack:
        streams = [
            stack.enter_context((folder / name).open("wb")) for name in (IDS, MASK, OFFSETS, ROWS)
        ]
        streams[2].write(_int64(0))
        for row, result in enumerate(results, start=first_row):
            counts.num_rows += 1
            if isinstance(result, ExampleTooLong):
                counts.num_too_long += 1
                continue
            # The first token is predicted by nothing, so it cannot be trained on.
            num_loss_tokens = int(result.loss_mask[1:].sum())
            if num_loss_tokens == 0:
                counts.num_without_answer += 1
                continue
            counts.num_examples += 1
            counts.num_tokens += len(result)
            counts.num_loss_tokens += num_loss_tokens
            counts.num_truncated_examples += result.num_truncated > 0
            counts.num_truncated_tokens += result.num_truncated
            streams[0].write(result.input_ids.astype("<i4", copy=False).tobytes())
            streams[1].write(result.loss_mask.tobytes())
            streams[2].write(_int64(counts.num_tokens))
            streams[3].write(_int64(row))
    return counts


def join_tokens(folder: Path, shards: Sequence[tuple[Path, TokenCounts]]) -> TokenCounts:
    """Write the files of shards, in order, as one; the bytes are those of a single run.

    Args:
        folder: Exists and has none of the files.
        shards: Folder and counts of each shard.
    """
    counts = TokenCounts()
    with (folder / OFFSETS).open("wb") as offsets:
        offsets.write(_int64(0))
        for shard, shard_counts in shards:
            moved = map_numbers(shard / OFFSETS, np.int64)[1:] + counts.num_tokens
            offsets.write(moved.astype("<i8", copy=False).tobytes())
            counts.add(shard_counts)
    for name in (IDS, MASK, ROWS):
        with (folder / name).open("wb") as stream:
            for shard, _ in shards:
                with (shard / name).open("rb") as source:
                    shutil.copyfileobj(source, stream)
    return counts


def map_numbers(path: Path, dtype: type[Number]) -> npt.NDArray[Number]:
    """Map a file of numbers into memory; an empty file cannot be mapped and is read."""
    if path.stat().st_size == 0:
        return np.zeros(0, dtype=dtype)
    # As a plain array: slices of `np.memmap` itself cost ten times as much.
    return np.asarray(np.memmap(path, dtype=np.dtype(dtype).newbyteorder("<"), mode="r"))


def _int64(value: int) -> bytes:
    return value.to_bytes(8, "little")
