"""Metrics of answers that are one label: accuracy, macro F1, F1 of relations, Matthews correlation.

An answer that cannot be parsed is a wrong class of its own: it lowers recall and accuracy, and
is no class whose F1 is averaged.
"""

from __future__ import annotations

import numpy as np

from eval.metrics.metric import FloatArray, Metric, Pairs, f1_of_sums, ratio
from pipeline.types import Json, TaskSpec

_UNPARSED = -1


def label_of(parsed: Json) -> Json:
    """Return the label of an answer that may carry scores too."""
    return parsed["label"] if isinstance(parsed, dict) else parsed


def _is_same(parsed: Json, target: Json, _spec: TaskSpec) -> float:
    parsed = label_of(parsed)
    return float(type(parsed) is type(target) and parsed == target)


def _class_ids(pairs: Pairs, _spec: TaskSpec) -> FloatArray:
    """Return (target class, predicted class) per row, shape `[N, 2]`."""
    pairs = [(label_of(parsed), target) for parsed, target in pairs]
    names = sorted({str(value) for pair in pairs for value in pair if value is not None})
    ids = {name: index for index, name in enumerate(names)}
    rows = [
        (ids[str(target)], _UNPARSED if parsed is None else ids[str(parsed)])
        for parsed, target in pairs
    ]
    return np.asarray(rows, dtype=np.float64)


def _one_hot(features_U2: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return target and prediction as indicator rows, shapes `[U, C]`."""
    classes_C = np.arange(features_U2.max() + 1)
    gold_UC = (features_U2[:, :1] == classes_C).astype(np.float64)
    predicted_UC = (features_U2[:, 1:] == classes_C).astype(np.float64)
    return gold_UC, predicted_UC


def _macro_f1(features_U2: FloatArray, counts_BU: FloatArray) -> FloatArray:
    gold_UC, predicted_UC = _one_hot(features_U2)
    hits_BC = counts_BU @ (gold_UC * predicted_UC)
    support_BC = counts_BU @ gold_UC + counts_BU @ predicted_UC
    f1_BC = ratio(2 * hits_BC, support_BC, empty=0.0)
    # Averaged over classes that occur as target or as prediction, as scikit-learn does.
    occurs_BC = support_BC > 0
    return ratio(f1_BC.sum(axis=1), occurs_BC.sum(axis=1).astype(np.float64), empty=0.0)


def _mcc(features_U2: FloatArray, counts_BU: FloatArray) -> FloatArray:
    gold_UC, predicted_UC = _one_hot(features_U2)
    total_B = counts_BU.sum(axis=1)
    hits_B = (counts_BU @ (gold_UC * predicted_UC)).sum(axis=1)
    gold_BC, predicted_BC = counts_BU @ gold_UC, counts_BU @ predicted_UC
    unparsed_B = total_B - predicted_BC.sum(axis=1)
    covariance_B = hits_B * total_B - (gold_BC * predicted_BC).sum(axis=1)
    gold_variance_B = total_B**2 - (gold_BC**2).sum(axis=1)
    predicted_variance_B = total_B**2 - (predicted_BC**2).sum(axis=1) - unparsed_B**2
    scale_B = np.sqrt(gold_variance_B) * np.sqrt(np.maximum(predicted_variance_B, 0.0))
    return ratio(covariance_B, scale_B, empty=0.0)


def _relation_counts(pairs: Pairs, spec: TaskSpec) -> FloatArray:
    """Return (hits, predicted, gold) of labels that state a relation, per row, shape `[N, 3]`."""
    unstated = (None, spec.settings["negative_label"])
    rows = []
    for parsed, target in pairs:
        label = label_of(parsed)
        is_gold, is_predicted = target not in unstated, label not in unstated
        rows.append((is_gold and label == target, is_predicted, is_gold))
    return np.asarray(rows, dtype=np.float64)


ACCURACY = Metric(name="accuracy", needs=("label", "scored_label", "option", "text"), row=_is_same)
"""Share of rows whose answer is the target."""

MACRO_F1 = Metric(
    name="macro_f1",
    needs=("label", "scored_label", "option"),
    row=_is_same,
    features=_class_ids,
    value=_macro_f1,
)
"""F1 per class, averaged over the classes that occur as target or as prediction."""

RELATION_F1 = Metric(
    name="relation_f1",
    needs=("label", "scored_label"),
    row=_is_same,
    features=_relation_counts,
    value=f1_of_sums,
    needs_settings=("negative_label",),
)
"""Micro F1 over all labels but `negative_label`, as DDIExtraction 2013 and ChemProt are scored;
1 where no row states a relation and no answer does."""

MCC = Metric(
    name="mcc",
    needs=("label", "scored_label", "option"),
    row=_is_same,
    features=_class_ids,
    value=_mcc,
)
"""Matthews correlation coefficient of any number of classes (Gorodkin 2004); 0 is chance."""
