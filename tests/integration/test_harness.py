"""The harness with a real (tiny) model: counting, repeating, resuming, and a small leaderboard."""

import json
import os
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from eval.backends.given_backend import GivenBackend, load_given_answers
from eval.backends.prompting import PromptBuilder
from eval.backends.transformers_backend import TransformersBackend
from eval.compare import compare_runs
from eval.harness import evaluate
from eval.leaderboard import build_leaderboard
from eval.progress import RichProgress, SilentProgress
from eval.results import read_results, read_samples
from eval.tasks import Asking, EvalTask, build_requests, find_majority_answer, select_rows
from pipeline.annotations.catalogue import load_catalogue
from pipeline.chat.tokenise import prompt_ids, tokenise_conversation
from pipeline.errors import EvalError, PipelineError
from pipeline.examples.cache import load_examples
from pipeline.functions.dialects import DIALECTS
from pipeline.templates.answers import render_answer
from pipeline.templates.styles import render_conversation
from pipeline.types import TaskExample, TaskSpec
from tests.unit.eval.tiny_llama import build_tiny_model, build_tiny_tokenizer

LABELS = ("yes", "no", "yes, maybe")


def make_task(name, kind, targets, *, metrics, labels=None, inputs=None, **settings):
    spec = TaskSpec(
        id=name,
        kind=kind,
        family=name.split("/")[0],
        instruction="Answer.",
        labels=labels,
        metrics=metrics,
        settings=settings,
    )
    rows = [
        TaskExample(
            key=f"{name}/test/{i}",
            task=name,
            split="test",
            inputs=inputs or {"text": f"row {i} " * (i % 5 + 1)},
            target=target,
            choices=labels if kind == "classification" else None,
        )
        for i, target in enumerate(targets)
    ]
    return EvalTask(spec=spec, examples=rows, majority_answer=find_majority_answer(rows, spec))


def make_tasks():
    entity = {"text": "a", "type": "A", "start": 0, "end": 1}
    call = {"name": "f", "arguments": {"x": 1}}
    function = {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}}
    return [
        make_task(
            "one/label",
            "classification",
            [LABELS[i % 3] for i in range(24)],
            metrics=("accuracy", "macro_f1"),
            labels=LABELS,
        ),
        make_task(
            "one/entities",
            "token_classification",
            [[entity], []] * 6,
            metrics=("entity_f1",),
            labels=("A", "B"),
            inputs={"tokens": ["a", "b"]},
            scheme="bio",
        ),
        make_task(
            "two/calls",
            "function_calling",
            [[call]] * 5,
            metrics=("call_exact_match",),
            inputs={"query": "Call it.", "functions": [function]},
        ),
    ]


def make_backend(**options):
    return TransformersBackend(
        build_tiny_model(), build_tiny_tokenizer(), model_name="tiny", **options
    )


class Killed(Exception):
    """Stands for a kill in the middle of a run."""


class KillAfter(SilentProgress):
    def __init__(self, num_batches):
        self.left = num_batches

    def advance(self, task, count):
        self.left -= 1
        if self.left == 0:
            raise Killed


def without_times(results):
    clean = {key: value for key, value in results.items() if key not in {"seconds", "name"}}
    tasks = {name: {**entry, "seconds": 0} for name, entry in clean["tasks"].items()}
    return {**clean, "tasks": tasks}


@pytest.fixture(scope="module", autouse=True)
def small_batches():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eval.backends.transformers_backend._MAX_ROWS", 5)
        yield


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    evaluate(make_backend(max_batch_tokens=600), make_tasks(), output_folder=folder)
    return folder


def test_every_row_is_in_the_samples_and_in_the_denominator(whole_run):
    results = read_results(whole_run)
    rows = list(read_samples(whole_run))
    tasks = make_tasks()
    assert [row["key"] for row in rows] == [row.key for task in tasks for row in task.examples]
    assert {name: entry["num_rows"] for name, entry in results["tasks"].items()} == {
        "one/label": 24,
        "one/entities": 12,
        "two/calls": 5,
    }
    assert results["tasks"]["one/label"]["decoding"]["requests"] == {"choices": 24}
    assert results["tasks"]["two/calls"]["decoding"]["requests"] == {"generate": 5}
    label_rows = [row for row in rows if row["task"] == "one/label"]
    accuracy = sum(row["parsed"] == row["target"] for row in label_rows) / 24
    assert results["tasks"]["one/label"]["metrics"]["accuracy"]["value"] == accuracy
    failed = [row for row in rows if row["failure"]]
    assert sum(entry["num_failures"] for entry in results["tasks"].values()) == len(failed)
    assert all(row["parsed"] is None and set(row["score"].values()) == {0.0} for row in failed)


def test_errors_count_the_sources_that_the_annotation_names(tmp_path):
    task = make_tasks()[0]
    rows = [replace(row, cluster=f"patient {i // 8}") for i, row in enumerate(task.examples)]
    answers = {row.key: "yes" for row in rows}
    errors = []
    for name, examples in (("alone", task.examples), ("patients", rows)):
        backend = GivenBackend(answers, name="given")
        result = evaluate(
            backend, [replace(task, examples=examples)], output_folder=tmp_path / name
        )
        errors.append(result.tasks[0].metrics["accuracy"].standard_error)
        known = {row.get("cluster") for row in read_samples(tmp_path / name)}
        assert known == ({None} if name == "alone" else {0, 1, 2})
        assert result.tasks[0].num_clusters == (None if name == "alone" else 3)
    # A third of the rows is right in every cluster of 8 rows, so clusters differ less than rows.
    assert errors[1] < errors[0]


def test_results_say_what_they_were_computed_with(whole_run):
    results = read_results(whole_run)
    assert results["backend"] == "transformers"
    assert results["decoding"] == "greedy"
    assert results["dtype"] == "float32"
    assert results["stop_token_ids"] == [260]
    assert results["environment"]["libraries"]["torch"]
    assert len(results["weights_sha256"]) == 64
    for entry in results["tasks"].values():
        assert len(entry["prompts_sha256"]) == len(entry["data_sha256"]) == 64
        assert entry["decoding"]["max_new_tokens"] >= 1
        assert set(entry["majority"]) == set(entry["metrics"])


def test_the_likeliest_choice_is_the_answer(whole_run):
    for row in read_samples(whole_run):
        if row["task"] == "one/label":
            sums = row["choices"]["log_likelihood"]
            assert row["output"] == LABELS[sums.index(max(sums))]
            assert row["finish_reason"] == "choice"


def test_a_run_repeats_exactly(whole_run, tmp_path):
    evaluate(make_backend(max_batch_tokens=600), make_tasks(), output_folder=tmp_path / "run")
    assert (tmp_path / "run/samples.jsonl").read_bytes() == (
        whole_run / "samples.jsonl"
    ).read_bytes()
    assert without_times(read_results(tmp_path / "run")) == without_times(read_results(whole_run))


@pytest.mark.parametrize("num_batches", [1, 2, 4, 7])
def test_a_killed_run_goes_on_to_the_same_bytes(whole_run, tmp_path, num_batches):
    folder = tmp_path / "run"
    with pytest.raises(Killed):
        evaluate(
            make_backend(max_batch_tokens=600),
            make_tasks(),
            output_folder=folder,
            progress=KillAfter(num_batches),
        )
    journal = folder / "samples.partial.jsonl"
    journal.write_bytes(journal.read_bytes()[:-7])
    assert not (folder / "results.json").exists()
    backend = make_backend(max_batch_tokens=600)
    asked = []
    for name in ("generate", "score_choices"):
        answer = getattr(backend, name)
        setattr(
            backend,
            name,
            lambda batch, answer=answer, **options: asked.extend(batch) or answer(batch, **options),
        )
    evaluate(backend, make_tasks(), output_folder=folder)
    assert (folder / "samples.jsonl").read_bytes() == (whole_run / "samples.jsonl").read_bytes()
    assert without_times(read_results(folder)) == without_times(read_results(whole_run))
    assert not journal.exists()
    assert num_batches == 1 or len(asked) < 41


def test_a_finished_run_is_not_asked_again(whole_run):
    backend = make_backend(max_batch_tokens=600)
    backend.generate = backend.score_choices = None
    before = (whole_run / "samples.jsonl").read_bytes()
    evaluate(backend, make_tasks(), output_folder=whole_run)
    assert (whole_run / "samples.jsonl").read_bytes() == before


@pytest.mark.parametrize(("max_rows", "max_batch_tokens"), [(64, 1), (1, 200), (64, 100_000)])
def test_batch_size_does_not_change_predictions(
    whole_run, tmp_path, monkeypatch, max_rows, max_batch_tokens
):
    monkeypatch.setattr("eval.backends.transformers_backend._MAX_ROWS", max_rows)
    backend = make_backend(max_batch_tokens=max_batch_tokens)
    evaluate(backend, make_tasks(), output_folder=tmp_path / "run")
    outputs = [
        {row["key"]: row["output"] for row in read_samples(folder)}
        for folder in (whole_run, tmp_path / "run")
    ]
    assert outputs[0] == outputs[1]


@pytest.mark.slow
def test_rows_per_batch_and_padding_side_change_fewer_than_one_answer_in_a_thousand(
    tmp_path, monkeypatch
):
    tasks = [
        make_task(
            "one/label",
            "classification",
            [LABELS[index % 3] for index in range(500)],
            metrics=("accuracy",),
            labels=LABELS,
        ),
        make_task(
            "one/text",
            "text",
            ["x" * (1 + index % 5) for index in range(100)],
            metrics=("exact_match",),
        ),
    ]
    outputs = []
    for max_rows, side in ((1, "left"), (8, "left"), (32, "left"), (32, "right")):
        monkeypatch.setattr("eval.backends.transformers_backend._MAX_ROWS", max_rows)
        tokenizer = build_tiny_tokenizer()
        tokenizer.padding_side = side
        backend = TransformersBackend(build_tiny_model(), tokenizer, model_name="tiny")
        folder = tmp_path / f"{max_rows}-{side}"
        evaluate(backend, tasks, output_folder=folder)
        outputs.append({row["key"]: row["output"] for row in read_samples(folder)})
    first = outputs[0]
    assert len(first) == 600
    for other in outputs[1:]:
        assert other.keys() == first.keys()
        assert sum(first[key] != other[key] for key in first) < len(first) / 1000


def test_answers_of_another_limit_are_asked_again(tmp_path):
    (task,) = make_tasks()[2:]
    lengths = []
    for limit in (2, 6):
        result = evaluate(
            make_backend(),
            [replace(task, max_new_tokens=limit)],
            output_folder=tmp_path / "run",
        )
        assert result.tasks[0].decoding["max_new_tokens"] == limit
        lengths.append(sum(len(row["output"]) for row in read_samples(tmp_path / "run")))
    assert lengths[0] < lengths[1]


def test_another_evaluation_in_the_same_folder_is_refused(whole_run):
    with pytest.raises(EvalError) as caught:
        evaluate(
            make_backend(max_batch_tokens=600),
            make_tasks(),
            output_folder=whole_run,
            asking=Asking(style="no_instruction"),
        )
    assert caught.value.code == "EVL024"
    assert "asking.style was 'plain', now 'no_instruction'" in str(caught.value)
    other = TransformersBackend(
        build_tiny_model(seed=5), build_tiny_tokenizer(), model_name="tiny", max_batch_tokens=600
    )
    with pytest.raises(EvalError, match="weights_sha256"):
        evaluate(other, make_tasks(), output_folder=whole_run)


def test_the_prompt_is_the_one_of_training():
    tokenizer = build_tiny_tokenizer()
    builder = PromptBuilder(tokenizer, max_length=1024)
    for task in make_tasks():
        requests = build_requests(task.examples, task.spec, Asking())
        for request, prompt in zip(
            requests, builder.build(requests, max_new_tokens=32), strict=True
        ):
            trained = tokenise_conversation(
                request.conversation, tokenizer, task_index=0, max_length=None
            )
            start = trained.loss_mask.argmax()
            assert prompt.input_ids.tolist() == trained.input_ids[:start].tolist()
            assert prompt.input_ids.tolist() == prompt_ids(request.conversation, tokenizer)


def test_choices_of_which_one_begins_another_keep_their_end():
    builder = PromptBuilder(build_tiny_tokenizer(), max_length=1024)
    task = make_tasks()[0]
    requests = build_requests(task.examples[:1], task.spec, Asking())
    (prompt,) = builder.build(requests, max_new_tokens=32)
    assert [ids[-1] for ids in prompt.choice_ids] == [260, 260, 260]
    (short,) = builder.build([replace(requests[0], choices=("yes", "no"))], max_new_tokens=32)
    assert [len(ids) for ids in short.choice_ids] == [3, 2]


def test_a_prompt_that_does_not_fit_counts_as_wrong(tmp_path):
    task = make_task(
        "one/long", "classification", ["yes"] * 3, metrics=("accuracy",), labels=("yes", "no")
    )
    rows = [
        replace(row, inputs={"text": "word " * size})
        for row, size in zip(task.examples, (1, 400, 2), strict=True)
    ]
    spec = replace(task.spec, instruction="Do it. " * 30)
    result = evaluate(
        make_backend(max_length=128),
        [replace(task, spec=spec, examples=rows)],
        output_folder=tmp_path / "run",
    )
    assert result.tasks[0].num_rows == 3
    assert dict(result.tasks[0].failures) == {"prompt_too_long": 3}


def test_oracle_answers_are_all_right_and_missing_ones_all_wrong(tmp_path):
    tasks = make_tasks()
    lines = []
    for task in tasks:
        for row in task.examples:
            text = (
                json.dumps(row.target[0])
                if task.spec.family == "two"
                else render_answer(row.target, task.spec)
            )
            lines.append(json.dumps({"key": row.key, "text": text}))
    path = tmp_path / "answers.jsonl"
    path.write_text("\n".join(lines))
    keys = [row.key for task in tasks for row in task.examples]
    oracle = evaluate(
        load_given_answers(path, keys),
        tasks,
        output_folder=tmp_path / "oracle",
        data_root_kind="mirror",
    )
    assert {name: value for name, value in oracle.flat().items() if value != 1.0} == {}
    path.write_text("\n".join(lines[:-1]))
    most = evaluate(load_given_answers(path, keys), tasks, output_folder=tmp_path / "most")
    assert most.flat()["two/calls/call_exact_match"] == 4 / 5
    assert dict(most.tasks[2].failures) == {"no_answer": 1}
    nothing = evaluate(GivenBackend({}, name="none"), tasks, output_folder=tmp_path / "none")
    assert set(nothing.flat().values()) == {0.0}
    assert [sum(task.failures.values()) for task in nothing.tasks] == [24, 12, 5]


def test_a_model_in_training_is_left_in_training(tmp_path):
    model = build_tiny_model().train()
    backend = TransformersBackend(model, build_tiny_tokenizer(), model_name="tiny")
    evaluate(backend, make_tasks()[:1], output_folder=tmp_path / "run")
    assert model.training


def test_two_runs_are_compared_row_by_row(tmp_path, whole_run):
    other = TransformersBackend(
        build_tiny_model(seed=9), build_tiny_tokenizer(), model_name="other"
    )
    evaluate(other, make_tasks(), output_folder=tmp_path / "other")
    found = {item.task: item for item in compare_runs(whole_run, tmp_path / "other").tasks}
    assert list(found) == ["one/label", "one/entities", "two/calls"]
    results = [read_results(folder)["tasks"] for folder in (whole_run, tmp_path / "other")]
    for name, item in found.items():
        values = [part[name]["metrics"][item.metric]["value"] for part in results]
        assert item.comparison.difference == pytest.approx(values[1] - values[0])
    assert not any(item.has_dropped(1.0) for item in found.values())
    fewer = evaluate(other, make_tasks()[:1], output_folder=tmp_path / "few", max_rows=5)
    assert fewer.tasks[0].num_rows == 5
    with pytest.raises(EvalError) as caught:
        compare_runs(whole_run, tmp_path / "few")
    assert caught.value.code == "EVL051"


def test_progress_is_told_about_every_row(tmp_path):
    seen = {}

    class Counting(SilentProgress):
        def start(self, task, total):
            seen[task] = [total, 0]

        def advance(self, task, count):
            seen[task][1] += count

    evaluate(make_backend(), make_tasks(), output_folder=tmp_path / "run", progress=Counting())
    assert seen == {"one/label": [24, 24], "one/entities": [12, 12], "two/calls": [5, 5]}
    with RichProgress() as bars:
        evaluate(make_backend(), make_tasks(), output_folder=tmp_path / "run", progress=bars)


def test_base_and_baseline_stand_on_one_leaderboard(whole_run):
    board = build_leaderboard([whole_run, whole_run])
    assert [run.kind for run in board.runs] == ["majority", "base"]
    assert board.families == ("one", "two")
    mean = board.mean(board.runs[1])
    assert mean is not None
    assert mean.value == pytest.approx(read_results(whole_run)["macro_mean"])


# All tasks of the catalogue on real rows

DATA_ROOT = Path(
    os.environ.get("TASKLOOM_DATA_ROOT") or Path(__file__).parents[3] / "shared" / "data"
)
NUM_REAL_ROWS = int(os.environ.get("TASKLOOM_REAL_ROWS", "300"))
"""Of each task; set to a large number to ask all rows."""


CATALOGUE = load_catalogue()


def real_tasks():
    if not (DATA_ROOT / "ncbi").is_dir():
        return []
    found = []
    for annotation in CATALOGUE:
        name = annotation.id
        if annotation.verified != "rows":
            continue
        source = annotation.source
        if source.hub is None or (DATA_ROOT / source.hub).is_dir():
            found.append(name)
    return found


def load_real_task(name):
    try:
        examples = load_examples(CATALOGUE.get(name), "test", data_root=DATA_ROOT)
    except PipelineError as error:
        pytest.skip(str(error))
    task = EvalTask(spec=examples.spec, examples=examples)
    return replace(task, examples=select_rows(task, NUM_REAL_ROWS, seed=0))


def first_option(options):
    """Return what the answer key accepts first; its values are lists, where "" is "left out"."""
    if not isinstance(options, list):
        return options  # keys of inner maps may hold their value without a list around it
    value = next((option for option in options if option != ""), [])
    if isinstance(value, dict):
        return {key: first_option(part) for key, part in value.items() if part != [""]}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [first_option([part]) for part in value]
    return value


ACCEPTED_BY_THE_CHECKER = {
    # Some rows accept no well-formed answer: names that no function declares, Java collections.
    "bfcl/simple_java": 0.5,
    "bfcl/simple_javascript": 0.7,
    "bfcl/live_simple": 0.97,
    "bfcl/live_multiple": 0.97,
}
"""Least share of oracle answers that the official rules accept, where it is not all of them."""


def source_of(value):
    """Return a value as JavaScript source, which most Java values look like too."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(source_of, value))}]"
    if isinstance(value, dict):
        pairs = (f"{name}: {source_of(part)}" for name, part in value.items())
        return "{" + ", ".join(pairs) + "}"
    return str(value)


def answer_of_key(key):
    """Return calls that the answer key accepts, without parameters that no function declares."""
    if key["category"].endswith("irrelevance"):
        return "No function fits."
    if key["category"].endswith("relevance"):
        return json.dumps({"name": key["functions"][0]["name"], "arguments": {}})
    declared = {spec["name"]: spec["parameters"]["properties"] for spec in key["functions"]}
    calls = []
    for call in key["ground_truth"]:
        for name, accepted in call.items():
            known = {part: options for part, options in accepted.items() if part in declared[name]}
            arguments = first_option([known])
            if key["category"] in ("simple_java", "simple_javascript"):
                arguments = {part: source_of(value) for part, value in arguments.items()}
            calls.append({"name": name, "arguments": arguments})
    return "\n".join(json.dumps(call) for call in calls)


def oracle_text(row, spec):
    if spec.settings.get("checker") == "bfcl":
        return answer_of_key(row.target)
    conversation = render_conversation(row, spec, render_calls=DIALECTS["json"].render)
    return conversation.messages[-1].content


def check_constant_answers(task, texts, folder):
    """One answer for all rows is as good as its share, and says nothing about the target."""
    counts = Counter(texts.values())
    constants = {"frequent": counts.most_common(1)[0][0], "first": next(iter(texts.values()))}
    for name, constant in constants.items():
        given = GivenBackend(dict.fromkeys(texts, constant), name=name)
        metrics = evaluate(given, [task], output_folder=folder / name).tasks[0].metrics
        for metric in ("mcc", "spearman", "pearson"):
            if metric in metrics:
                assert abs(metrics[metric].value) <= 1e-9
        if "accuracy" in metrics and (task.spec.labels or task.spec.kind == "multiple_choice"):
            assert metrics["accuracy"].value == pytest.approx(counts[constant] / len(texts))


BELOW_ONE_FOR_ORACLES = {
    "soft_accuracy",  # the share of votes for the answer, which is rarely all of them
    "box_compat_exact_match",  # whole answers against single pieces of the target, as published
    "box_compat_f1",
    "box_compat_rouge_l",
}


@pytest.mark.real_data
@pytest.mark.skipif(not real_tasks(), reason="no mirror of public data: set TASKLOOM_DATA_ROOT")
@pytest.mark.parametrize("name", real_tasks())
def test_oracle_answers_are_all_right_and_shuffled_ones_are_chance(name, tmp_path):
    task = load_real_task(name)
    texts = {row.key: oracle_text(row, task.spec) for row in task.examples}
    oracle = evaluate(GivenBackend(texts, name="oracle"), [task], output_folder=tmp_path / "o")
    values = {
        metric: value.value
        for metric, value in oracle.tasks[0].metrics.items()
        if metric not in BELOW_ONE_FOR_ORACLES
    }
    assert values
    least = ACCEPTED_BY_THE_CHECKER.get(name)
    if least is None:
        assert values == pytest.approx(dict.fromkeys(values, 1.0))
    else:
        assert least <= values["call_ast_accuracy"] <= 1
    assert not oracle.tasks[0].failures
    shuffled = list(texts.values())
    random.Random(0).shuffle(shuffled)
    answers = dict(zip(texts, shuffled, strict=True))
    chance = evaluate(GivenBackend(answers, name="chance"), [task], output_folder=tmp_path / "s")
    metrics = chance.tasks[0].metrics
    for metric in ("mcc", "spearman", "pearson"):
        if metric in metrics:
            assert abs(metrics[metric].value) <= 3 * metrics[metric].standard_error
    check_constant_answers(task, texts, tmp_path)
    if "accuracy" in metrics and task.spec.labels:
        counts = Counter(row.target for row in task.examples)
        expected = sum(count**2 for count in counts.values()) / len(texts) ** 2
        error = max(metrics["accuracy"].standard_error, len(texts) ** -0.5 / 2)
        assert abs(metrics["accuracy"].value - expected) <= 3 * error
