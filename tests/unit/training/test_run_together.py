"""Processes that fail, or go on, together; real ones are in tests/distributed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from pipeline.errors import ModelError, PipelineError, TrainingError
from pipeline.training import processes
from pipeline.training.processes import is_loader_death, run_together, tell_loader_death


def make_state(index: int, count: int = 2) -> SimpleNamespace:
    return SimpleNamespace(
        num_processes=count, process_index=index, is_local_main_process=index == 0
    )


@pytest.fixture
def gathered(monkeypatch):
    """What each process would report, by round; the test fills in the other's part."""
    rounds: list[list[tuple[str, int] | None]] = []
    monkeypatch.setattr(processes, "gather_object", lambda mine: rounds.pop(0))
    return rounds


def fail() -> None:
    raise ModelError("MOD001", "no such model folder")


def test_one_process_just_works():
    assert run_together(make_state(0, 1), lambda: 3) == 3


def test_all_go_on_when_none_failed(gathered):
    gathered[:] = [[None, None]]
    assert run_together(make_state(1), lambda: 3) == 3


def test_the_first_process_fills_the_cache_before_the_others_start(gathered):
    gathered[:] = [[None, None], [None, None]]
    seen = []
    assert run_together(make_state(1), lambda: seen.append(len(gathered)), main_first=True) is None
    assert seen == [1]


def test_a_process_raises_its_own_mistake(gathered):
    gathered[:] = [[("no such model folder. [MOD001]", 2), None]]
    with pytest.raises(ModelError):
        run_together(make_state(0), fail)


def test_a_process_stops_for_the_mistake_of_another_and_names_it(gathered):
    gathered[:] = [[None, ("no such model folder. [MOD001]", 2)]]
    with pytest.raises(TrainingError) as caught:
        run_together(make_state(0), lambda: 3)
    assert str(caught.value) == (
        "process 0: stopped because process 1 stopped: no such model folder. [MOD001]. [TRN006]"
    )


def test_a_signal_to_another_process_asks_for_a_requeue_here_too(gathered):
    gathered[:] = [[None, ("stopped by SIGTERM", 75)]]
    with pytest.raises(TrainingError) as caught:
        run_together(make_state(0), lambda: 3)
    assert caught.value.exit_code == 75


def test_the_others_do_not_start_when_the_first_failed(gathered):
    gathered[:] = [[("no such model folder. [MOD001]", 2), None]]
    seen = []
    with pytest.raises(TrainingError):
        run_together(make_state(1), lambda: seen.append(1), main_first=True)
    assert seen == []


class Rows(Dataset):
    """Two rows."""

    def __len__(self):
        return 2

    def __getitem__(self, place):
        return torch.zeros(3)


def test_a_batch_that_a_dead_loader_announced_is_told_as_its_death(monkeypatch):
    rows = iter(DataLoader(Rows(), num_workers=1))

    def lost(timeout):
        raise ConnectionResetError("the process that holds the batch is gone")

    monkeypatch.setattr(rows._data_queue, "get", lost)
    with pytest.raises(ConnectionResetError) as caught:
        next(rows)
    assert is_loader_death(caught.value)
    assert not is_loader_death(ConnectionResetError("of a tracker"))


def killed() -> RuntimeError:
    """What torch raises from its signal handler."""
    return RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")


def told() -> PipelineError:
    return TrainingError("TRN016", "a loader was killed")


def test_what_a_dead_loader_leads_to_is_told_as_its_death():
    def write():
        try:
            raise killed()
        finally:
            raise RuntimeError("unexpected pos 64 vs 0")

    with pytest.raises(TrainingError, match="TRN016"):
        tell_loader_death(write, told)


def test_a_death_that_is_signalled_while_its_first_sign_is_handled_is_told(monkeypatch):
    signals = iter([killed()])

    def interrupted(error):
        for signal in signals:
            raise signal
        return is_loader_death(error)

    monkeypatch.setattr(processes, "is_loader_death", interrupted)

    def ask():
        raise ConnectionResetError("the process that holds the batch is gone")

    with pytest.raises(TrainingError, match="TRN016"):
        tell_loader_death(ask, told)


@pytest.mark.parametrize("error", [RuntimeError("of a layer"), KeyError("task")])
def test_other_errors_pass(error):
    def fail():
        raise error

    with pytest.raises(type(error)) as caught:
        tell_loader_death(fail, told)
    assert caught.value is error
    assert tell_loader_death(lambda: 3, told) == 3
