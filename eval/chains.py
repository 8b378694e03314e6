"""Chained evaluation: a section is found first, then the answer is read from it.

Two numbers are told. The oracle reads the right section; end to end reads the section that the
first task chose. A row counts end to end at most what it counts with the right section, so a lucky
answer from a wrong one does not make the chain look better than its second half.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np

from eval.backends.base import Backend
from eval.harness import evaluate
from eval.metrics import METRICS
from eval.results import MetricValue, TaskResult, read_samples
from eval.statistics import Clusters, standard_error_of_features
from eval.tasks import Asking, EvalTask, find_clusters
from pipeline.errors import EvalError
from pipeline.types import Json, TaskExample

ContextOf = Callable[[str], str | None]
"""From an option of the first task to the context of the second; `None` where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainResult:
    """What a chain of two tasks scores."""

    found: TaskResult
    """The first task: which option was ranked first."""
    num_rows: int
    num_right: int
    """Rows whose first option is a right one."""
    oracle: dict[str, MetricValue]
    """Metrics of the second task, with the right context."""
    end_to_end: dict[str, MetricValue]
    """The same with the context that was found; never above the oracle."""

    def lines(self) -> list[str]:
        """Return the result as lines of text, in percent."""
        return [
            f"right option first: {self.num_right} of {self.num_rows}",
            *(
                f"{name}: {_text(self.oracle[name])} with the right context, "
                f"{_text(self.end_to_end[name])} end to end"
                for name in self.oracle
            ),
        ]

    def to_json(self) -> dict[str, Json]:
        """Return the result as JSON."""
        return {
            "schema_version": 1,
            "finding": self.found.spec.id,
            "num_rows": self.num_rows,
            "num_right": self.num_right,
            "oracle": {name: asdict(value) for name, value in self.oracle.items()},
            "end_to_end": {name: asdict(value) for name, value in self.end_to_end.items()},
        }


def evaluate_chain(
    backend: Backend,
    finding: EvalTask,
    answering: EvalTask,
    *,
    context_of: ContextOf,
    output_folder: Path,
    asking: Asking | None = None,
) -> ChainResult:
    """Evaluate a ranking task, and a task that reads the option ranked first.

    Args:
        backend: What answers.
        finding: A task of kind `ranking`.
        answering: A task over the same rows whose input `context` belongs to the right option.
        context_of: Gives the context of any option.
        output_folder: Gets `finding`, `oracle` and `end_to_end`, each as `evaluate` writes it.
        asking: Wording of both.

    Raises:
        EvalError: The tasks do not have the same rows (EVL017) or contexts (EVL018), the first is
            no ranking task (EVL019), or they cannot be evaluated.
    """
    _check_rows(finding, answering)
    _check_contexts(finding, answering, context_of)
    found = evaluate(backend, [finding], output_folder=output_folder / "finding", asking=asking)
    ranked = {row["key"]: row["parsed"] for row in read_samples(output_folder / "finding")}
    chained, num_right = [], 0
    for first, second in zip(finding.examples, answering.examples, strict=True):
        place = (ranked[first.key] or [None])[0]
        is_right = place in cast("list[int]", first.target)
        num_right += is_right
        chained.append(second if is_right else _with_context(first, second, place, context_of))
    folders = {"oracle": answering, "end_to_end": replace(answering, examples=chained)}
    scores = {}
    for name, task in folders.items():
        evaluate(backend, [task], output_folder=output_folder / name, asking=asking)
        scores[name] = [row["score"] for row in read_samples(output_folder / name)]
    names = [name for name in answering.spec.metrics if METRICS[name].is_mean]
    clusters = find_clusters(list(answering.examples))
    pairs = list(zip(scores["oracle"], scores["end_to_end"], strict=True))
    return ChainResult(
        found=found.tasks[0],
        num_rows=len(chained),
        num_right=num_right,
        oracle={name: _mean(name, [best[name] for best, _ in pairs], clusters) for name in names},
        end_to_end={
            name: _mean(name, [min(best[name], real[name]) for best, real in pairs], clusters)
            for name in names
        },
    )


def _check_rows(finding: EvalTask, answering: EvalTask) -> None:
    if finding.spec.kind != "ranking":
        raise EvalError(
            "EVL019",
            f"a chain begins with a ranking task, got one of kind {finding.spec.kind}",
            where=finding.spec.id,
            hint="E.g. manuals/section_retrieval/s10",
        )
    names = [
        [example.key.removeprefix(f"{task.spec.id}/") for example in task.examples]
        for task in (finding, answering)
    ]
    if names[0] != names[1]:
        raise EvalError(
            "EVL017",
            f"the tasks of a chain have other rows: {len(names[0])} and {len(names[1])}",
            where=f"{finding.spec.id}, {answering.spec.id}",
            hint="Both must be made of the same source rows",
        )


def _check_contexts(finding: EvalTask, answering: EvalTask, context_of: ContextOf) -> None:
    """Check that what is told of other options is of the kind that the rows themselves have."""
    for first, second in zip(finding.examples, answering.examples, strict=True):
        options = [(first.choices or ())[place] for place in cast("list[int]", first.target)]
        told = [context_of(option) for option in options]
        if told and second.inputs.get("context") not in told:
            raise EvalError(
                "EVL018",
                f"the context of {options[0]!r} is not that of the row",
                where=second.key,
                hint="Both tasks must look up the same file by the same key",
            )


def _with_context(
    first: TaskExample, second: TaskExample, place: int | None, context_of: ContextOf
) -> TaskExample:
    option = None if place is None else (first.choices or ())[place]
    context = None if option is None else context_of(option)
    return replace(second, inputs={**second.inputs, "context": context or ""})


def _mean(name: str, values: Sequence[float], clusters: Clusters | None) -> MetricValue:
    rows = np.asarray(values, dtype=np.float64)
    error = standard_error_of_features(METRICS[name], rows[:, None], clusters_N=clusters)
    return MetricValue(value=float(rows.mean()), standard_error=error)


def _text(item: MetricValue) -> str:
    return f"{100 * item.value:.1f} ± {100 * item.standard_error:.1f}"
