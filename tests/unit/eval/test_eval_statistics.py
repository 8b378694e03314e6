"""Error bars and paired comparison against formulas and known coverage."""

import numpy as np
import pytest
from scipy import stats

from eval.metrics import METRICS
from eval.statistics import (
    compare,
    compare_means,
    compare_scores,
    paired_draws,
    standard_error,
    standard_error_of_features,
)
from pipeline.types import TaskSpec

SPEC = TaskSpec(id="t", kind="classification", family="f", instruction="", labels=("a", "b"))
NUMBERS = TaskSpec(id="t", kind="regression", family="f", instruction="")


def random_label_pairs(size, accuracy, seed=0):
    generator = np.random.default_rng(seed)
    gold = generator.choice(["a", "b"], size=size)
    right = generator.random(size) < accuracy
    other = np.where(gold == "a", "b", "a")
    return list(zip(np.where(right, gold, other).tolist(), gold.tolist(), strict=True))


def test_the_error_of_a_mean_is_that_of_scipy():
    pairs = random_label_pairs(200, 0.7)
    values = [float(parsed == target) for parsed, target in pairs]
    assert standard_error(METRICS["accuracy"], pairs, SPEC) == pytest.approx(stats.sem(values))


def test_the_bootstrap_of_a_micro_average_is_near_the_analytic_error():
    """With one token per row, token accuracy is a mean, whose error is known."""
    spec = TaskSpec(id="t", kind="token_classification", family="f", instruction="")
    pairs = [([parsed], [target]) for parsed, target in random_label_pairs(500, 0.7)]
    values = [float(parsed == target) for parsed, target in pairs]
    found = standard_error(METRICS["token_accuracy"], pairs, spec)
    assert found == pytest.approx(stats.sem(values), rel=0.1)


def test_the_bootstrap_of_a_correlation_is_near_fishers_formula():
    generator = np.random.default_rng(3)
    x = generator.normal(size=400)
    y = 0.6 * x + 0.8 * generator.normal(size=400)
    pairs = list(zip(x.tolist(), y.tolist(), strict=True))
    r = METRICS["pearson"].corpus(pairs, NUMBERS)
    assert standard_error(METRICS["pearson"], pairs, NUMBERS) == pytest.approx(
        (1 - r**2) / np.sqrt(400 - 1), rel=0.15
    )


def test_grouping_equal_rows_does_not_change_a_bootstrapped_rank_correlation():
    pairs = [(float(i % 4), float(i % 3)) for i in range(60)]
    metric = METRICS["spearman"]
    features = metric.row_features(pairs, NUMBERS)
    distinct, counts = np.unique(features, axis=0, return_counts=True)
    grouped = metric.value(distinct, counts[None].astype(float))[0]
    expected = stats.spearmanr([a for a, _ in pairs], [b for _, b in pairs])[0]
    assert grouped == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ["macro_f1", "mcc"])
def test_grouped_rows_give_the_same_value_as_single_rows(name):
    pairs = [*random_label_pairs(50, 0.6), (None, "a"), (None, "b")]
    metric = METRICS[name]
    features = metric.row_features(pairs, SPEC)
    distinct, counts = np.unique(features, axis=0, return_counts=True)
    grouped = metric.value(distinct, counts[None].astype(float))[0]
    assert grouped == pytest.approx(metric.corpus(pairs, SPEC), abs=1e-12)


def test_answers_that_all_fail_correlate_with_nothing():
    pairs = [(None, float(value)) for value in range(6)]
    for name in ("pearson", "spearman"):
        assert METRICS[name].corpus(pairs, NUMBERS) == 0.0


def test_a_failed_answer_lowers_a_perfect_correlation():
    pairs = [(float(value), float(value)) for value in range(6)]
    pairs[5] = (None, 5.0)
    for name in ("pearson", "spearman"):
        assert 0.3 < METRICS[name].corpus(pairs, NUMBERS) < 0.9


def test_one_row_has_no_error_bar():
    assert standard_error(METRICS["accuracy"], [("a", "a")], SPEC) == 0.0


def test_no_row_is_an_error():
    for call in (METRICS["accuracy"].corpus, lambda p, s: standard_error(METRICS["mcc"], p, s)):
        with pytest.raises(ValueError, match="at least one row"):
            call([], SPEC)


def test_equal_systems_differ_by_nothing():
    result = compare_scores([1.0, 0.0, 1.0], [1.0, 0.0, 1.0])
    assert (result.difference, result.low, result.high, result.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_a_clear_difference_has_a_small_p_value_and_an_interval_around_it():
    first, second = random_label_pairs(400, 0.5), random_label_pairs(400, 0.8)
    result = compare(METRICS["macro_f1"], first, second, SPEC)
    assert result.p_value < 0.01
    assert result.low < result.difference < result.high
    assert result.low > 0.15


def test_pairing_makes_the_interval_of_nearly_equal_systems_narrow():
    first = [float(i % 2) for i in range(200)]
    second = list(first)
    second[0] = 1.0
    result = compare_scores(first, second)
    assert result.difference == pytest.approx(0.005)
    assert result.high - result.low < 0.02


def test_the_interval_covers_no_difference_about_95_times_in_100():
    covered = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        first, second = generator.random((2, 80))
        result = compare_scores(first.tolist(), second.tolist(), seed=seed)
        covered += result.low <= 0.0 <= result.high
    assert 180 <= covered <= 199


def test_answers_to_other_rows_are_refused():
    with pytest.raises(ValueError, match="different rows"):
        compare(METRICS["accuracy"], [("a", "a")], [("a", "b")], SPEC)
    with pytest.raises(ValueError, match="paired"):
        compare(METRICS["accuracy"], [("a", "a")], [], SPEC)


@pytest.mark.parametrize("name", ["accuracy", "macro_f1"])
def test_copies_of_rows_of_one_source_add_no_certainty(name):
    pairs = random_label_pairs(200, 0.7)
    copied = [pair for pair in pairs for _ in range(5)]
    clusters = np.repeat(np.arange(len(pairs)), 5)
    metric = METRICS[name]
    alone = standard_error(metric, pairs, SPEC)
    features = metric.row_features(copied, SPEC)
    fooled = standard_error_of_features(metric, features)
    clustered = standard_error_of_features(metric, features, clusters_N=clusters)
    assert fooled < 0.6 * alone
    assert clustered == pytest.approx(alone, rel=0.1)


def test_sources_of_one_row_each_give_the_usual_error_of_a_mean():
    features = np.asarray([[0.0], [1.0], [1.0], [0.0], [1.0]])
    metric = METRICS["accuracy"]
    usual = standard_error_of_features(metric, features)
    clustered = standard_error_of_features(metric, features, clusters_N=np.arange(5))
    assert clustered == pytest.approx(usual, rel=1e-12)


def test_a_paired_interval_of_copied_rows_is_as_wide_as_that_of_the_rows():
    first = random_label_pairs(150, 0.6)
    right = np.random.default_rng(5).random(150) < 0.7
    second = [
        (target if is_right else "a", target)
        for (_, target), is_right in zip(first, right, strict=True)
    ]
    metric = METRICS["accuracy"]
    alone = compare(metric, first, second, SPEC)
    copied = [[pair for pair in pairs for _ in range(4)] for pairs in (first, second)]
    clusters = np.repeat(np.arange(150), 4)
    clustered = compare(metric, *copied, SPEC, clusters_N=clusters)
    assert clustered.high - clustered.low == pytest.approx(alone.high - alone.low, rel=0.15)


@pytest.mark.parametrize(
    ("num_better", "num_rows", "is_beyond"),
    [(1, 1, False), (3, 3, False), (4, 20, False), (5, 20, False), (8, 20, True), (1, 500, False)],
)
def test_few_rows_show_no_more_than_the_exact_sign_test(num_better, num_rows, is_beyond):
    first = [0.0] * num_rows
    second = [1.0] * num_better + [0.0] * (num_rows - num_better)
    result = compare_scores(first, second)
    assert result.p_value >= stats.binomtest(num_better, num_better).pvalue
    assert result.is_beyond_chance is is_beyond


def test_differences_of_few_sources_show_no_more_than_their_number():
    pairs = [("b", "a")] * 30, [("a", "a")] * 30
    metric = METRICS["accuracy"]
    clusters = np.repeat(np.arange(3), 10)
    alone = compare(metric, *pairs, SPEC)
    clustered = compare(metric, *pairs, SPEC, clusters_N=clusters)
    assert (alone.is_beyond_chance, clustered.is_beyond_chance) == (True, False)
    assert clustered.p_value == pytest.approx(0.25)


def test_the_mean_of_tasks_counts_the_rows_of_all():
    pairs = [("b", "a")] * 4, [("a", "a")] * 4
    draws = [paired_draws(METRICS["accuracy"], *pairs, SPEC, seed=seed) for seed in range(3)]
    assert not any(part.comparison.is_beyond_chance for part in draws)
    mean = compare_means(draws)
    assert mean.is_beyond_chance
    assert 2.0**-11 <= mean.p_value < 0.01
