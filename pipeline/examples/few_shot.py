"""A few examples of a task, spread evenly over its answers."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from pipeline.sources.selection import hash_numbers
from pipeline.types import TaskExample


def choose_evenly(
    examples: Iterable[TaskExample], count: int, *, seed: int
) -> npt.NDArray[np.int64]:
    """Return the positions of `count` examples, as many of each class as of any other.

    Classes take turns, each with its examples in the order of a hash of their position and
    `seed`; a class that runs out is passed over. So every class is there when there are at most
    `count` of them. Classes are those of `class_of`.

    Args:
        examples: All examples, in order.
        count: How many are wanted; all when there are fewer.
        seed: Of the hash.

    Returns:
        Sorted positions, counted from 0.
    """
    by_class: dict[str, list[int]] = {}
    for position, example in enumerate(examples):
        by_class.setdefault(class_of(example), []).append(position)
    queues = []
    for members in by_class.values():
        places = np.asarray(members, dtype=np.int64)
        hashes = hash_numbers(places, seed)
        order = np.argsort(hashes, kind="stable")
        queues.append((int(hashes[order[0]]), places[order].tolist()))
    # The class whose first example has the smallest hash begins, so no name is favoured.
    turns = itertools.zip_longest(*(queue for _, queue in sorted(queues)))
    taken = (place for turn in turns for place in turn if place is not None)
    return np.sort(np.fromiter(itertools.islice(taken, count), dtype=np.int64))


def class_of(example: TaskExample) -> str:
    """Return the class of an example: its label, or its set of labels or entity types.

    Of soft labels it is the most chosen one, of multiple choice the position of the right option.
    Numbers, free texts and accepted answers are no classes; such examples are one class.
    """
    target, allowed = example.target, frozenset(example.choices or ())
    if isinstance(target, str):
        return target if target in allowed else ""
    if isinstance(target, list):
        types = [item.get("type") if isinstance(item, dict) else item for item in target]
        is_entity = [isinstance(item, dict) for item in target]
        if all(is_entity) or allowed.issuperset(map(str, types)):
            return json.dumps(sorted({str(kind) for kind in types}))
        return ""
    if isinstance(target, dict) and allowed.issuperset(target):
        return max(target, key=lambda name: float(str(target[name])))
    return str(target) if isinstance(target, int) else ""
