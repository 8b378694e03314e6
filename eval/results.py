"""What an evaluation found out: in memory, and as `results.json` and `samples.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, cast

import numpy as np
import numpy.typing as npt

from pipeline.errors import EvalError
from pipeline.files import open_atomic, read_json
from pipeline.types import Json, Prediction, Score, TaskExample, TaskSpec

RESULTS_NAME = "results.json"
SAMPLES_NAME = "samples.jsonl"
SCHEMA_VERSION = 1
PROMPT_START, PROMPT_END = 900, 300
"""Characters of a prompt that are kept beside a row, for people to read: both ends, since the
question may stand behind a long context."""

DataRootKind = Literal["embedded", "mirror", "hub", "files"]
"""`embedded`: rows the project generated itself, in the columns of the public data set;
`mirror`: a local copy; `hub`: the public data set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricValue:
    """A number and how sure it is."""

    value: float
    standard_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One row: what was asked, answered and expected, and how it was scored."""

    example: TaskExample
    prompt: str
    """The last user turn, see `prompt_excerpt`."""
    prediction: Prediction
    choice_tokens: tuple[int, ...] = ()
    """Tokens per choice, which the length-normalised likelihood divides by."""
    score: Score
    cluster: int | None = None
    """Number of the row's source, where rows of the task share sources."""

    def to_json(self) -> dict[str, Json]:
        """Return the row of `samples.jsonl`."""
        prediction, failure = self.prediction, self.score.failure
        row: dict[str, Json] = {
            "key": self.example.key,
            "task": self.example.task,
            "prompt_sha256": prediction.prompt_sha256,
            "prompt": self.prompt,
            "output": prediction.text,
            "finish_reason": prediction.finish_reason,
            "parsed": self.score.parsed,
            "target": self.example.target,
            "score": dict(self.score.values),
            "failure": None if failure is None else failure.code,
        }
        if self.cluster is not None:
            row["cluster"] = self.cluster
        sums = prediction.choice_log_likelihoods
        if sums is not None:
            lengths = self.choice_tokens or (1,) * len(sums)
            row["choices"] = {
                "log_likelihood": list(sums),
                "per_token": [
                    round(value / length, 6) for value, length in zip(sums, lengths, strict=True)
                ],
            }
        return row


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """Everything about one task but its rows."""

    spec: TaskSpec
    split: str
    source: str
    num_rows: int
    metrics: Mapping[str, MetricValue]
    """By metric name, the headline metric first."""
    majority: Mapping[str, MetricValue] | None
    """Value of each metric when every row gets the train split's most frequent answer."""
    failures: Mapping[str, int] = field(default_factory=dict)
    """How many rows could not be parsed, by reason. They count as wrong."""
    num_clusters: int | None = None
    """Distinct sources, where rows share sources; errors are then those of sources, not rows."""
    num_cut_off: int = 0
    """Answers that ran into the length limit."""
    decoding: Mapping[str, Json] = field(default_factory=dict)
    prompts_sha256: str
    data_sha256: str
    seconds: float

    @property
    def headline(self) -> str:
        """Return the name of the first metric."""
        return next(iter(self.metrics))

    def to_json(self) -> dict[str, Json]:
        """Return the task's entry in `results.json`."""
        return {
            "family": self.spec.family,
            "kind": self.spec.kind,
            "labels": list(self.spec.labels) if self.spec.labels is not None else None,
            "settings": dict(self.spec.settings),
            "instruction": self.spec.instruction,
            "split": self.split,
            "source": self.source,
            "num_rows": self.num_rows,
            "num_clusters": self.num_clusters,
            "headline": self.headline,
            "metrics": _values_to_json(self.metrics),
            "majority": None if self.majority is None else _values_to_json(self.majority),
            "num_failures": sum(self.failures.values()),
            "failures": dict(sorted(self.failures.items())),
            "num_cut_off": self.num_cut_off,
            "decoding": dict(self.decoding),
            "prompts_sha256": self.prompts_sha256,
            "data_sha256": self.data_sha256,
            "seconds": round(self.seconds, 3),
        }


def _values_to_json(values: Mapping[str, MetricValue]) -> dict[str, Json]:
    return {
        name: {"value": metric.value, "standard_error": metric.standard_error}
        for name, metric in values.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalResult:
    """A whole evaluation."""

    name: str
    folder: Path
    tasks: tuple[TaskResult, ...]
    about: Mapping[str, Json]
    """Everything in `results.json` beside the tasks."""

    @property
    def macro_mean(self) -> float | None:
        """Return the mean of the tasks' headline values; `None` where none can be averaged."""
        values = [task.metrics[task.headline].value for task in self.tasks if _is_share(task)]
        return sum(values) / len(values) if values else None

    def flat(self) -> dict[str, float]:
        """Return `task/metric` -> value and `macro_mean`, as training logs want them."""
        values = {
            f"{task.spec.id}/{name}": metric.value
            for task in self.tasks
            for name, metric in task.metrics.items()
        }
        macro = self.macro_mean
        return values if macro is None else values | {"macro_mean": macro}

    def to_json(self) -> dict[str, Json]:
        """Return the content of `results.json`."""
        return {
            "schema_version": SCHEMA_VERSION,
            "name": self.name,
            **self.about,
            "macro_mean": self.macro_mean,
            "tasks": {task.spec.id: task.to_json() for task in self.tasks},
        }


def _is_share(task: TaskResult) -> bool:
    from eval.metrics import METRICS

    return METRICS[task.headline].higher_is_better


def prompt_excerpt(text: str) -> str:
    """Return `text`, or its start and its end."""
    if len(text) <= PROMPT_START + PROMPT_END:
        return text
    return f"{text[:PROMPT_START]} [...] {text[-PROMPT_END:]}"


def without_local_folders(name: str) -> str:
    """Return a name as it may be shown: of a path on this machine only the last two parts."""
    is_path = name.startswith(("/", "~", "./", "../")) or "\\" in name
    return "/".join(name.replace("\\", "/").rstrip("/").split("/")[-2:]) if is_path else name


def write_samples(folder: Path, samples: Sequence[Sample]) -> None:
    """Write `samples.jsonl` in one step, in the order given.

    Raises:
        OutputError: The folder cannot be written.
    """
    with open_atomic(folder / SAMPLES_NAME) as stream:
        for sample in samples:
            line = json.dumps(sample.to_json(), ensure_ascii=False, allow_nan=False)
            # A lone surrogate from odd data must not stop the whole file.
            safe = line.encode("utf-8", "replace").decode("utf-8")
            cast("IO[str]", stream).write(safe + "\n")


def read_results(folder: Path) -> dict[str, Any]:
    """Return `results.json` of a run folder.

    Raises:
        EvalError: It is missing or damaged (EVL020), or of another version (EVL021).
    """
    path = folder / RESULTS_NAME
    try:
        value = read_json(path)
    except (OSError, ValueError) as error:
        raise EvalError(
            "EVL020",
            "there are no readable results here",
            where=path,
            hint="Give a folder that `taskloom eval` has finished",
        ) from error
    version = value.get("schema_version") if isinstance(value, dict) else None
    if not isinstance(value, dict) or version != SCHEMA_VERSION or "tasks" not in value:
        raise EvalError(
            "EVL021",
            f"results of schema version {version!r}, allowed is {SCHEMA_VERSION}",
            where=path,
            hint="Evaluate again with this version",
        )
    return value


def read_samples(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of `samples.jsonl`.

    Raises:
        EvalError: The file is missing (EVL022) or a line is damaged (EVL023).
    """
    path = folder / SAMPLES_NAME
    try:
        stream = path.open(encoding="utf-8")
    except OSError as error:
        raise EvalError("EVL022", "there are no samples here", where=path) from error
    with stream:
        for number, line in enumerate(stream, start=1):
            try:
                row = json.loads(line)
                row["key"], row["task"]
            except (ValueError, KeyError, TypeError) as error:
                raise EvalError(
                    "EVL023",
                    "the line is not a whole row",
                    where=f"{path}:{number}",
                    hint="The file was cut off or edited; evaluate again",
                ) from error
            yield row


def read_samples_by_task(folder: Path, tasks: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of `samples.jsonl` by task, as many as `results.json` counted.

    Args:
        folder: A run folder.
        tasks: The tasks of its `results.json`.

    Raises:
        EvalError: As `read_samples`; rows are missing, doubled or of no task (EVL025).
    """
    by_task: dict[str, list[dict[str, Any]]] = {task: [] for task in tasks}
    for row in read_samples(folder):
        by_task.setdefault(row["task"], []).append(row)
    for task, rows in by_task.items():
        num_rows = tasks[task]["num_rows"] if task in tasks else 0
        if len(rows) != num_rows or len({row["key"] for row in rows}) != num_rows:
            raise EvalError(
                "EVL025",
                f"{len(rows)} rows of {task}, {RESULTS_NAME} counts {num_rows}, each key once",
                where=folder / SAMPLES_NAME,
                hint="The file was cut off or edited; evaluate again",
            )
    return by_task


def clusters_of(rows: Sequence[Mapping[str, Any]]) -> npt.NDArray[np.int64] | None:
    """Return the number of the source of each row, or `None` where rows share none."""
    if not rows or any(row.get("cluster") is None for row in rows):
        return None
    return np.asarray([row["cluster"] for row in rows], dtype=np.int64)


def spec_from_results(task_id: str, entry: Mapping[str, Any]) -> TaskSpec:
    """Return the task that an entry of `results.json` describes."""
    labels = entry["labels"]
    return TaskSpec(
        id=task_id,
        kind=entry["kind"],
        family=entry["family"],
        instruction=entry["instruction"],
        labels=None if labels is None else tuple(labels),
        metrics=tuple(entry["metrics"]),
        settings=entry["settings"],
    )
