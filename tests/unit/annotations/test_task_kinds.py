from typing import get_args

import pytest

from eval.metrics.catalogue import METRICS, metrics_of
from pipeline.annotations.task_kinds import METRIC_NAMES, TASK_KINDS, default_metrics
from pipeline.types import TaskKind, TaskSpec


def test_every_kind_has_rules():
    assert set(TASK_KINDS) == set(get_args(TaskKind))


def test_metric_names_are_those_that_evaluation_knows():
    assert set(METRIC_NAMES) == set(METRICS)


SETTINGS = [
    {},
    {"scheme": "plain"},
    {"granular": "names"},
    {"granular": "parameters"},
    {"granular": "next"},
    {"granular": "response"},
    {"granular": "calls", "checker": "bfcl"},
]


@pytest.mark.parametrize("kind", TASK_KINDS)
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_default_metrics_can_score_the_answers_of_their_kind(kind, settings):
    known = TASK_KINDS[kind].settings
    own = {name: value for name, value in settings.items() if name in known}
    spec = TaskSpec(
        id="x",
        kind=kind,
        family="f",
        instruction="",
        labels=("a", "b"),
        metrics=default_metrics(kind, own),
        settings=own,
    )
    assert len(metrics_of(spec)) == len(spec.metrics) > 0


def test_headline_metrics_are_those_people_expect():
    headline = {kind: default_metrics(kind, {})[0] for kind in TASK_KINDS}
    assert headline["classification"] == "accuracy"
    assert headline["dna_classification"] == "mcc"
    assert headline["token_classification"] == "entity_f1"
    assert headline["regression"] == "spearman"
    assert headline["function_calling"] == "call_exact_match"
