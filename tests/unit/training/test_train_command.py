"""The command line of training: what it reads and how it ends."""

from __future__ import annotations

import contextlib
import signal

import pytest
import torch

from pipeline import process_group
from pipeline import train as train_module
from pipeline.cli import main as cli
from pipeline.errors import AdapterError, AnnotationError, PipelineError, PipelineErrors
from pipeline.process_group import group_left, heard_if_alone, tell_once
from pipeline.train import main
from pipeline.training.processes import OneProcessError


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("model_name_or_path: embedded\ntasks: [codah]\n")
    return str(path)


def test_a_recipe_and_fields_reach_training(recipe, monkeypatch):
    seen = []
    monkeypatch.setattr(train_module, "train", seen.append)
    assert main([recipe, "--lora_r", "4"]) == 0
    assert (seen[0].lora_r, seen[0].run_name) == (4, "mine")


@pytest.mark.parametrize("arguments", [[], ["--lora_r", "4"]])
def test_without_a_recipe_the_usage_is_told(arguments, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().err == (
        "command line: no recipe file given. Usage: python -m pipeline.train RECIPE "
        "[--field value ...]. [REC009]\n"
    )


def test_help_is_no_error(capsys):
    assert main(["--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: python -m pipeline.train RECIPE")


def test_every_mistake_is_a_line_and_the_exit_code_is_two(recipe, monkeypatch, capsys):
    def fail(recipe: object) -> None:
        raise PipelineErrors([AnnotationError("ANN160", "one"), AdapterError("ADP001", "two")])

    monkeypatch.setattr(train_module, "train", fail)
    assert main([recipe]) == 2
    assert capsys.readouterr().err == "one. [ANN160]\ntwo. [ADP001]\n"


def test_only_the_first_process_tells(recipe, monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(process_group, "_SECONDS_TO_TELL", 0.0)
    assert main([recipe, "--lora_rr", "4"]) == 2
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("rank", ["0", "1"])
@pytest.mark.parametrize("steps", [(), (30, 4)])
def test_an_interrupted_run_tells_once_what_is_left_of_it(
    tmp_path, recipe, monkeypatch, capsys, steps, rank
):
    def interrupt(recipe: object) -> None:
        raise KeyboardInterrupt

    run = tmp_path / "run"
    for step in steps:
        (run / f"checkpoint-{step}").mkdir(parents=True)
    ignored = []
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setattr(train_module, "train", interrupt)
    monkeypatch.setattr(train_module.signal, "signal", lambda *given: ignored.append(given))
    assert main([recipe, "--output_dir", str(run)]) == 130
    assert ignored == [(signal.SIGINT, signal.SIG_IGN)]
    kept = (
        f"go on from {run}/checkpoint-30 with `taskloom resume {run}`"
        if steps
        else "there is no checkpoint to go on from"
    )
    told = f"interrupted; {kept}. SIGTERM in place of Ctrl-C saves the last step\n"
    assert capsys.readouterr().err == (told if rank == "0" else "")


@pytest.mark.parametrize(
    ("error", "stays"),
    [
        (None, False),
        (AdapterError("ADP001", "all met it"), False),
        (OneProcessError("T", "I"), True),
    ],
)
def test_the_group_of_processes_is_left_unless_others_may_wait(error, stays):
    distributed = torch.distributed
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        with contextlib.suppress(PipelineError), group_left():
            if error is not None:
                raise error
        assert distributed.is_initialized() is stays
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


def test_a_mistake_that_the_first_process_has_not_met_is_told_by_another(monkeypatch):
    monkeypatch.setattr(process_group, "_SECONDS_TO_TELL", 0.0)
    told: list[str] = []
    for rank in "01":
        monkeypatch.setenv("RANK", rank)
        error = AdapterError("ADP001", f"met by {rank}")
        with contextlib.suppress(AdapterError), heard_if_alone():
            raise error
        assert error.is_of_one_process is (rank == "1")
        assert tell_once(error, told.append) == 2
    assert told == ["met by 0. [ADP001]", "met by 1. [ADP001]"]


@pytest.mark.parametrize(("arguments", "code"), [(["--version"], 0), (["no-such-verb"], 2)])
def test_the_other_commands_end_as_training_does(arguments, code, monkeypatch):
    codes: list[int] = []
    monkeypatch.setattr(cli, "leave_process", codes.append)
    cli.main(arguments)
    assert codes == [code]


def test_a_mistake_in_another_command_is_told_by_the_first_process(monkeypatch, capsys):
    monkeypatch.setattr(process_group, "_SECONDS_TO_TELL", 0.0)
    for rank in "01":
        monkeypatch.setenv("RANK", rank)
        with pytest.raises(SystemExit) as caught:
            cli.main(["report", "no-such-run", "--out", "unused"])
        assert caught.value.code == 2
    assert capsys.readouterr().err.count("no-such-run") == 1


def test_a_process_that_never_joined_the_others_ends_as_any_does(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SystemExit) as caught:
        process_group.leave_process(3)
    assert caught.value.code == 3
