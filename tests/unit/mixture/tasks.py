"""Small tokenised tasks, written to disk without a tokenizer."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.files import staged_folder, write_json
from pipeline.mixture.tokens import TokenizedTask


def make_task(
    folder: Path, name: str, lengths: Sequence[int], *, num_answer_tokens: int = 1
) -> TokenizedTask:
    """Return a task whose examples have these lengths and end with their answers."""
    rng = random.Random(name)
    offsets = np.concatenate(([0], np.cumsum(np.array(lengths, dtype=np.int64))))
    ids = np.array([rng.randrange(10, 90) for _ in range(offsets[-1])], dtype=np.int32)
    mask = np.zeros(len(ids), dtype=np.bool_)
    for end in offsets[1:]:
        mask[max(0, end - num_answer_tokens) : end] = True
    with staged_folder(folder / name) as staged:
        (staged / "input_ids.bin").write_bytes(ids.tobytes())
        (staged / "loss_mask.bin").write_bytes(mask.tobytes())
        (staged / "offsets.bin").write_bytes(offsets.astype(np.int64).tobytes())
        (staged / "rows.bin").write_bytes(np.arange(len(lengths), dtype=np.int64).tobytes())
        counts = {
            "num_rows": len(lengths),
            "num_examples": len(lengths),
            "num_tokens": int(offsets[-1]),
            "num_loss_tokens": num_answer_tokens * len(lengths),
            "num_truncated_examples": 0,
            "num_truncated_tokens": 0,
        }
        write_json(staged / "meta.json", {"counts": counts})
    return TokenizedTask(folder / name, name)
