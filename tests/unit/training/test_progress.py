"""What is shown while a run goes."""

from __future__ import annotations

import io
from types import SimpleNamespace

from rich.console import Console

from pipeline.training.progress import ProgressDisplay

LOGS = {"loss": 1.23456, "tokens_per_second": 9876.5}


def make_state(step: int, *, is_first: bool = True) -> SimpleNamespace:
    return SimpleNamespace(global_step=step, max_steps=40, is_world_process_zero=is_first)


def shown(*, terminal: bool, is_first: bool = True) -> str:
    stream = io.StringIO()
    display = ProgressDisplay(Console(file=stream, force_terminal=terminal, width=120))
    display.on_train_begin(None, make_state(0, is_first=is_first), None)
    display.on_step_end(None, make_state(10, is_first=is_first), None)
    display.on_log(None, make_state(10, is_first=is_first), None, logs=LOGS)
    validation = {"eval_loss": 1.5, "eval_worst_loss": 2.5}
    display.on_log(None, make_state(10, is_first=is_first), None, logs=validation)
    display.on_log(None, make_state(10, is_first=is_first), None, logs={"train_runtime": 3.0})
    display.on_train_end(None, make_state(40, is_first=is_first), None)
    return stream.getvalue()


def test_a_file_gets_one_plain_line_per_log():
    assert shown(terminal=False).splitlines() == [
        "step 10/40  loss 1.2346  9,876 tokens/s  0:00:00 left",
        "step 10: validation loss 1.5000, worst task 2.5000",
    ]


def test_a_terminal_gets_a_bar_with_the_numbers():
    text = shown(terminal=True)
    assert "loss 1.2346  9,876 tokens/s" in text
    assert "10/40" in text


def test_other_processes_show_nothing():
    assert shown(terminal=False, is_first=False) == ""
    assert shown(terminal=True, is_first=False) == ""


def test_closing_twice_does_no_harm():
    display = ProgressDisplay(Console(file=io.StringIO(), force_terminal=True))
    display.on_train_begin(None, make_state(0), None)
    display.close()
    display.close()
