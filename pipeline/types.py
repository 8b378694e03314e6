"""The chain of types: one frozen value per stage, from a row to a score.

    DatasetAnnotation -> TaskExample -> Conversation -> TokenizedExample -> PackedBatch
    -> adapter -> Prediction -> Score -> Leaderboard

`key` is `task/split/row` and stays the same from row to score, so that any number on the
leaderboard can be walked back to its row. This module holds data only, no logic.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
"""Anything `json.dumps` writes and `json.loads` gives back unchanged."""

IGNORE_INDEX = -100
"""Label of a token that carries no loss, as in transformers."""

NO_TASK = -1
"""Task index of padding tokens."""

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

TaskKind = Literal[
    "classification",
    "pair_classification",
    "multiple_choice",
    "token_classification",
    "multi_label",
    "soft_label",
    "regression",
    "extractive_qa",
    "relation",
    "text",
    "chat",
    "function_calling",
    "dna_classification",
    "records",
    "ranking",
]
"""Shape of a task; what each kind needs is told in `pipeline.annotations.task_kinds`."""

Role = Literal["system", "user", "assistant", "tool"]

ContextSide = Literal["left", "right", "both", "none"]
"""Side of a long context that is cut off; `both` keeps its centre, `none` forbids any cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkedExample:
    """An example shown as a part of the instruction."""

    inputs: dict[str, Json]
    target: Json
    choices: tuple[str, ...] | None = None
    explanation: str = ""
    wrong_answer: str | None = None
    """What must not be answered, as the model would write it; `None` shows the target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskGuide:
    """What an annotator of the task would be told, beside the instruction."""

    definition: str = ""
    """What to do, which answers there are, and how to write them."""
    avoid: tuple[str, ...] = ()
    """Mistakes that are often made."""
    examples: tuple[WorkedExample, ...] = ()
    negatives: tuple[WorkedExample, ...] = ()
    """Examples of wrong answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """What every stage after normalising must know about a task."""

    id: str
    kind: TaskKind
    family: str
    """Folder of the annotation under `data_annotations/`."""
    instruction: str
    """What to do, in one or a few sentences."""
    labels: tuple[str, ...] | None = None
    """Closed answer vocabulary, in a fixed order; `None` for open answers."""
    metrics: tuple[str, ...] = ()
    """Names in `eval.metrics.METRICS`; the first is the headline metric."""
    settings: Mapping[str, Json] = field(default_factory=dict)
    """Options of the kind, e.g. `{"granular": "names"}` or `{"reverse_complement": true}`."""
    guide: TaskGuide | None = None
    """Longer instructions, for the styles that show them."""
    is_dna: bool = False
    """Whether an input `sequence` is DNA, whatever the kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskExample:
    """What one row means, free of wording."""

    key: str
    """`task/split/row`."""
    task: str
    split: Split
    inputs: dict[str, Json]
    """Named inputs in the order they are shown."""
    target: Json
    """The gold answer; its shape depends on the task kind."""
    choices: tuple[str, ...] | None = None
    """Allowed answers of this row, where the answer set is closed."""
    cluster: str | None = None
    """What the rows of one source share (a passage, a patient, a dialogue); never shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSpec:
    """A function that a model may call."""

    name: str
    description: str
    parameters: dict[str, Json]
    """JSON Schema of type `object`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionCall:
    """One call with its arguments, never executed."""

    name: str
    arguments: dict[str, Json]
    label: str | None = None
    """Name under which later calls refer to the result, e.g. `var1`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str = ""
    tool_calls: tuple[FunctionCall, ...] = ()
    name: str | None = None
    """Function whose result a `tool` turn holds."""
    trainable: bool = False
    """Whether the model learns to produce this turn."""
    num_kept: int = 0
    """Characters at the start of `content` that are never cut, such as a long instruction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """What the model reads, and what it must answer."""

    key: str
    task: str
    messages: tuple[Message, ...]
    tools: tuple[FunctionSpec, ...] = ()
    can_tell_tools: bool = False
    """Whether `tools` stand in the text where the chat template has no place for them."""
    context_side: ContextSide = "right"
    """Where context goes first when the conversation is too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizedExample:
    """One conversation as token ids.

    `input_ids` and `loss_mask` have shape `[T]`.
    """

    key: str
    task: str
    task_index: int
    """Position of the task in the run's task list; one per token from here on."""
    input_ids: npt.NDArray[np.int32]
    loss_mask: npt.NDArray[np.bool_]
    """True where the token is an answer token and is trained on."""
    num_truncated: int = 0
    """Tokens of context left out to fit the length."""

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self.input_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedBatch:
    """Rows for one forward pass; every array has shape `[B, T]` and dtype int64."""

    input_ids: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    """`input_ids` where trained on, else `IGNORE_INDEX`."""
    position_ids: npt.NDArray[np.int64]
    """Restart at 0 with every example, which makes attention block-diagonal."""
    task_ids: npt.NDArray[np.int64]
    """Task index of every token, `NO_TASK` on padding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a model answered to one example."""

    key: str
    text: str
    choice_log_likelihoods: tuple[float, ...] | None = None
    """Summed log-likelihood of each of the example's choices, where they were scored."""
    prompt_sha256: str = ""
    finish_reason: Literal["stop", "length", "choice", "given", "failed"] = "stop"
    """`failed`: there is no answer, for the reason in `failure`."""
    failure: str | None = None
    """Short reason, e.g. `server_timeout`, or `no_answer` where a file has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseFailure:
    """An answer that is no value of the task's answer type."""

    code: str
    """Short reason, e.g. `not_a_label`."""
    excerpt: str
    """Start of the answer, at most 80 characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One row's parsed answer and its value under each metric."""

    key: str
    parsed: Json
    """The parsed answer; `None` when parsing failed."""
    values: Mapping[str, float]
    """Row value of each metric; corpus metrics are computed from `parsed`."""
    failure: ParseFailure | None = None


class Examples(Protocol):
    """The examples of one task and split, wherever they are kept."""

    @property
    def spec(self) -> TaskSpec:
        """The task they belong to."""
        ...

    def __len__(self) -> int:
        """Number of examples."""
        ...

    def __getitem__(self, index: int) -> TaskExample:
        """The example at `index`, 0-based."""
        ...

    def __iter__(self) -> Iterator[TaskExample]:
        """All examples in order."""
        ...


class Evaluator(Protocol):
    """Evaluation during training, without importing `eval`."""

    def __call__(self, *, step: int) -> Mapping[str, float]:
        """Return metrics by name for the model as it is at `step`."""
        ...
