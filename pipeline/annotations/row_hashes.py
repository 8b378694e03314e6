"""What hashes decide: which rows are the same, and which side rows stand beside one.

A hash of the row gives the same choice in every run and on every machine.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence

from pipeline.types import Json


def key_hash(value: Json) -> bytes:
    """Return 12 bytes that are the same for equal values on every machine."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).digest()[:12]


def key_number(found: bytes) -> int:
    """Return a hash from `key_hash` as a key of `key_sets`."""
    return int.from_bytes(found[:8]) or 1


def hash_fraction(data: bytes) -> float:
    """Return a number from 0 up to 1 that depends on `data` alone."""
    return int.from_bytes(hashlib.sha256(data).digest()[:8]) / 2**64


def with_distractors(
    name: str,
    found: Mapping[str, Json],
    *,
    keys: Sequence[str],
    by_key: Mapping[str, Json],
    count: int,
) -> list[Json]:
    """Return side rows with `count` others among them, in an order that tells nothing.

    Args:
        name: The row's name, which decides what is chosen and in what order all stand.
        found: The side rows that the row asks for, by their keys.
        keys: The keys of all side rows.
        by_key: All side rows.
        count: How many others; with 0 the rows stay in the order of `found`.
    """
    if not count:
        return list(found.values())
    others = {key: by_key[key] for key in _distractors(name, keys, found, count)}
    shown = {**found, **others}
    order = sorted(shown, key=lambda key: (key_hash([name, key]), key))
    return [shown[key] for key in order]


def _distractors(
    name: str, keys: Sequence[str], found: Mapping[str, Json], count: int
) -> list[str]:
    """Return `count` of `keys` that are not in `found`, chosen by the row's name."""
    chosen: dict[str, None] = {}
    count = min(count, len(keys) - len(found))
    for attempt in itertools.count():
        if len(chosen) >= count:
            break
        key = keys[int(hash_fraction(f"{name}/{attempt}".encode()) * len(keys))]
        if attempt > 20 * count + 100:
            # Nearly all rows are taken already: take the rest in order.
            left = [key for key in keys if key not in found and key not in chosen]
            chosen.update(dict.fromkeys(left[: count - len(chosen)]))
        elif key not in found:
            chosen[key] = None
    return list(chosen)
