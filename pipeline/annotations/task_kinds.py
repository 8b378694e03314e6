"""The kinds of tasks: which inputs each has, what it answers, how it is scored.

This is the one place where a new kind is added, besides the name in `pipeline.types.TaskKind`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pipeline.annotations.sequences import KEPT_PARTS, NON_ACGT
from pipeline.types import Json, TaskKind

TargetShape = Literal[
    "label",
    "index",
    "tags",
    "labels",
    "shares",
    "number",
    "answers",
    "text",
    "calls",
    "anything",
    "ranking",
]
"""`label`: a name; `index`: position of a choice; `tags`: mentions or one tag per token;
`labels`: several names; `shares`: how much speaks for each name; `number`; `answers`: accepted
texts; `text`; `calls`: function calls;
`anything`: a label or a list; `ranking`: positions, best first."""

METRIC_NAMES: tuple[str, ...] = (
    "accuracy",
    "macro_f1",
    "relation_f1",
    "mcc",
    "exact_match",
    "answer_f1",
    "list_f1",
    "family_match",
    "rouge_l",
    "box_compat_exact_match",
    "box_compat_f1",
    "box_compat_rouge_l",
    "entity_f1",
    "entity_precision",
    "entity_recall",
    "token_accuracy",
    "set_f1",
    "example_set_f1",
    "set_match",
    "soft_accuracy",
    "majority_accuracy",
    "auroc",
    "auprc",
    "reciprocal_rank",
    "ndcg",
    "top_1",
    "spearman",
    "pearson",
    "mean_absolute_error",
    "call_exact_match",
    "name_f1",
    "argument_f1",
    "call_ast_accuracy",
    "name_macro_f1",
    "argument_macro_f1",
    "name_lcs",
    "name_sequence_match",
    "hallucination_rate",
    "parse_failure_rate",
    "bleu",
)
"""Every name that `metrics:` may hold; `eval.metrics` implements them."""


CLUSTER = "cluster"
"""Field with what rows of one source share; any task may have it, and no model sees it."""

NO_INPUTS = frozenset({"target", "choices", CLUSTER})
"""Fields that are no inputs."""


@dataclass(frozen=True, slots=True)
class SettingRule:
    """What a setting may be."""

    type: type[str] | type[bool] | type[int] | type[float]
    allowed: tuple[Json, ...] | None = None
    """The only values; any value of the type when `None`."""
    default: Json = None
    """Used when the annotation says nothing; `None` leaves the setting out."""


@dataclass(frozen=True, slots=True)
class KindRules:
    """What a kind of task needs and allows."""

    summary: str
    """One line for the documentation."""
    target: TargetShape
    metrics: tuple[str, ...]
    """Used when the annotation names none; the first is the headline."""
    required_inputs: tuple[str, ...] = ()
    optional_inputs: tuple[str, ...] = ()
    any_inputs: bool = False
    """Whether inputs of any other name are allowed too."""
    has_labels: bool = False
    """Whether answers come from the closed list under `labels`."""
    has_choices: bool = False
    """Whether each row brings its own options under `choices`."""
    needs_instruction: bool = True
    settings: dict[str, SettingRule] = field(default_factory=dict)

    @property
    def is_closed(self) -> bool:
        """Whether the labels of the task are the answers that are open to every row."""
        return self.target in {"label", "labels", "shares", "anything"}


TASK_KINDS: dict[TaskKind, KindRules] = {
    "classification": KindRules(
        summary="one text, one label",
        target="label",
        metrics=("accuracy", "macro_f1"),
        required_inputs=("text",),
        optional_inputs=("context", "question"),
        has_labels=True,
    ),
    "pair_classification": KindRules(
        summary="two texts, one label, such as entailment or paraphrase",
        target="label",
        metrics=("accuracy", "macro_f1"),
        required_inputs=("text_a", "text_b"),
        has_labels=True,
    ),
    "multiple_choice": KindRules(
        summary="a question with its own options; the target is the position of the right one",
        target="index",
        metrics=("accuracy",),
        required_inputs=("question",),
        optional_inputs=("context",),
        has_choices=True,
        settings={
            "max_choices": SettingRule(int),
            "choice_order": SettingRule(str, ("source", "hashed"), "source"),
        },
    ),
    "token_classification": KindRules(
        summary="mentions in a sentence (`bio`), or one tag per word (`plain`)",
        target="tags",
        metrics=("entity_f1",),
        required_inputs=("tokens",),
        has_labels=True,
        settings={"scheme": SettingRule(str, ("bio", "plain"), "bio")},
    ),
    "multi_label": KindRules(
        summary="one text, any number of labels",
        target="labels",
        metrics=("set_f1", "set_match"),
        required_inputs=("text",),
        optional_inputs=("context", "question"),
        has_labels=True,
    ),
    "soft_label": KindRules(
        summary="any inputs, labels that raters disagree about",
        target="shares",
        metrics=("soft_accuracy", "majority_accuracy"),
        any_inputs=True,
        has_labels=True,
    ),
    "regression": KindRules(
        summary="one or two texts, a number",
        target="number",
        metrics=("spearman", "pearson"),
        required_inputs=("text_a",),
        optional_inputs=("text_b",),
        settings={"minimum": SettingRule(float), "maximum": SettingRule(float)},
    ),
    "extractive_qa": KindRules(
        summary="a question about a passage; the answer is part of the passage",
        target="answers",
        metrics=("answer_f1", "exact_match"),
        required_inputs=("context", "question"),
    ),
    "relation": KindRules(
        summary="how two mentions in a text relate",
        target="label",
        metrics=("accuracy", "macro_f1"),
        required_inputs=("text", "head", "tail"),
        has_labels=True,
        settings={"negative_label": SettingRule(str)},
    ),
    "text": KindRules(
        summary="any inputs, a free text",
        target="text",
        metrics=("rouge_l", "exact_match"),
        any_inputs=True,
        settings={"is_picture": SettingRule(bool)},
    ),
    "chat": KindRules(
        summary="a conversation and its next turn",
        target="text",
        metrics=("rouge_l",),
        required_inputs=("messages",),
        needs_instruction=False,
    ),
    "function_calling": KindRules(
        summary="a request and functions; the target is the calls, or a part of them",
        target="calls",
        metrics=("call_exact_match", "name_f1", "argument_f1"),
        required_inputs=("query", "functions"),
        optional_inputs=("calls", "results"),
        needs_instruction=False,
        settings={
            "granular": SettingRule(
                str, ("calls", "names", "parameters", "next", "response"), "calls"
            ),
            "checker": SettingRule(str, ("bfcl",)),
        },
    ),
    "dna_classification": KindRules(
        summary="a DNA sequence, one label",
        target="label",
        metrics=("mcc", "accuracy", "macro_f1"),
        required_inputs=("sequence",),
        has_labels=True,
        settings={
            "reverse_complement": SettingRule(bool, default=False),
            "non_acgt": SettingRule(str, NON_ACGT),
            "max_bases": SettingRule(int),
            "keep": SettingRule(str, KEPT_PARTS),
        },
    ),
    "records": KindRules(
        summary="structured records, such as the events of a patient; a label, labels or a text",
        target="anything",
        metrics=("exact_match",),
        required_inputs=("records",),
        any_inputs=True,
        settings={
            "answer": SettingRule(str, ("label", "labels", "text")),
            "digits": SettingRule(str, ("plain", "spaced"), "plain"),
            "time": SettingRule(str, ("delta", "given", "none"), "delta"),
            "max_events": SettingRule(int),
            "event_characters": SettingRule(int),
            "total_characters": SettingRule(int),
        },
    ),
    "ranking": KindRules(
        summary="a query and candidates; the target is their positions, best first",
        target="ranking",
        metrics=("reciprocal_rank", "ndcg", "top_1"),
        required_inputs=("query",),
        optional_inputs=("context",),
        has_choices=True,
    ),
}
"""The rules of every kind."""


def default_metrics(
    kind: TaskKind, settings: dict[str, Json], *, has_labels: bool = False
) -> tuple[str, ...]:
    """Return the metrics of a task that names none.

    Args:
        kind: Kind of the task.
        settings: Its settings.
        has_labels: Whether the answers of a `records` task are labels.
    """
    if kind == "records" and settings.get("answer") == "labels":
        return ("set_f1", "set_match")
    if kind == "records" and has_labels:
        return ("auroc", "auprc", "accuracy")
    if kind == "token_classification" and settings.get("scheme") == "plain":
        return ("token_accuracy",)
    if kind == "function_calling":
        if settings.get("checker") == "bfcl":
            return ("call_ast_accuracy",)
        by_part: dict[Json, tuple[str, ...]] = {
            "names": ("name_f1", "name_sequence_match", "set_match"),
            "parameters": ("argument_f1", "exact_match"),
            "next": ("accuracy",),
            "response": ("rouge_l",),
        }
        return by_part.get(settings.get("granular"), TASK_KINDS[kind].metrics)
    return TASK_KINDS[kind].metrics
