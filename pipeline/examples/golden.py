"""Examples made of an annotation's own golden rows: a preview that needs no data."""

from __future__ import annotations

from typing import cast

from pipeline.annotations.check import golden_values
from pipeline.annotations.schema import DatasetAnnotation
from pipeline.annotations.task_kinds import CLUSTER
from pipeline.errors import SourceError
from pipeline.examples.encoding import encode_cell
from pipeline.examples.registered import REGISTERED_FUNCTIONS
from pipeline.types import Json, TaskExample


def golden_examples(annotation: DatasetAnnotation) -> list[TaskExample]:
    """Return the examples that the golden rows become, as if they were training rows.

    Raises:
        SourceError: The annotation has no golden row that gives an example.
        AnnotationError: A golden row holds something that the annotation does not know.
    """
    spec = annotation.spec()
    examples: list[TaskExample] = []
    for number, golden in enumerate(annotation.golden):
        for values in golden_values(annotation, golden, REGISTERED_FUNCTIONS):
            own = cast("list[str] | None", values["choices"])
            cluster = values.get(CLUSTER)
            closed = spec.labels if annotation.rules.is_closed else None
            examples.append(
                TaskExample(
                    key=f"{annotation.id}/golden/{number}",
                    task=annotation.id,
                    split="train",
                    inputs=cast("dict[str, Json]", values["inputs"]),
                    target=values["target"],
                    choices=tuple(own) if own is not None else closed,
                    cluster=None if cluster is None else encode_cell(cluster),
                )
            )
    if not examples:
        raise SourceError(
            "SRC130",
            "the annotation has no golden row that gives an example",
            where=annotation.path,
            hint="Add one under `golden:`, or show rows of the data with --data-root",
        )
    return examples
