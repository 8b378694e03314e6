"""The command line of training: what it reads and how it ends."""

from __future__ import annotations

import contextlib

import pytest
import torch

from pipeline import train as train_module
from pipeline.errors import AdapterError, AnnotationError, PipelineError, PipelineErrors
from pipeline.train import main
from pipeline.training import group
from pipeline.training.group import group_left
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
    monkeypatch.setattr(group, "_SECONDS_TO_TELL", 0.0)
    assert main([recipe, "--lora_rr", "4"]) == 2
    assert capsys.readouterr().err == ""


def test_an_interrupted_run_ends_without_a_traceback(recipe, monkeypatch):
    def interrupt(recipe: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train_module, "train", interrupt)
    assert main([recipe]) == 130


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
