"""Training examples whose DNA is read on both strands."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from pipeline.annotations.sequences import reverse_complement
from pipeline.types import Examples, TaskExample, TaskSpec


class BothStrands:
    """All examples of a task of kind `dna_classification`, then each on its other strand.

    The example at `N + i` of `2 N` is the reverse complement of the one at `i`.
    """

    def __init__(self, examples: Examples) -> None:
        """Keep the examples; nothing is copied."""
        self._examples = examples

    @property
    def spec(self) -> TaskSpec:
        """The task they belong to."""
        return self._examples.spec

    def __len__(self) -> int:
        """Number of examples."""
        return 2 * len(self._examples)

    def __getitem__(self, index: int) -> TaskExample:
        """The example at `index`, 0-based; negative positions count from the end.

        Raises:
            IndexError: There is no such example.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"example {index} of {len(self)}")
        is_other, position = divmod(index % len(self), len(self._examples))
        example = self._examples[position]
        return on_other_strand(example) if is_other else example

    def __iter__(self) -> Iterator[TaskExample]:
        """All examples in order."""
        yield from self._examples
        yield from map(on_other_strand, self._examples)


def on_other_strand(example: TaskExample) -> TaskExample:
    """Return an example with the reverse complement of its sequence, and a key of its own."""
    sequence = reverse_complement(str(example.inputs["sequence"]))
    return dataclasses.replace(
        example,
        key=f"{example.key}-other-strand",
        inputs={**example.inputs, "sequence": sequence},
    )
