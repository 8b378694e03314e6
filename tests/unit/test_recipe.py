"""Recipes: reading, overriding, refusing, writing back."""

from __future__ import annotations

import contextlib
import random
import string
from pathlib import Path

import pytest

from pipeline.errors import PipelineError, PipelineErrors, RecipeError, YamlError
from pipeline.recipe import MixtureSettings, Recipe, load_recipe, write_resolved
from pipeline.recipe.foreign_names import NOTES, REFUSED, RENAMED

MINIMAL = "model_name_or_path: embedded\ntasks: [codah]\n"


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str = MINIMAL, name: str = "mine.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def errors_of(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(PipelineError) as caught:
        load_recipe(path, overrides)
    return str(caught.value).replace(str(path), "FILE").splitlines()


def test_the_run_is_named_after_the_recipe_file(write):
    recipe = load_recipe(write(name="three_tasks.yaml"))
    assert (recipe.run_name, recipe.output_dir) == ("three_tasks", "runs/three_tasks")


def test_a_task_may_be_a_name_or_a_map(write):
    recipe = load_recipe(
        write(MINIMAL + "\n").with_name("mine.yaml"), ["--tasks", "[a, {task: b}]"]
    )
    assert [(entry.task, entry.max_train_rows) for entry in recipe.tasks] == [
        ("a", None),
        ("b", None),
    ]


def test_lora_fields_become_one_adapter_value(write):
    recipe = load_recipe(
        write(), ["--lora_r=4", "--lora_alpha=8", "--lora_target_modules", "[q_proj, v_proj]"]
    )
    settings = recipe.adapter_settings
    assert (settings.type, settings.rank, settings.lora_alpha) == ("lora", 4, 8)
    assert settings.target_modules == ("q_proj", "v_proj")


@pytest.mark.parametrize(
    ("overrides", "field", "value"),
    [
        (["--learning_rate", "1e-3"], "learning_rate", 1e-3),
        (["--learning_rate=1e-3"], "learning_rate", 1e-3),
        (["--learning-rate", "1e-3"], "learning_rate", 1e-3),
        (["--max_steps", "-1"], "max_steps", -1),
        (["--packing", "false"], "packing", False),
        (["--max_steps", "3", "--max_steps", "5"], "max_steps", 5),
        (["--report_to", "[tensorboard, wandb]"], "report_to", ("tensorboard", "wandb")),
        (["--bf16", "null"], "bf16", None),
        (["--run_name", "no"], "run_name", "no"),
        (["--chat_template_path=a=b"], "chat_template_path", "a=b"),
    ],
)
def test_the_command_line_goes_on_top_of_the_file(write, overrides, field, value):
    assert getattr(load_recipe(write(), overrides), field) == value


def test_a_dotted_option_changes_one_field_of_a_map_and_keeps_the_others(write):
    path = write(MINIMAL + "mixture: {policy: capped, cap: 7}\n")
    mixture = load_recipe(path, ["--mixture.cap", "9"]).mixture
    assert (mixture.policy, mixture.cap) == ("capped", 9)


def test_a_dotted_option_creates_a_map_that_is_not_there(write):
    recipe = load_recipe(write(), ["--evaluation.max_rows", "50"])
    assert recipe.evaluation is not None
    assert recipe.evaluation.max_rows == 50


def test_a_whole_map_given_later_replaces_what_dotted_options_set(write):
    recipe = load_recipe(write(), ["--mixture.cap", "9", "--mixture", "{policy: uniform}"])
    assert recipe.mixture == MixtureSettings(policy="uniform")


def test_all_mistakes_are_told_at_once_with_their_places(write):
    path = write(
        "model_name_or_path: embedded\n"
        "tasks: [codah]\n"
        "lerning_rate: 3\n"
        "packing: maybe\n"
        "mixture:\n  temprature: 2\n"
    )
    first, second, third = errors_of(path)
    assert first.startswith("FILE:3:1: lerning_rate: ")
    assert "Did you mean 'learning_rate'" in first
    assert first.endswith("[REC001]")
    assert second.startswith("FILE:4:10: packing: ")
    assert second.endswith("got 'maybe'. [REC003]")
    assert third.startswith("FILE:6:3: mixture.temprature: ")
    assert third.endswith("Did you mean 'temperature'? [REC001]")


def test_a_missing_field_is_named(write):
    (message,) = errors_of(write("tasks: [codah]\n"))
    assert message.startswith("FILE:1:1: model_name_or_path: ")
    assert message.endswith("[REC002]")


def test_a_renamed_field_tells_the_current_name(write):
    assert errors_of(write(MINIMAL + "warmup_ratio: 0.1\n")) == [
        "FILE:3:1: warmup_ratio: this field is called 'warmup_steps' here. Write `warmup_steps`. "
        "Below 1 it is a share of all steps. [REC004]"
    ]


def test_a_required_field_under_a_foreign_name_is_not_missing_as_well(write):
    assert errors_of(write("base_model: x\ndatasets: [codah]\n")) == [
        "FILE:1:1: base_model: this field is called 'model_name_or_path' here. "
        "Write `model_name_or_path`. [REC004]",
        "FILE:2:1: datasets: this field is called 'tasks' here. Write `tasks`. [REC004]",
    ]


def test_a_field_inside_the_wrong_map_is_told_where_it_belongs(write):
    assert errors_of(write(MINIMAL + "adapter: {type: lora, lora_r: 4}\n")) == [
        "FILE:3:23: adapter.lora_r: this field stands beside `adapter`, not inside it. "
        "Write `lora_r` outside. [REC004]"
    ]


def test_code_of_a_model_repository_is_refused_with_the_reason(write):
    assert errors_of(write(), "--trust_remote_code", "true") == [
        "--trust_remote_code: trust_remote_code: not an option, because code from a model's "
        "repository is never run. Take the line out. [REC005]"
    ]


def test_a_mistake_on_the_command_line_names_the_option(write):
    (message,) = errors_of(write(), "--mixture.temperature", "-3")
    assert message.startswith("--mixture.temperature: mixture.temperature: ")
    assert message.endswith("got -3. [REC003]")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            ["--bf16", "true", "--fp16", "true"],
            "--fp16: fp16: got true together with bf16: true, allowed one of them. [REC006]",
        ),
        (
            ["--load_in_4bit=true", "--load_in_8bit=true"],
            "--load_in_8bit: load_in_8bit: got true together with load_in_4bit: true, allowed one "
            "of them. [REC006]",
        ),
        (
            ["--max_steps", "0"],
            "--max_steps: max_steps: got 0, allowed a positive number, or -1 for whole epochs. "
            "[REC006]",
        ),
        (
            ["--tasks", "[a, b, a]"],
            "--tasks: tasks[2]: task 'a' stands twice. Raise its `weight` instead. [REC006]",
        ),
        (["--tasks", "[]"], "--tasks: tasks: got an empty list. Name at least one task. [REC006]"),
        (
            ["--tasks", "[{task: a, weight: 2}]"],
            "--tasks: tasks[0]: policy 'temperature' takes no weights. "
            "Set `mixture: {policy: explicit}`. [REC006]",
        ),
        (
            ["--mixture.policy", "explicit"],
            "FILE:2:9: tasks[0]: policy 'explicit' needs a weight for 'codah'. "
            "Write {task: ..., weight: ...}. [REC006]",
        ),
        (
            ["--run_name", "a/b"],
            "--run_name: run_name: got 'a/b', allowed a name without '/'. "
            "Put the folder into `output_dir`. [REC006]",
        ),
        (
            ["--lora_target_modules", "[]"],
            "--lora_target_modules: lora_target_modules: got an empty list. Name at least one. "
            "[REC006]",
        ),
        (
            ["codah"],
            "command line: got 'codah', allowed '--field value'. "
            "Give lists as one argument, e.g. --tasks '[a, b]'. [REC007]",
        ),
        (["--packing"], "--packing: this option has no value. [REC007]"),
        (["--packing", "--bf16", "true"], "--packing: this option has no value. [REC007]"),
        (
            ["--learning_rate.x", "2"],
            "--learning_rate.x: learning_rate is no map, so it has no field 'x'. "
            "Give the whole value: --learning_rate ... [REC008]",
        ),
        (["--mixture", "{a: [}"], "YML002"),
    ],
)  # fmt: skip
def test_contradictions_and_malformed_options_are_refused(write, overrides, expected):
    path = write(MINIMAL + "learning_rate: 1\n")
    (message,) = errors_of(path, *overrides)
    assert message == expected or (len(expected) == 6 and message.endswith(f"[{expected}]"))


@pytest.mark.parametrize("text", ["", "just text\n", "- a\n- b\n"])
def test_a_file_that_is_no_map_is_refused(write, text):
    (message,) = errors_of(write(text))
    assert "a recipe must be a map of fields" in message
    assert message.endswith("[REC003]")


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(YamlError, match=r"none\.yaml: cannot read the file: No such file"):
        load_recipe(tmp_path / "none.yaml")


def test_a_written_recipe_loads_back_equal(write, tmp_path):
    recipe = load_recipe(
        write(),
        [
            "--evaluation", "{max_rows: 5}",
            "--lr_scheduler_kwargs", "{num_cycles: 2, power: 1e-5}",
            "--report_to", "[wandb]", "--learning_rate", "2.5e-5", "--data_root", "no",
            "--model_revision", "'1e3'", "--mixture.max_epochs_per_task", "null",
        ],
    )  # fmt: skip
    write_resolved(recipe, tmp_path / "resolved.yaml")
    assert load_recipe(tmp_path / "resolved.yaml") == recipe


def test_any_text_survives_writing(write, tmp_path):
    generator = random.Random(0)
    letters = string.printable.replace("\x0b", "").replace("\x0c", "") + "äß€😀\u2028\u0085'\"\\"
    awkward = ["true", "null", "~", "1", "1e5", "0x1", "- a", "a: b", "#", " x ", "''", "!t", "&a"]
    texts = awkward + ["".join(generator.choices(letters, k=6)) for _ in range(20)]
    for text in texts:
        recipe = load_recipe(write()).model_copy(update={"data_root": text})
        write_resolved(recipe, tmp_path / "resolved.yaml")
        assert load_recipe(tmp_path / "resolved.yaml") == recipe, repr(text)


def test_no_input_of_three_hundred_gives_anything_but_a_recipe_or_our_error(write):
    generator = random.Random(1)
    names = [*Recipe.model_fields, *RENAMED, "mixture.cap", "tasks.0.weight", "a.b.c", "", "."]
    values = ["1", "-1", "0.5", "x", "[1, a]", "{a: 1}", "null", "[", "true", "1e400", "", "[[]]"]
    for _ in range(300):
        overrides = []
        for _ in range(generator.randint(1, 3)):
            overrides += [f"--{generator.choice(names)}", generator.choice(values)]
        with contextlib.suppress(PipelineError):
            load_recipe(write(), overrides)


def test_every_foreign_name_leads_to_a_field():
    assert set(RENAMED.values()) <= set(Recipe.model_fields)
    assert not (set(RENAMED) | set(REFUSED)) & set(Recipe.model_fields)
    assert set(NOTES) <= set(RENAMED)


def test_reading_a_recipe_imports_neither_torch_nor_transformers(write):
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; from pipeline.recipe import load_recipe; "
        f"load_recipe(Path({str(write())!r})); "
        "print(sorted({'torch', 'transformers', 'datasets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_one_mistake_is_raised_as_itself_and_several_together(write):
    with pytest.raises(RecipeError):
        load_recipe(write(MINIMAL + "x: 1\n"))
    with pytest.raises(PipelineErrors):
        load_recipe(write(MINIMAL + "x: 1\ny: 2\n"))
