"""A loader lives on through signals to the whole job, and ends when its parent says so."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import psutil
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from pipeline.mixture.loader_signals import obey_parent_only


class Rows(Dataset):
    """Eight rows."""

    def __len__(self):
        return 8

    def __getitem__(self, place):
        return torch.full((3,), place)


@pytest.fixture
def rows():
    loader = DataLoader(Rows(), num_workers=1, worker_init_fn=obey_parent_only)
    rows = iter(loader)
    assert next(rows).tolist() == [[0, 0, 0]]
    return rows


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_of_somebody_else_is_passed_over(rows, number):
    (worker,) = rows._workers
    subprocess.run(["kill", f"-{int(number)}", str(worker.pid)], check=True)
    time.sleep(0.3)
    assert [row[0, 0].item() for row in rows] == [1, 2, 3, 4, 5, 6, 7]


def test_the_parent_can_end_it(rows):
    (worker,) = rows._workers
    process = psutil.Process(worker.pid)
    os.kill(worker.pid, signal.SIGTERM)
    assert process.wait(timeout=10) in (0, None)
