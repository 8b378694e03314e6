"""What several runs, and several processes, do with one folder."""

from __future__ import annotations

from dataclasses import replace

import pytest

from eval.backends.given_backend import GivenBackend
from eval.harness import SETTINGS_NAME, Processes, answer_share, evaluate
from eval.progress import SilentProgress
from eval.tasks import EvalTask
from pipeline.errors import EvalError
from pipeline.types import Prediction, TaskExample, TaskSpec


class Stopped(Exception):
    """Stands for a process that ends while it waits."""


class Resumed(SilentProgress):
    def __init__(self):
        self.counts = []

    def resume(self, task, count):
        self.counts.append((task, count))


def make_task(num_rows=4):
    spec = TaskSpec(id="t", kind="text", family="f", instruction="Say.", metrics=("exact_match",))
    rows = [
        TaskExample(key=f"t/test/{n}", task="t", split="test", inputs={"text": f"{n}"}, target="a")
        for n in range(num_rows)
    ]
    return EvalTask(spec=spec, examples=rows)


def make_backend(task, name="model"):
    return GivenBackend({row.key: "a" for row in task.examples}, name=name)


def processes(rank, wait):
    return Processes(rank=rank, world_size=2, wait=wait)


def test_the_others_touch_the_folder_only_after_the_first_has_checked_it(tmp_path):
    def stop():
        raise Stopped

    task = make_task()
    with pytest.raises(Stopped):
        answer_share(
            make_backend(task), [task], output_folder=tmp_path / "run", processes=processes(1, stop)
        )
    assert not (tmp_path / "run").exists()


def test_the_first_process_lets_the_others_go_when_the_folder_is_its_own(tmp_path):
    task, seen = make_task(), []

    def wait():
        seen.append((tmp_path / "run" / SETTINGS_NAME).is_file())
        raise Stopped

    def run(name):
        evaluate(
            make_backend(task, name),
            [task],
            output_folder=tmp_path / "run",
            processes=processes(0, wait),
        )

    with pytest.raises(Stopped):
        run("model")
    with pytest.raises(EvalError, match="EVL024"):
        run("another")
    assert seen == [True]


def test_answers_that_are_taken_over_are_told(tmp_path):
    task, told = make_task(), Resumed()
    for _ in range(2):
        evaluate(make_backend(task), [task], output_folder=tmp_path / "run", progress=told)
    assert told.counts == [("t", 0), ("t", 4)]


def test_a_prompt_that_is_too_long_was_not_cut_off(tmp_path):
    class Small(GivenBackend):
        def prompts(self, requests, *, max_new_tokens):
            first, *others = super().prompts(requests, max_new_tokens=max_new_tokens)
            return [replace(first, is_too_long=True), *others]

        def generate(self, batch, *, max_new_tokens):
            return [Prediction(key=prompt.key, text="", finish_reason="length") for prompt in batch]

    result = evaluate(Small({}, name="x"), [make_task()], output_folder=tmp_path / "run")
    assert result.tasks[0].num_cut_off == 3
    assert dict(result.tasks[0].failures) == {"prompt_too_long": 1, "empty": 3}
