"""The harness: puts tasks to a backend, and turns answers into numbers that can be checked.

    EvalTask -> Request -> Prompt -> Prediction -> Score -> TaskResult

Guaranteed: every row of a task is in the denominator of its metrics; a run that was killed, or was
shared by several processes, gives the same `samples.jsonl`, byte by byte, as one that was not (on
the same hardware). Not covered: two evaluations that write into one folder at the same time.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np

from eval.answers import answer_type
from eval.backends.base import Backend, Prompt
from eval.environment import describe_environment
from eval.journal import Journal
from eval.metrics import Pairs, metrics_of
from eval.metrics.metric import FloatArray
from eval.parsers import ANY_FORMAT, parse_answer, with_scores
from eval.progress import Progress, SilentProgress
from eval.results import (
    RESULTS_NAME,
    DataRootKind,
    EvalResult,
    MetricValue,
    Sample,
    TaskResult,
    prompt_excerpt,
    without_local_folders,
    write_samples,
)
from eval.statistics import standard_error_of_features
from eval.tasks import (
    Asking,
    EvalTask,
    answer_limit,
    build_requests,
    call_format,
    check_tasks,
    data_sha256,
    find_clusters,
    majority_pairs,
    select_rows,
)
from pipeline.errors import EvalError
from pipeline.files import read_json, write_json
from pipeline.types import (
    Json,
    ParseFailure,
    Prediction,
    Score,
    TaskExample,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """Several processes that share one evaluation and one file system."""

    rank: int
    world_size: int
    wait: Callable[[], None]
    """Returns when all processes have called it."""


SETTINGS_NAME = "evaluation.json"
"""What is evaluated and how; written first, and compared when a run goes on."""


def evaluate(
    backend: Backend,
    tasks: Sequence[EvalTask],
    *,
    output_folder: Path,
    name: str = "",
    data_root_kind: DataRootKind = "hub",
    max_rows: int | None = None,
    asking: Asking | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    processes: Processes | None = None,
) -> EvalResult:
    """Evaluate a backend on tasks, and write `results.json` and `samples.jsonl`.

    Started again after a kill, with the same arguments and folder, it goes on.

    Args:
        backend: What answers.
        tasks: What is asked.
        output_folder: Where the files go; made if absent.
        name: The run's name on the leaderboard; the folder's name where empty.
        data_root_kind: Where the rows come from, shown beside every number.
        max_rows: Evaluate a seeded sample of this many rows per task; `None` for all.
        asking: Wording and kind of requests.
        seed: Of the sample and the bootstrap.
        progress: Told about every batch.
        processes: Where several share the work: the others call `answer_share` with the same
            arguments, this one (rank 0) counts and writes.

    Raises:
        EvalError: The tasks cannot be evaluated (EVL001 to EVL015), the folder holds another
            evaluation (EVL024), or a prompt does not fit (EVL030, EVL031).
        OutputError: The folder cannot be written.
    """
    started = time.monotonic()
    asking, progress = asking or Asking(), progress or SilentProgress()
    runners = _runners(tasks, max_rows=max_rows, asking=asking, seed=seed)
    described = _describe(backend, runners, asking)
    how: dict[str, Json] = {"asking": asdict(asking), "seed": seed}
    fingerprints: Json = {runner.name: runner.fingerprint for runner in runners}
    _claim_folder(output_folder, {"backend": described, **how, "tasks": fingerprints})
    results: list[TaskResult] = []
    samples: list[Sample] = []
    with Journal(output_folder) as journal:
        if processes is not None:
            # From here on the others know that the folder holds this evaluation.
            processes.wait()
            _answer_share(runners, backend, journal, progress=progress, processes=processes)
            journal.read()
            progress = SilentProgress()
        for runner in runners:
            results.append(runner.run(backend, journal, progress))
            samples.extend(runner.samples)
        write_samples(output_folder, samples)
    about: dict[str, Json] = {
        **described,
        **how,
        "data_root_kind": data_root_kind,
        "max_rows": max_rows,
        "environment": describe_environment(),
        "num_processes": 1 if processes is None else processes.world_size,
        "seconds": round(time.monotonic() - started, 3),
    }
    result = EvalResult(
        name=name or output_folder.name, folder=output_folder, tasks=tuple(results), about=about
    )
    write_json(output_folder / RESULTS_NAME, result.to_json())
    journal.remove()
    return result


def answer_share(
    backend: Backend,
    tasks: Sequence[EvalTask],
    *,
    output_folder: Path,
    processes: Processes,
    max_rows: int | None = None,
    asking: Asking | None = None,
    seed: int = 0,
) -> None:
    """Answer this process's share of the rows, and wait for the others.

    For the processes beside the one that calls `evaluate`; arguments as there.
    """
    runners = _runners(tasks, max_rows=max_rows, asking=asking or Asking(), seed=seed)
    # Rank 0 checks the folder: answers of another model must not get into its evaluation.
    processes.wait()
    with Journal(output_folder, rank=processes.rank) as journal:
        _answer_share(runners, backend, journal, progress=SilentProgress(), processes=processes)


def _runners(
    tasks: Sequence[EvalTask], *, max_rows: int | None, asking: Asking, seed: int
) -> list[_TaskRunner]:
    check_tasks(tasks)
    rows = [select_rows(task, max_rows, seed=seed) for task in tasks]
    return [
        _TaskRunner(task, part, asking=asking, seed=seed)
        for task, part in zip(tasks, rows, strict=True)
    ]


def _describe(backend: Backend, runners: Sequence[_TaskRunner], asking: Asking) -> dict[str, Json]:
    """Return the backend's description, which also tells the runners how calls are read."""
    described = backend.describe()
    for runner in runners:
        runner.call_format = call_format(asking, described)
    return described


def _answer_share(
    runners: Sequence[_TaskRunner],
    backend: Backend,
    journal: Journal,
    *,
    progress: Progress,
    processes: Processes,
) -> None:
    """Answer every `world_size`-th batch, counted over all tasks; batches stay whole."""
    num_batches = 0
    for runner in runners:
        prompts, limit = runner.prompts(backend)
        batches = backend.batches(prompts, max_new_tokens=limit)
        own = batches[(processes.rank - num_batches) % processes.world_size :: processes.world_size]
        num_batches += len(batches)
        runner.tell_resumed(backend, batches, journal, progress)
        runner.answer(backend, own, journal, limit=limit, progress=progress)
    processes.wait()


class _TaskRunner:
    """One task from rows to numbers."""

    def __init__(
        self,
        task: EvalTask,
        rows: Sequence[TaskExample],
        *,
        asking: Asking,
        seed: int,
    ) -> None:
        self._task = task
        self._rows = rows
        self.name = task.spec.id
        self.fingerprint = data_sha256(rows)
        self._seed = seed
        self._metrics = metrics_of(task.spec)
        self._asking = asking
        self._clusters_N = find_clusters(rows)
        self.call_format = ANY_FORMAT
        """How answers to the benchmark of calls are read; known when the backend is."""
        self.samples: list[Sample] = []

    def prompts(self, backend: Backend) -> tuple[list[Prompt], int]:
        """Return the prompts, and the limit of an answer's tokens."""
        requests = build_requests(self._rows, self._task.spec, self._asking)
        limit = answer_limit(self._task, backend.longest_gold_answer(requests))
        return backend.prompts(requests, max_new_tokens=limit), limit

    def answer(
        self,
        backend: Backend,
        batches: Sequence[Sequence[Prompt]],
        journal: Journal,
        *,
        limit: int,
        progress: Progress,
    ) -> dict[str, Prediction]:
        """Return the answers by key: those of the journal, and new ones for the rest."""
        progress.start(self.name, sum(len(batch) for batch in batches))
        answers: dict[str, Prediction] = {}
        for batch in batches:
            missing = _missing(batch, journal, as_a_whole=backend.neighbours_matter)
            asked = {prompt.key for prompt in missing}
            known = journal.find([prompt for prompt in batch if prompt.key not in asked]) or []
            new = journal.add(_answer(backend, missing, limit)) if missing else []
            answers.update((prediction.key, prediction) for prediction in (*known, *new))
            progress.advance(self.name, len(batch))
        return answers

    def tell_resumed(
        self,
        backend: Backend,
        batches: Sequence[Sequence[Prompt]],
        journal: Journal,
        progress: Progress,
    ) -> None:
        """Tell how many rows of the batches an earlier run has answered."""
        asked = [
            _missing(batch, journal, as_a_whole=backend.neighbours_matter) for batch in batches
        ]
        progress.resume(self.name, sum(map(len, batches)) - sum(map(len, asked)))

    def run(self, backend: Backend, journal: Journal, progress: Progress) -> TaskResult:
        started = time.monotonic()
        spec = self._task.spec
        prompts, limit = self.prompts(backend)
        batches = backend.batches(prompts, max_new_tokens=limit)
        self.tell_resumed(backend, batches, journal, progress)
        answers = self.answer(backend, batches, journal, limit=limit, progress=progress)
        self.samples = [
            self._sample(place, prompt, answers[prompt.key]) for place, prompt in enumerate(prompts)
        ]
        result = self._result(prompts, limit, time.monotonic() - started)
        headline = result.metrics[result.headline]
        progress.finish(spec.id, f"{result.headline} {headline.value:.3f}")
        return result

    def _sample(self, place: int, prompt: Prompt, prediction: Prediction) -> Sample:
        row = self._rows[place]
        reason = "prompt_too_long" if prompt.is_too_long else prediction.failure
        parsed = (
            ParseFailure(code=reason, excerpt="")
            if reason
            else parse_answer(prediction.text, row, self._task.spec, call_format=self.call_format)
        )
        failure = parsed if isinstance(parsed, ParseFailure) else None
        value: Json = None
        if not isinstance(parsed, ParseFailure):
            value = with_scores(parsed, prediction, self._task.spec)
        # A row without an answer is wrong, also where "no call" would be the right answer.
        values = {
            metric.name: 0.0
            if reason and metric.higher_is_better
            else metric.row_value(
                prediction.text if metric.of_text else value, row.target, self._task.spec
            )
            for metric in self._metrics
        }
        return Sample(
            example=row,
            prompt=_last_user_turn(prompt),
            prediction=prediction,
            choice_tokens=tuple(len(ids) for ids in prompt.choice_ids),
            score=Score(key=row.key, parsed=value, values=values, failure=failure),
            cluster=None if self._clusters_N is None else int(self._clusters_N[place]),
        )

    def _values(self, pairs: Pairs, samples: Sequence[Sample] = ()) -> dict[str, MetricValue]:
        """Return all metrics; row values that `samples` know already are not computed again."""
        found = {}
        shared: dict[object, FloatArray] = {}
        for metric in self._metrics:
            if metric.is_mean and samples:
                values = [sample.score.values[metric.name] for sample in samples]
                features_NK = np.asarray(values, dtype=np.float64).reshape(-1, 1)
            elif metric.features in shared:
                features_NK = shared[metric.features]
            else:
                features_NK = metric.row_features(pairs, self._task.spec)
                if not metric.is_mean:
                    shared[metric.features] = features_NK
            found[metric.name] = MetricValue(
                value=metric.of_features(features_NK),
                standard_error=standard_error_of_features(
                    metric, features_NK, seed=self._seed, clusters_N=self._clusters_N
                ),
            )
        return found

    def _result(self, prompts: Sequence[Prompt], limit: int, seconds: float) -> TaskResult:
        task, spec = self._task, self._task.spec
        pairs: Pairs = [(sample.score.parsed, sample.example.target) for sample in self.samples]
        failures = [sample.score.failure for sample in self.samples]
        digest = hashlib.sha256("\n".join(prompt.sha256 for prompt in prompts).encode())
        kinds = Counter(prompt.request.kind for prompt in prompts)
        is_benchmark = answer_type(spec) == "bfcl_calls"
        return TaskResult(
            spec=spec,
            split=task.split,
            source=without_local_folders(task.source),
            num_rows=len(self._rows),
            num_clusters=None if self._clusters_N is None else int(self._clusters_N.max()) + 1,
            metrics=self._values(pairs, self.samples),
            majority=None
            if task.majority_answer is None
            else self._values(majority_pairs(self._rows, spec, task.majority_answer)),
            failures=Counter(failure.code for failure in failures if failure is not None),
            num_cut_off=sum(
                sample.prediction.finish_reason == "length" and not prompt.is_too_long
                for sample, prompt in zip(self.samples, prompts, strict=True)
            ),
            decoding={
                "requests": cast("Json", dict(kinds)),
                "max_new_tokens": limit,
                **({"calls_read_as": self.call_format} if is_benchmark else {}),
            },
            prompts_sha256=digest.hexdigest(),
            data_sha256=self.fingerprint,
            seconds=seconds,
        )


def _missing(batch: Sequence[Prompt], journal: Journal, *, as_a_whole: bool) -> list[Prompt]:
    """Return the prompts to ask; half a batch is asked as a whole where neighbours matter."""
    if as_a_whole:
        return [] if journal.find(batch) is not None else list(batch)
    return [prompt for prompt in batch if journal.find([prompt]) is None]


def _answer(backend: Backend, batch: Sequence[Prompt], limit: int) -> list[Prediction]:
    """Return the answers to one batch, whose prompts are of one kind."""
    if batch[0].request.kind == "choices":
        return backend.score_choices(batch)
    return backend.generate(batch, max_new_tokens=limit)


def _last_user_turn(prompt: Prompt) -> str:
    turns = prompt.request.conversation.messages
    texts = [turn.content for turn in turns if turn.role in {"user", "tool"}]
    return prompt_excerpt(texts[-1]) if texts else ""


def _claim_folder(folder: Path, settings: dict[str, Json]) -> None:
    """Write what is evaluated into the folder, or check that it is the same as before."""
    path = folder / SETTINGS_NAME
    if path.is_file():
        try:
            known = read_json(path)
        except (OSError, ValueError):
            known = None
        if known == settings:
            return
        raise EvalError(
            "EVL024",
            f"the folder holds another evaluation: {_first_difference(known, settings)}",
            where=folder,
            hint="Choose another folder, or delete this one to start anew",
        )
    write_json(path, settings)


def _first_difference(known: Json, wanted: dict[str, Json]) -> str:
    if not isinstance(known, dict):
        return f"{SETTINGS_NAME} is damaged"
    for key in wanted:
        was, now = known.get(key), wanted[key]
        if was != now and isinstance(was, dict) and isinstance(now, dict):
            for name in sorted(set(was) | set(now)):
                if was.get(name) != now.get(name):
                    return f"{key}.{name} was {was.get(name)!r}, now {now.get(name)!r}"
        if was != now:
            return f"{key} was {was!r}, now {now!r}"
    return "its settings differ"
