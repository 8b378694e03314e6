"""Tasks learned in stages: what each strategy does, and that nothing is made twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipeline.adapters.merging.factors import load_expert
from pipeline.adapters.registry import load_adapter
from pipeline.cli.main import main
from pipeline.errors import AdapterError, RecipeError, TrainingError
from pipeline.models.loading import load_model
from pipeline.recipe.continual import load_continual
from pipeline.recipe.reading import read_recipe
from pipeline.training.checkpoint import CheckpointStore
from pipeline.training.continual import run_continual
from pipeline.training.run import run_training
from pipeline.yaml_reader import YamlDocument
from tests.fixtures.tiny_mirror import write_tiny_mirror
from tests.fixtures.tiny_models import save_tiny_model

STAGES = [{"name": "colour", "tasks": ["tiny/colour"]}, {"name": "hue", "tasks": ["tiny/hue"]}]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("continual")
    write_tiny_mirror(folder)
    colour = (folder / "annotations/general/colour.yaml").read_text()
    changed = colour.replace("tiny/colour", "tiny/hue", 1).replace("Name the colour.", "Which hue?")
    (folder / "annotations/general/hue.yaml").write_text(changed)
    save_tiny_model(folder / "base")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TASKLOOM_CACHE", str(folder / "cache"))
        yield folder


def write(place: Path, name: str, **fields: object) -> Path:
    training = {
        "model_name_or_path": str(place / "base"),
        "annotations": [str(place / "annotations")],
        "data_root": str(place / "mirror"),
        "max_length": 128,
        "max_steps": 4,
        "learning_rate": 1e-2,
        "save_steps": 2,
        "per_device_train_batch_size": 2,
        "bf16": False,
        "lora_r": 4,
        "lora_alpha": 8,
        "seed": 3,
        "evaluation": {"max_rows": 4, "request": "choices"},
        **fields.pop("training", {}),
    }
    recipe = {"stages": STAGES, "training": training, "output_dir": str(place / name), **fields}
    path = place / f"{name}.yaml"
    path.write_text(json.dumps(recipe))
    return path


def run(path: Path, *options: str) -> int:
    with pytest.raises(SystemExit) as done:
        main(["continual", str(path), *options])
    return int(done.value.code or 0)


class Fake:
    """Trains and scores without a model, and notes what it was asked."""

    def __init__(self) -> None:
        self.trained: list = []
        self.scored: list = []
        self.fails_at: int | None = None

    def train(self, recipe) -> None:
        if self.fails_at == len(self.trained):
            raise KeyboardInterrupt
        self.trained.append(recipe)
        adapter = Path(recipe.output_dir) / "adapter"
        adapter.mkdir(parents=True)
        (adapter / "adapter_model.safetensors").write_text(str(len(self.trained)))

    def evaluate(self, adapter, tasks, folder) -> dict[str, float]:
        self.scored.append((adapter, tuple(tasks)))
        return {task: len(self.scored) / 10 for task in tasks}

    def run(self, path: Path):
        return run_continual(load_continual(path), train=self.train, evaluate=self.evaluate)


def test_stages_go_on_from_each_other_and_references_stand_beside_them(place):
    fake = Fake()
    result = fake.run(write(place, "fake-sequential"))
    first, second, joint = fake.trained
    assert first.adapter.start_from is None
    assert second.adapter.start_from == str(Path(first.output_dir) / "adapter")
    assert [entry.task for entry in second.tasks] == ["tiny/hue"]
    assert (joint.max_steps, joint.adapter.start_from) == (8, None)
    assert [entry.task for entry in joint.tasks] == ["tiny/colour", "tiny/hue"]
    assert result.base == {"tiny/colour": 0.1, "tiny/hue": 0.1}
    assert [row["tiny/colour"] for row in result.after_stage] == [0.2, 0.3]
    assert result.joint == {"tiny/colour": 0.4, "tiny/hue": 0.4}


def test_data_and_annotations_of_the_command_line_are_trained_on_too(place):
    training = {"data_root": str(place / "nowhere"), "annotations": []}
    path = write(place, "elsewhere", training=training, joint=False, strategy="adapter_per_stage")
    options = ["--data-root", str(place / "mirror"), "--annotations", str(place / "annotations")]
    with pytest.raises(SystemExit) as done:
        main([*options, "continual", str(path)])
    assert not done.value.code
    assert len(json.loads((place / "elsewhere/continual.json").read_text())["by_task"]) == 3


def test_replay_gives_past_tasks_their_share(place):
    fake = Fake()
    fake.run(write(place, "fake-replay", strategy="replay", replay={"share": 0.2}))
    first, second, _ = fake.trained
    assert not first.mixture.groups
    assert {entry.task: entry.max_train_rows for entry in second.tasks} == {
        "tiny/hue": None,
        "tiny/colour": 1000,
    }
    groups = {group.name: group for group in second.mixture.groups}
    assert (groups["new"].weight, groups["past"].weight) == (0.8, 0.2)
    assert first.mixture.max_epochs_per_task == 4
    assert second.mixture.max_epochs_per_task is None  # a ceiling would move the share
    assert (groups["new"].tasks, groups["past"].tasks) == (("tiny/hue",), ("tiny/colour",))


def test_an_adapter_per_stage_is_scored_on_its_own_tasks_and_loses_nothing(place):
    fake = Fake()
    result = fake.run(write(place, "fake-own", strategy="adapter_per_stage", joint=False))
    assert [recipe.adapter.start_from for recipe in fake.trained] == [None, None]
    assert fake.scored[1:] == [
        (Path(fake.trained[0].output_dir) / "adapter", ("tiny/colour",)),
        (Path(fake.trained[1].output_dir) / "adapter", ("tiny/hue",)),
    ]
    assert result.after_stage[1]["tiny/colour"] == result.after_stage[0]["tiny/colour"]
    assert result.after_stage[0]["tiny/hue"] == result.base["tiny/hue"]
    assert result.joint is None


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_what_is_finished_is_not_made_again_after_a_kill(stage, place):
    path = write(place, f"fake-killed-{stage}")
    killed = Fake()
    killed.fails_at = stage
    with pytest.raises(KeyboardInterrupt):
        killed.run(path)
    again = Fake()
    again.run(path)
    assert len(again.trained) == 3 - stage
    assert len(again.scored) == 3 - stage
    third = Fake()
    assert third.run(path).joint is not None
    assert not third.trained
    assert not third.scored


def test_a_folder_of_another_run_or_a_changed_stage_is_refused(place, capsys):
    path = write(place, "fake-changed")
    Fake().run(path)
    assert run(path, "--training.learning_rate", "0.5") == 2
    assert "TRN050" in capsys.readouterr().err
    stage = place / "fake-changed/stages/1-colour/run/adapter/adapter_model.safetensors"
    stage.write_text("other")
    assert run(path) == 2
    assert "TRN051" in capsys.readouterr().err


def test_another_strategy_in_the_same_folder_is_refused(place):
    Fake().run(write(place, "fake-strategy"))
    with pytest.raises(TrainingError, match=r"differs in: strategy\..*TRN050"):
        Fake().run(write(place, "fake-strategy", strategy="adapter_per_stage"))


@pytest.mark.parametrize(
    ("file", "old", "new", "part"),
    [
        ("mirror/tiny/colour/train.jsonl", "red", "blue", "rows trained on"),
        ("mirror/tiny/colour/test.jsonl", "this green", "that green", "rows scored"),
        ("annotations/general/hue.yaml", "Which hue?", "What hue?", "rows scored"),
    ],
)
def test_other_rows_or_annotations_in_the_same_folder_are_refused(file, old, new, part, place):
    path = write(place, f"fake-rows-{part}-{new[:4]}", joint=False)
    Fake().run(path)
    before = (place / file).read_text()
    assert old in before
    (place / file).write_text(before.replace(old, new, 1))
    try:
        with pytest.raises(TrainingError, match=rf"differs in: [a-z, ]*{part}.*TRN050"):
            Fake().run(path)
    finally:
        (place / file).write_text(before)
    again = Fake()
    again.run(path)
    assert not again.trained


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"stages": STAGES[:1]}, "stages"),
        ({"stages": [STAGES[0], STAGES[0]]}, "two stages are called 'colour'"),
        ({"stages": [STAGES[0], {"name": "b", "tasks": ["tiny/colour"]}]}, "stands twice"),
        ({"replay": {"share": 0.1}}, "only strategy `replay` reads it"),
        ({"newest_weight": 0.5}, "only strategy `merge_after_stage` reads it"),
        ({"training": {"tasks": ["a"]}}, "each stage sets this itself"),
        ({"training": {"lerning_rate": 1}}, "learning_rate"),
        ({"training": {"adapter": {"type": "hydra"}}}, "needs `adapter: {type: lora}`"),
        (
            {"training": {"mixture": {"max_epochs_per_task": 2.0}}, "strategy": "replay"},
            "leave `mixture.max_epochs_per_task` out",
        ),
        ({"training": {"task_tokens": True}}, "leave `task_tokens` out"),
        ({"training": {"label_tokens": True}, "strategy": "replay"}, "leave `label_tokens` out"),
        ({"training": {"dna_unit": "bpe"}}, "leave `dna_unit` out"),
        ({"training": {"adapter": {"init": "pissa"}}}, "leave `adapter.init` out"),
        *(
            ({"training": {name: value}, "strategy": "merge_after_stage"}, f"leave `{name}` out")
            for name, value in (
                ("use_rslora", True),
                ("use_dora", True),
                ("lora_modules_to_save", ["lm_head"]),
            )
        ),
    ],
)
def test_mistakes_in_a_continual_recipe_are_named(fields, message, place, capsys):
    assert run(write(place, "mistake", **fields)) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert "mistake.yaml:" in printed


def test_rows_of_new_tokens_are_not_merged_after_a_stage(place):
    units = {"training": {"dna_unit": "kmer3"}, "strategy": "merge_after_stage"}
    fake = Fake()
    with pytest.raises(RecipeError, match=r"'kmer3', whose tokens the base lacks.*REC006"):
        fake.run(write(place, "fake-units", **units))
    assert not fake.scored


def test_an_adapter_per_stage_may_have_tokens_of_its_own(place):
    path = write(place, "fake-tokens", strategy="adapter_per_stage", training={"task_tokens": True})
    Fake().run(path)


def test_it_is_not_launched_on_several_processes(place, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run(write(place, "many")) == 2
    assert "CLI050" in capsys.readouterr().err


def scores_of(folder: Path) -> dict:
    return json.loads((folder / "continual.json").read_text())


def test_a_run_that_stops_inside_a_stage_ends_like_one_that_did_not(place, monkeypatch, capsys):
    whole, cut = write(place, "whole", joint=False), write(place, "cut", joint=False)
    assert run(whole) == 0
    assert "backward transfer" in capsys.readouterr().out
    save = CheckpointStore.save
    saved: list[Path] = []

    def stop_in_the_second_stage(self, *args, **kwargs):
        saved.append(save(self, *args, **kwargs))
        if "2-hue" in str(saved[-1]):
            raise KeyboardInterrupt
        return saved[-1]

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointStore, "save", stop_in_the_second_stage)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            main(["continual", str(cut)])
    assert saved[-1].name == "checkpoint-2"
    assert not (place / "cut/stages/2-hue/stage.json").exists()
    assert run(cut) == 0
    assert scores_of(place / "cut") == scores_of(place / "whole")
    for stage in ("1-colour", "2-hue"):
        weights = f"stages/{stage}/run/adapter/adapter_model.safetensors"
        assert (place / "cut" / weights).read_bytes() == (place / "whole" / weights).read_bytes()
    first = load_expert("a", place / "whole/stages/1-colour/run/adapter")
    second = load_expert("b", place / "whole/stages/2-hue/run/adapter")
    moved = [not torch.equal(first.modules[m].B, second.modules[m].B) for m in first.modules]
    assert all(moved)


def test_rows_of_units_of_dna_are_trained_on_in_the_next_stage(place):
    path = write(place, "units", joint=False, training={"dna_unit": "single", "max_steps": 2})
    assert run(path) == 0
    configs, rows = [], []
    for stage in ("1-colour", "2-hue"):
        adapter = place / "units/stages" / stage / "run/adapter"
        configs.append(json.loads((adapter / "adapter_config.json").read_text()))
        weights = load_file(adapter / "adapter_model.safetensors")
        rows.append(next(value for name, value in weights.items() if "token" in name))
    assert configs[0]["trainable_token_indices"] == configs[1]["trainable_token_indices"]
    assert rows[0].shape == rows[1].shape
    other = json.loads(write(place, "other-units").read_text())["training"]
    other |= {
        "tasks": ["tiny/hue"],
        "dna_unit": "kmer3",
        "output_dir": str(place / "other-units"),
        "adapter": {"start_from": str(place / "units/stages/1-colour/run/adapter")},
    }
    with pytest.raises(AdapterError, match=r"other tokens than this run.*ADP026"):
        run_training(read_recipe(YamlDocument("other", other, {}, {}), name="other"))


def test_merging_after_a_stage_averages_and_keeps_rank_and_scale(place):
    path = write(place, "merged", strategy="merge_after_stage", joint=False)
    assert run(path) == 0
    stages = place / "merged/stages"
    known = load_expert("known", stages / "1-colour/run/adapter")
    newest = load_expert("newest", stages / "2-hue/run/adapter")
    merged = load_expert("merged", stages / "2-hue/merged")
    for module, factors in merged.modules.items():
        mean = sum(each.modules[module].B @ each.modules[module].A for each in (known, newest)) / 2
        left, values, right = torch.linalg.svd(mean)
        best = left[:, :4] * values[:4] @ right[:4]
        assert torch.allclose(factors.B @ factors.A, best, atol=1e-5)
    config = json.loads((stages / "2-hue/merged/adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (4, 8)
    load_adapter(load_model(str(place / "base")), stages / "2-hue/merged")
    assert len(scores_of(place / "merged")["matrix"]) == 2
