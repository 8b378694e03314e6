"""Requests, limits and majority answers of tasks."""

from dataclasses import replace

import pytest

from eval.metrics import METRICS, metrics_of
from eval.tasks import (
    Asking,
    EvalTask,
    answer_limit,
    build_requests,
    candidate_answers,
    check_tasks,
    data_sha256,
    find_clusters,
    find_majority_answer,
    majority_pairs,
    select_rows,
)
from pipeline.errors import EvalError, PipelineError, PipelineErrors, RecipeError
from pipeline.types import TaskExample, TaskSpec


def spec_of(kind="classification", metrics=("accuracy",), labels=("yes", "no"), **settings):
    return TaskSpec(
        id="fam/task",
        kind=kind,
        family="fam",
        instruction="Say.",
        labels=labels,
        metrics=metrics,
        settings=settings,
    )


def rows_of(targets, **inputs):
    return [
        TaskExample(
            key=f"fam/task/test/{i}",
            task="fam/task",
            split="test",
            inputs=inputs or {"text": f"row {i}"},
            target=target,
        )
        for i, target in enumerate(targets)
    ]


def code_of(call):
    with pytest.raises(PipelineError) as caught:
        call()
    return caught.value.code


def test_the_most_frequent_answer_wins_and_ties_go_to_the_first_label():
    assert find_majority_answer(rows_of(["no", "yes", "no"]), spec_of()) == "no"
    assert find_majority_answer(rows_of(["no", "yes"]), spec_of()) == "yes"
    assert find_majority_answer([], spec_of()) is None


def test_the_majority_answer_of_numbers_is_the_median():
    spec = spec_of("regression", ("mean_absolute_error",), None)
    assert find_majority_answer(rows_of([0.0, 5.0, 4.0, 4.5, 1.0]), spec) == 4.0


def test_the_majority_tag_is_given_to_every_token():
    spec = spec_of("token_classification", ("token_accuracy",), ("NN", "VB"), scheme="plain")
    rows = rows_of([["VB", "NN"], ["NN"]], tokens=["a", "b"])
    answer = find_majority_answer(rows, spec)
    assert answer == "NN"
    pairs = majority_pairs(rows, spec, answer)
    assert METRICS["token_accuracy"].corpus(pairs, spec) == pytest.approx(2 / 3)


def test_the_majority_answer_of_accepted_answers_is_the_first_of_them():
    spec = spec_of("extractive_qa", ("exact_match",), None)
    rows = rows_of([["a", "b"], ["a", "b"], []])
    assert majority_pairs(rows, spec, find_majority_answer(rows, spec)) == [
        ("a", ["a", "b"]),
        ("a", ["a", "b"]),
        ("a", []),
    ]


def test_small_closed_answer_sets_are_scored_and_open_answers_generated():
    (scored,) = build_requests(rows_of(["yes"]), spec_of(), Asking())
    assert (scored.kind, scored.choices) == ("choices", ("yes", "no"))
    (generated,) = build_requests(rows_of(["yes"]), spec_of(), Asking(request="generate"))
    assert (generated.kind, generated.choices) == ("generate", ())
    (open_answer,) = build_requests(
        rows_of(["x"]), spec_of("text", ("rouge_l",), None), Asking(request="choices")
    )
    assert open_answer.kind == "generate"


def test_more_than_64_labels_are_generated_unless_choices_are_asked_for():
    labels = tuple(f"intent {i}" for i in range(65))
    spec = spec_of(labels=labels)
    assert build_requests(rows_of(["intent 0"]), spec, Asking())[0].kind == "generate"
    asked = build_requests(rows_of(["intent 0"]), spec, Asking(request="choices"))
    assert asked[0].kind == "choices"
    assert build_requests(rows_of(["intent 0"]), spec_of(labels=labels[:64]), Asking())[0].choices


def test_options_are_scored_by_their_letters():
    spec = spec_of("multiple_choice", labels=None)
    row = TaskExample(
        key="k",
        task="t",
        split="test",
        inputs={"question": "?"},
        target=1,
        choices=("x", "y", "z"),
    )
    assert candidate_answers(row, spec) == ("A", "B", "C")


def test_an_answer_may_be_half_again_as_long_as_the_longest_gold_answer():
    task = EvalTask(spec=spec_of("text", ("rouge_l",), None), examples=rows_of(["x"]))
    assert answer_limit(task, 20) == 38
    assert answer_limit(task, 10_000) == 256
    assert answer_limit(task, 0) == 256


def test_a_benchmark_without_gold_text_keeps_the_limit_of_its_kind():
    spec = spec_of("function_calling", ("call_ast_accuracy",), None, checker="bfcl")
    assert answer_limit(EvalTask(spec=spec, examples=rows_of([{}])), 1) == 512


def test_a_limit_of_the_task_comes_first():
    task = EvalTask(spec=spec_of(), examples=rows_of(["yes"]), max_new_tokens=3)
    assert answer_limit(task, 100) == 3


def test_a_sample_of_rows_is_the_same_every_time_and_in_order():
    task = EvalTask(spec=spec_of(), examples=rows_of(["yes"] * 100))
    first = select_rows(task, 10, seed=0)
    assert first == select_rows(task, 10, seed=0)
    assert first != select_rows(task, 10, seed=1)
    numbers = [int(row.key.rsplit("/", 1)[1]) for row in first]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 10
    assert len(select_rows(task, 1000, seed=0)) == 100


def test_the_data_fingerprint_sees_every_field_and_the_order():
    rows = rows_of(["yes", "no"])
    changed = [rows_of(["yes", "yes"]), rows[::-1], rows_of(["yes", "no"], text="other"), rows[:1]]
    assert data_sha256(rows) not in {data_sha256(other) for other in changed}
    assert data_sha256(rows) == data_sha256(rows_of(["yes", "no"]))


def test_rows_about_one_passage_share_a_source():
    passage, other = "long passage " * 20, "another passage " * 20
    texts = [("a", passage), ("b", other), ("c", passage), ("d", "short"), ("e", "short")]
    rows = [
        replace(rows_of(["yes"], question=question, context=context)[0], key=question)
        for question, context in texts
    ]
    assert find_clusters(rows).tolist() == [0, 1, 0, 2, 3]
    assert find_clusters(rows[:2]) is None
    assert find_clusters([rows[0], rows[2]]) is None


def test_a_named_source_counts_and_rows_without_one_stand_alone():
    passage = "long passage " * 20
    names = ["x", None, "y", "x", None]
    rows = rows_of(["yes"] * 5, context=passage)
    rows = [replace(row, cluster=name) for row, name in zip(rows, names, strict=True)]
    assert find_clusters(rows).tolist() == [0, 1, 2, 0, 3]


def test_wrong_tasks_are_refused_all_at_once():
    rows = rows_of(["yes"])
    assert code_of(lambda: check_tasks([])) == "EVL010"
    task = EvalTask(spec=spec_of(), examples=rows)
    assert code_of(lambda: check_tasks([task, task])) == "EVL011"
    assert code_of(lambda: check_tasks([EvalTask(spec=spec_of(), examples=[])])) == "EVL012"
    wrong = EvalTask(spec=spec_of(metrics=("acuracy", "entity_f1")), examples=[])
    with pytest.raises(PipelineErrors) as caught:
        check_tasks([wrong])
    assert [error.code for error in caught.value.errors] == ["EVL012", "EVL002", "EVL003"]


def test_metrics_that_do_not_fit_name_those_that_do():
    assert code_of(lambda: metrics_of(spec_of(metrics=()))) == "EVL001"
    with pytest.raises(EvalError) as unknown:
        metrics_of(spec_of(metrics=("acuracy",)))
    assert str(unknown.value).startswith("fam/task: no metric 'acuracy'. Did you mean 'accuracy'")
    with pytest.raises(EvalError) as unfit:
        metrics_of(spec_of(metrics=("entity_f1",)))
    assert unfit.value.code == "EVL003"
    assert "accuracy, macro_f1, relation_f1, mcc" in str(unfit.value)


@pytest.mark.parametrize("settings", [{}, {"minimum": 0}, {"maximum": 5}])
def test_an_error_needs_both_ends_of_the_scale(settings):
    spec = spec_of("regression", ("pearson", "mean_absolute_error"), None, **settings)
    with pytest.raises(EvalError, match=r"minimum|maximum") as caught:
        metrics_of(spec)
    assert caught.value.code == "EVL004"
    assert "minimum and maximum" in str(caught.value.hint)
    metrics_of(spec_of("regression", ("mean_absolute_error",), None, minimum=0, maximum=5))


def test_the_f1_of_relations_needs_the_label_that_states_none():
    spec = spec_of("relation", ("relation_f1",), ("none", "effect"))
    with pytest.raises(EvalError, match="needs the task's negative_label") as caught:
        metrics_of(spec)
    assert caught.value.code == "EVL004"
    metrics_of(spec_of("relation", ("relation_f1",), ("none", "effect"), negative_label="none"))


def test_rows_with_one_key_are_refused():
    row = rows_of(["yes"])[0]
    task = EvalTask(spec=spec_of(), examples=[row, row])
    assert code_of(lambda: select_rows(task, None, seed=0)) == "EVL013"
    assert code_of(lambda: select_rows(task, 0, seed=0)) == "EVL014"


def test_unknown_wording_is_refused():
    rows = rows_of(["yes"])
    assert code_of(lambda: build_requests(rows, spec_of(), Asking(function_format="x"))) == "EVL015"
    with pytest.raises(RecipeError):
        build_requests(rows, spec_of(), Asking(style="fancy"))


@pytest.mark.parametrize("name", [name for name in METRICS if name != "call_ast_accuracy"])
def test_an_unparsed_answer_has_the_worst_value_of_every_metric(name):
    metric = METRICS[name]
    spec = spec_of("regression", (name,), None, minimum=0, maximum=5)
    worst = {"mean_absolute_error": 4.0, "parse_failure_rate": 1.0}
    assert metric.row_value(None, 1.0, spec) == worst.get(name, 0.0)


def test_default_metrics_of_every_kind_fit_their_answers():
    from pipeline.annotations.task_kinds import METRIC_NAMES, TASK_KINDS, default_metrics

    assert set(METRIC_NAMES) == set(METRICS)
    settings = [{}, {"scheme": "plain"}, {"checker": "bfcl"}]
    settings += [{"granular": part} for part in ("names", "parameters", "next", "response")]
    for kind in TASK_KINDS:
        for options in settings:
            metrics = default_metrics(kind, options)
            if kind in {"token_classification", "function_calling"} or not options:
                metrics_of(spec_of(kind, metrics, **options))
