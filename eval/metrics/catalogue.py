"""The closed table of metrics: name in an annotation -> metric."""

from __future__ import annotations

from collections.abc import Sequence

from eval.answers import answer_type
from eval.metrics.bleu import BLEU
from eval.metrics.calls import ARGUMENT_F1, CALL_AST_ACCURACY, CALL_EXACT_MATCH, NAME_F1
from eval.metrics.entities import ENTITY_F1, ENTITY_PRECISION, ENTITY_RECALL, TOKEN_ACCURACY
from eval.metrics.labels import ACCURACY, MACRO_F1, MCC, RELATION_F1
from eval.metrics.lenient import BOX_COMPAT_EXACT_MATCH, BOX_COMPAT_F1, BOX_COMPAT_ROUGE_L
from eval.metrics.metric import Metric
from eval.metrics.numbers import MEAN_ABSOLUTE_ERROR, PEARSON, SPEARMAN
from eval.metrics.rankings import NDCG, RECIPROCAL_RANK, TOP_1
from eval.metrics.scores import AUPRC, AUROC
from eval.metrics.sets import EXAMPLE_SET_F1, SET_F1, SET_MATCH
from eval.metrics.soft import MAJORITY_ACCURACY, SOFT_ACCURACY
from eval.metrics.text import ANSWER_F1, EXACT_MATCH, FAMILY_MATCH, LIST_F1, ROUGE_L
from eval.metrics.tool_use import (
    ARGUMENT_MACRO_F1,
    HALLUCINATION_RATE,
    NAME_LCS,
    NAME_MACRO_F1,
    NAME_SEQUENCE_MATCH,
    PARSE_FAILURE_RATE,
)
from pipeline.errors import EvalError, did_you_mean, raise_all
from pipeline.types import TaskSpec

METRICS: dict[str, Metric] = {
    "accuracy": ACCURACY,
    "macro_f1": MACRO_F1,
    "relation_f1": RELATION_F1,
    "mcc": MCC,
    "exact_match": EXACT_MATCH,
    "answer_f1": ANSWER_F1,
    "list_f1": LIST_F1,
    "family_match": FAMILY_MATCH,
    "rouge_l": ROUGE_L,
    "box_compat_exact_match": BOX_COMPAT_EXACT_MATCH,
    "box_compat_f1": BOX_COMPAT_F1,
    "box_compat_rouge_l": BOX_COMPAT_ROUGE_L,
    "entity_f1": ENTITY_F1,
    "entity_precision": ENTITY_PRECISION,
    "entity_recall": ENTITY_RECALL,
    "token_accuracy": TOKEN_ACCURACY,
    "set_f1": SET_F1,
    "example_set_f1": EXAMPLE_SET_F1,
    "set_match": SET_MATCH,
    "soft_accuracy": SOFT_ACCURACY,
    "majority_accuracy": MAJORITY_ACCURACY,
    "auroc": AUROC,
    "auprc": AUPRC,
    "reciprocal_rank": RECIPROCAL_RANK,
    "ndcg": NDCG,
    "top_1": TOP_1,
    "spearman": SPEARMAN,
    "pearson": PEARSON,
    "mean_absolute_error": MEAN_ABSOLUTE_ERROR,
    "call_exact_match": CALL_EXACT_MATCH,
    "name_f1": NAME_F1,
    "argument_f1": ARGUMENT_F1,
    "call_ast_accuracy": CALL_AST_ACCURACY,
    "name_macro_f1": NAME_MACRO_F1,
    "argument_macro_f1": ARGUMENT_MACRO_F1,
    "name_lcs": NAME_LCS,
    "name_sequence_match": NAME_SEQUENCE_MATCH,
    "hallucination_rate": HALLUCINATION_RATE,
    "parse_failure_rate": PARSE_FAILURE_RATE,
    "bleu": BLEU,
}


def metrics_of(spec: TaskSpec) -> Sequence[Metric]:
    """Return the metrics of a task, the headline metric first.

    Raises:
        EvalError: The task has no metric (EVL001), one of unknown name (EVL002), one that
            cannot score its answers (EVL003), or one that lacks a setting (EVL004).
    """
    errors = []
    if not spec.metrics:
        errors.append(
            EvalError("EVL001", "the task has no metric", where=spec.id, hint="Name one in metrics")
        )
    shape = answer_type(spec)
    for name in spec.metrics:
        if name not in METRICS:
            errors.append(
                EvalError(
                    "EVL002",
                    f"no metric {name!r}",
                    where=spec.id,
                    hint=did_you_mean(name, METRICS),
                )
            )
        elif shape not in METRICS[name].needs:
            fitting = ", ".join(key for key, metric in METRICS.items() if shape in metric.needs)
            errors.append(
                EvalError(
                    "EVL003",
                    f"metric {name!r} cannot score answers that are {shape}",
                    where=spec.id,
                    hint=f"Allowed: {fitting}",
                )
            )
        elif lacking := [key for key in METRICS[name].needs_settings if key not in spec.settings]:
            errors.append(
                EvalError(
                    "EVL004",
                    f"metric {name!r} needs the task's {' and '.join(lacking)}",
                    where=spec.id,
                    hint=f"Name {' and '.join(METRICS[name].needs_settings)} under `settings` in "
                    "the annotation, or take another metric",
                )
            )
    raise_all(errors)
    return [METRICS[name] for name in spec.metrics]
