"""The 32 biomedical instruction tasks: complete, told what to do, and honest about access."""

import csv
import json
import re
from dataclasses import replace

import pytest

from eval.metrics import metrics_of
from eval.parsers import parse_answer
from pipeline.annotations.catalogue import builtin_folder, load_catalogue
from pipeline.annotations.row_operations import SplitBy
from pipeline.chat.shorten import shorten
from pipeline.errors import SourceError
from pipeline.examples import load_examples
from pipeline.examples.golden import golden_examples
from pipeline.mixture.schedule import MixtureSchedule
from pipeline.recipe import load_recipe
from pipeline.templates.styles import render_conversation
from pipeline.types import SPLITS, ParseFailure, TaskExample

TASKS = {task.id: task for task in load_catalogue() if task.id.startswith("box/")}
GATED = {
    "BioASQ-8b_factoid",
    "BioASQ-8b_list",
    "BioASQ-8b_yesno",
    "Medical_Drugs",
    "De-identification_2006",
    "Riskfactors_heart_disease_2014_yesno",
    "Time_riskfactors_heart_disease_2014_multi-label",
}
PRIVATE = {"Accelerometer", "Acromegaly", "COVID", "Cooking", "HRT"}

WITH_EMPTY_ANSWERS = [
    task
    for task in TASKS.values()
    if task.task == "multi_label"
    or (task.task == "token_classification" and task.settings.get("scheme") != "plain")
]

each_task = pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.id)


def test_there_are_the_32_tasks_with_the_known_access():
    assert len(TASKS) == 32
    assert len(WITH_EMPTY_ANSWERS) == 18
    by_access = {
        access: {task.id.removeprefix("box/") for task in TASKS.values() if task.access == access}
        for access in ("open", "gated", "private")
    }
    assert by_access["gated"] == GATED
    assert by_access["private"] == PRIVATE
    assert len(by_access["open"]) == 20


@each_task
def test_each_task_tells_what_to_do_in_every_part_of_the_schema(task):
    guide = task.spec().guide
    assert len(guide.definition.split()) >= 15
    assert task.instruction
    assert guide.avoid
    assert guide.examples
    assert all(shown.explanation for shown in (*guide.examples, *guide.negatives))
    assert (task.cap.train, task.cap.validation, task.cap.test) == (2000, 500, 500)
    assert any(name.startswith("box_compat") for name in task.spec().metrics) or (
        task.settings.get("scheme") == "plain"
    )


@each_task
def test_worked_examples_answer_as_the_parser_reads_and_wrong_ones_do_not(task):
    spec = task.spec() if task.labels != "from_data" else task.spec(["NNS", "VBP", "RB", "."])
    for shown in (*spec.guide.examples, *spec.guide.negatives):
        example = TaskExample(
            key="k",
            task=task.id,
            split="train",
            inputs=shown.inputs,
            target=shown.target,
            choices=spec.labels if task.rules.is_closed else None,
        )
        right = render_conversation(example, spec).messages[-1].content
        assert not isinstance(parse_answer(right, example, spec), ParseFailure)
        if shown.wrong_answer is not None:
            wrong = parse_answer(shown.wrong_answer, example, spec)
            assert wrong != parse_answer(right, example, spec)


@each_task
@pytest.mark.parametrize("style", ["box", "natural_instructions", "no_instruction", "plain"])
def test_each_golden_row_can_be_worded_in_every_style(task, style):
    for example in golden_examples(task):
        conversation = render_conversation(example, task.spec(), style=style)
        text = conversation.messages[0].content
        assert (task.spec().guide.definition in text) == (style in {"box", "natural_instructions"})
        assert text[conversation.messages[0].num_kept :].strip()


def words(text, _is_sequence):
    return [(match.start(), match.end()) for match in re.finditer(r"\S+", text)]


@each_task
@pytest.mark.parametrize("style", ["box", "natural_instructions"])
def test_only_the_context_loses_words_and_entities_are_never_asked_of_half_a_text(task, style):
    spec = task.spec()
    for example in golden_examples(task):
        long = task.truncate.input if task.truncate else "text"
        if task.task == "token_classification":
            conversation = render_conversation(example, spec, style=style)
            assert shorten(conversation, 5, token_spans=words) is None
            continue
        filler = " ".join(f"word{number}" for number in range(400))
        inputs = {**example.inputs, long: f"{example.inputs[long]} {filler}"}
        conversation = render_conversation(replace(example, inputs=inputs), spec, style=style)
        shorter = shorten(conversation, 399, token_spans=words)
        text = shorter.messages[0].content
        assert len(text.split()) == len(conversation.messages[0].content.split()) - 399
        assert spec.guide.definition in text
        assert all(shown.explanation in text for shown in spec.guide.examples)
        others = [value for name, value in inputs.items() if name != long]
        assert all(str(value) in text for value in [*others, *(example.choices or ())])
        assert shorter.messages[1] == conversation.messages[1]


@pytest.mark.parametrize("task", WITH_EMPTY_ANSWERS, ids=lambda task: task.id)
def test_an_empty_answer_is_written_as_one_token_and_scored_as_empty(task):
    spec = task.spec()
    example = replace(golden_examples(task)[0], target=[])
    answer = render_conversation(example, spec).messages[-1].content
    assert answer == "None"
    parsed = parse_answer(answer, example, spec)
    assert parsed == []
    for metric in metrics_of(spec):
        if not metric.of_text:
            assert metric.row_value(parsed, [], spec) == 1.0


@pytest.mark.parametrize("name", sorted(GATED | PRIVATE))
def test_data_behind_an_agreement_is_never_looked_for_and_the_error_says_how_to_get_it(
    name, tmp_path, monkeypatch
):
    def unexpected(*args, **kwargs):
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("pipeline.sources.rows.open_hub", unexpected)
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))
    task = TASKS[f"box/{name}"]
    with pytest.raises(SourceError) as caught:
        load_examples(task, "train", data_root=tmp_path)
    assert caught.value.code == "SRC117"
    assert str(tmp_path / task.source.hub) in caught.value.hint
    assert "train" in caught.value.hint
    assert task.source.how_to_get.rstrip(".") in caught.value.hint


@pytest.mark.parametrize("name", sorted(GATED | PRIVATE))
def test_data_in_the_promised_place_is_found(name, tmp_path, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))
    task = TASKS[f"box/{name}"]
    folder = tmp_path / task.source.hub / (task.config or "")
    folder.mkdir(parents=True)
    write_rows(task, folder, [golden.row for golden in task.golden if not golden.skipped])
    for split in split_names(task):
        examples = load_examples(task, split, data_root=tmp_path)
        assert len(examples) > 0


SPLIT_BY = {
    "BioASQ-8b_factoid": "question_id",
    "BioASQ-8b_list": "question_id",
    "BioASQ-8b_yesno": "question_id",
    "Medical_Drugs": "text",
    "Riskfactors_heart_disease_2014_yesno": "patient",
    "Time_riskfactors_heart_disease_2014_multi-label": "patient",
}
"""What rows of one source share in tasks whose splits are cut here."""


def write_rows(task, folder, rows):
    """Write the rows forty times, each time of another source, and return all."""
    column = SPLIT_BY.get(task.id.removeprefix("box/"))
    again = [
        {**row, column: f"{row[column]} {number}"} if column else row
        for number in range(40)
        for row in rows
    ]
    if task.source.data_files:
        with (folder / "train.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(again)
    else:
        for split in ("train", "validation", "test"):
            text = "".join(f"{json.dumps(row)}\n" for row in again)
            (folder / f"{split}.jsonl").write_text(text)
    return again


def split_names(task):
    """Return every split that the task has, those of `split_by` included."""
    dealt = [operation for operation in task.rows if isinstance(operation, SplitBy)]
    present = task.splits.present()
    return [s for s in SPLITS if s in present or any(cut.deals_to(s) for cut in dealt)]


@pytest.mark.parametrize(("name", "column"), SPLIT_BY.items())
def test_all_rows_of_one_source_are_in_one_split(name, column, tmp_path, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))
    task = TASKS[f"box/{name}"]
    folder = tmp_path / task.source.hub / (task.config or "")
    folder.mkdir(parents=True)
    row = next(golden.row for golden in task.golden if not golden.skipped)
    rows = write_rows(task, folder, [row, row, row])
    places = {}
    for split in [s for s in split_names(task) if s == "train" or s not in task.splits.present()]:
        for example in load_examples(task, split, data_root=tmp_path):
            source = rows[int(example.key.rsplit("-")[-1].rsplit("/")[-1])][column]
            places.setdefault(source, []).append((split, example.cluster))
    assert len(places) == 40
    assert all(len(found) == 3 and len(set(found)) == 1 for found in places.values())
    assert len({found[0][0] for found in places.values()}) >= 2


def test_the_four_runs_of_the_study_differ_in_what_is_compared_alone():
    folder = builtin_folder().parent / "recipes" / "box"
    names = ("single_task", "multi_task", "multi_task_with_instruction", "few_shot")
    single, multi, told, few = (load_recipe(folder / f"{name}.yaml", []) for name in names)
    told_apart = {"run_name", "output_dir", "style", "few_shot"}
    fields = [recipe.model_dump(exclude=told_apart) for recipe in (multi, told, few)]
    assert fields[0] == fields[1] == fields[2]
    assert [recipe.style for recipe in (single, multi, told, few)] == [
        "no_instruction",
        "no_instruction",
        "box",
        "box",
    ]
    assert [recipe.few_shot for recipe in (single, multi, told, few)] == [None, None, None, 32]
    assert single.max_steps * len(multi.tasks) == multi.max_steps
    own = {"tasks", "evaluation", "max_steps"}
    assert single.model_dump(exclude=told_apart | own) == multi.model_dump(exclude=told_apart | own)


def test_a_task_alone_reads_the_rows_that_it_has_in_the_mixture():
    names, num_rows = ("box/NCBI", "box/HoC", "box/DDI", "box/Chemprot"), 1600
    together = MixtureSchedule([1.0] * 4, [500, 400, 300, 200], seed=1, names=names)
    tasks, rows = together.entries(0, num_rows)
    alone = MixtureSchedule([1.0], [400], seed=1, names=names[1:2])
    assert list(rows[tasks == 1]) == list(alone.entries(0, num_rows // 4)[1])
