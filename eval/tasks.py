"""A task to evaluate: its rows, how they are asked, and the majority answer to beat."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np

from eval.answers import answer_type
from eval.backends.base import Request, RequestKind
from eval.metrics import Pairs, metrics_of
from eval.parsers import ANY_FORMAT
from eval.statistics import Clusters
from pipeline.errors import EvalError, PipelineError, PipelineErrors, did_you_mean, raise_all
from pipeline.files import sha256_of_json
from pipeline.functions.dialects import DIALECTS
from pipeline.templates.answers import option_letter
from pipeline.templates.styles import parse_style, render_conversation
from pipeline.types import Examples, Json, Split, TaskExample, TaskKind, TaskSpec

RequestChoice = Literal["auto", "generate", "choices"]

MAX_CHOICES = 64
"""`auto` scores closed answer sets up to this size by likelihood; larger ones are generated."""

MIN_SHARED_CHARACTERS = 100
"""Shorter texts are equal by chance and tell nothing about a common source."""

CHAT_TEMPLATE = "chat_template"
"""Function format that leaves the wording of calls to the model's own chat template."""

_NEW_TOKENS: dict[TaskKind, int] = {
    "classification": 32,
    "pair_classification": 32,
    "relation": 32,
    "dna_classification": 32,
    "multiple_choice": 8,
    "token_classification": 1024,
    "multi_label": 128,
    "soft_label": 32,
    "regression": 16,
    "extractive_qa": 128,
    "text": 256,
    "chat": 512,
    "function_calling": 512,
    "records": 64,
    "ranking": 64,
}
"""Most tokens an answer of each kind may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalTask:
    """Rows of one task and split."""

    spec: TaskSpec
    examples: Examples | Sequence[TaskExample]
    split: Split = "test"
    majority_answer: Json = None
    """Most frequent answer of the *train* split, see `find_majority_answer`; `None`: unknown."""
    source: str = ""
    """Where the rows come from, e.g. `ncbi/ncbi_disease@<revision>`, for people to read."""
    reads_own_files: bool = False
    """Whether the rows are files beside the annotation, wherever the rows of other tasks are."""
    max_new_tokens: int | None = None
    """Limit of an answer's length; `None` leaves it to the kind and the gold answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How examples are put to a backend."""

    request: RequestChoice = "auto"
    style: str = "plain"
    """Name in `pipeline.templates.styles.STYLES`."""
    function_format: str = CHAT_TEMPLATE
    """`chat_template`, or a name in `pipeline.functions.dialects.DIALECTS`."""


def call_format(asking: Asking, described: Mapping[str, Json]) -> str:
    """Return the format in which answers to the benchmark of calls are read, the same for all.

    Args:
        asking: The style and the recipe's format decide, where they say how calls are written.
        described: The backend's description: `call_format` is what its chat template writes.
    """
    if parse_style(asking.style)[0] == "bfcl_prompting":
        return "python_call"
    if asking.function_format != CHAT_TEMPLATE:
        return asking.function_format
    return str(described.get("call_format") or ANY_FORMAT)


def check_tasks(tasks: Sequence[EvalTask]) -> None:
    """Raise what is wrong with the tasks, all at once.

    Raises:
        EvalError: No task (EVL010), the same task twice (EVL011), a task without rows (EVL012),
            or metrics that do not fit (EVL001 to EVL004).
    """
    if not tasks:
        raise EvalError("EVL010", "there is no task to evaluate", hint="Name at least one task")
    errors: list[PipelineError] = []
    counts = Counter(task.spec.id for task in tasks)
    for name, count in counts.items():
        if count > 1:
            errors.append(
                EvalError("EVL011", f"the task is named {count} times, allowed is 1", where=name)
            )
    for task in tasks:
        if len(task.examples) == 0:
            errors.append(
                EvalError(
                    "EVL012",
                    f"the {task.split} split has no rows",
                    where=task.spec.id,
                    hint="Choose another split, or check the annotation's row filters",
                )
            )
        try:
            metrics_of(task.spec)
        except PipelineErrors as several:
            errors += several.errors
        except PipelineError as error:
            errors.append(error)
    raise_all(errors)


def select_rows(task: EvalTask, max_rows: int | None, *, seed: int) -> list[TaskExample]:
    """Return all rows, or a seeded sample of `max_rows` of them in their own order.

    Raises:
        EvalError: Two rows have one key (EVL013), or `max_rows` is below 1 (EVL014).
    """
    if max_rows is not None and max_rows < 1:
        raise EvalError("EVL014", f"max_rows is {max_rows}, allowed is 1 or more", where="max_rows")
    num_rows = len(task.examples)
    indexes: Sequence[int] = range(num_rows)
    if max_rows is not None and max_rows < num_rows:
        indexes = sorted(random.Random(f"{seed}/{task.spec.id}").sample(indexes, max_rows))
    rows = [task.examples[index] for index in indexes]
    repeated = [key for key, count in Counter(row.key for row in rows).items() if count > 1]
    if repeated:
        raise EvalError(
            "EVL013", f"{len(repeated)} keys occur twice, e.g. {repeated[0]!r}", where=task.spec.id
        )
    return rows


def check_asking(asking: Asking) -> None:
    """Check the names of wording and requests; no row is needed for it.

    Raises:
        EvalError: The function format (EVL015) or the kind of request (EVL016) is unknown.
        RecipeError: The style is unknown.
    """
    if asking.request not in get_args(RequestChoice):
        raise EvalError(
            "EVL016",
            f"no kind of request {asking.request!r}",
            where="request",
            hint=did_you_mean(asking.request, get_args(RequestChoice)),
        )
    if asking.function_format not in (CHAT_TEMPLATE, *DIALECTS):
        raise EvalError(
            "EVL015",
            f"no function format {asking.function_format!r}",
            where="function_format",
            hint=did_you_mean(asking.function_format, [CHAT_TEMPLATE, *DIALECTS]),
        )
    parse_style(asking.style)


def build_requests(rows: Sequence[TaskExample], spec: TaskSpec, asking: Asking) -> list[Request]:
    """Return what is put to the backend for each row.

    Raises:
        EvalError: The function format (EVL015) or the kind of request (EVL016) is unknown.
        RecipeError: The style is unknown.
    """
    check_asking(asking)
    is_templated = asking.function_format == CHAT_TEMPLATE
    render_calls = None if is_templated else DIALECTS[asking.function_format].render
    requests = []
    for row in rows:
        conversation = render_conversation(row, spec, style=asking.style, render_calls=render_calls)
        kind, choices = _request_kind(row, spec, asking.request)
        requests.append(Request(kind=kind, conversation=conversation, choices=choices))
    return requests


def candidate_answers(example: TaskExample, spec: TaskSpec) -> tuple[str, ...]:
    """Return the texts of all allowed answers; empty where answers are open."""
    shape = answer_type(spec)
    if shape == "option":
        return tuple(option_letter(index) for index in range(len(example.choices or ())))
    if shape in {"label", "scored_label", "soft_label"}:
        return tuple(example.choices or spec.labels or ())
    return ()


def answer_limit(task: EvalTask, longest_gold: int) -> int:
    """Return how many tokens an answer may take.

    The kind's limit; less where half again the longest gold answer is shorter, since an answer
    beyond that is wrong anyway and an untrained model would run to the limit on every row.

    Args:
        task: The task.
        longest_gold: Tokens of the longest gold answer, 0 where there is none.
    """
    if task.max_new_tokens is not None:
        return task.max_new_tokens
    limit = _NEW_TOKENS[task.spec.kind]
    has_gold_text = longest_gold > 0 and answer_type(task.spec) != "bfcl_calls"
    return min(limit, 8 + longest_gold + longest_gold // 2) if has_gold_text else limit


def find_majority_answer(examples: Iterable[TaskExample], spec: TaskSpec) -> Json:
    """Return the best constant answer known from the (train) examples, or `None` for no rows.

    The most frequent target; for numbers the median, and for one tag per token the most
    frequent tag. Ties go to the answer that comes first in the labels, else first in the rows.
    """
    targets = [example.target for example in examples]
    if not targets:
        return None
    shape = answer_type(spec)
    if shape == "number":
        ordered = sorted(float(cast("float", target)) for target in targets)
        return ordered[len(ordered) // 2]
    if shape == "soft_label":
        return _most_votes(cast("list[dict[str, float]]", targets))
    if shape == "tags":
        targets = [tag for target in targets for tag in cast("list[Json]", target)]
    texts = [json.dumps(target, sort_keys=True) for target in targets]
    best = max(Counter(texts).values())
    winners = [text for text, count in Counter(texts).items() if count == best]
    order = {json.dumps(label): index for index, label in enumerate(spec.labels or ())}
    return cast("Json", json.loads(min(winners, key=lambda text: order.get(text, len(order)))))


def _most_votes(targets: Sequence[Mapping[str, float]]) -> str:
    """Return the label with the largest share over all rows."""
    votes: Counter[str] = Counter()
    for target in targets:
        votes.update(target)
    return max(votes, key=votes.__getitem__)


def majority_pairs(rows: Sequence[TaskExample], spec: TaskSpec, answer: Json) -> Pairs:
    """Return (majority answer in parsed form, target) per row."""
    return [(_as_parsed(answer, row, spec), row.target) for row in rows]


def find_clusters(rows: Sequence[TaskExample]) -> Clusters | None:
    """Return the number of each row's source; `None` where no two rows share one, or all do.

    Rows share a source when the annotation's field `cluster` is equal; in tasks without that
    field, when their longest text of at least `MIN_SHARED_CHARACTERS` is: questions about one
    passage, several calls for one long request.
    """
    is_named = any(row.cluster is not None for row in rows)
    numbers: dict[str, int] = {}
    found = []
    for place, row in enumerate(rows):
        source = row.cluster if is_named else _longest_text(row)
        name = f"row {place}" if source is None else f"source {source}"
        found.append(numbers.setdefault(name, len(numbers)))
    # One source for all rows tells nothing of how sources differ.
    return np.asarray(found, dtype=np.int64) if 1 < len(numbers) < len(rows) else None


def _longest_text(row: TaskExample) -> str | None:
    texts = [value for value in row.inputs.values() if isinstance(value, str)]
    longest = max(texts, key=len, default="")
    return longest if len(longest) >= MIN_SHARED_CHARACTERS else None


def data_sha256(rows: Sequence[TaskExample]) -> str:
    """Return the fingerprint of the rows: keys, inputs, targets, choices, in order."""
    return sha256_of_json(
        [
            [row.key, row.inputs, row.target, list(row.choices) if row.choices else None]
            for row in rows
        ]
    )


def _as_parsed(answer: Json, row: TaskExample, spec: TaskSpec) -> Json:
    shape = answer_type(spec)
    if shape == "tags":
        return [answer for _ in cast("list[Json]", row.target)]
    if shape == "scored_label":
        return {"label": answer, "scores": None}
    if shape == "text" and isinstance(answer, list):
        return answer[0] if answer else ""
    return answer


def _request_kind(
    example: TaskExample, spec: TaskSpec, request: RequestChoice
) -> tuple[RequestKind, tuple[str, ...]]:
    choices = candidate_answers(example, spec)
    if request == "generate" or not choices:
        return "generate", ()
    if request == "auto" and len(choices) > MAX_CHOICES:
        return "generate", ()
    return "choices", choices
