"""`pipeline.train` with faults put in: `python -m tests.distributed.faulty_training FAULT ...`.

A fault is `kind:process:step`, with steps from 1 on; several are joined by commas. Kinds: `nan`
(activations), `inf_gradient`, `out_of_memory`, `sigterm`, `sigusr1`, `kill`, `slow` (0.2 s), and
those of `tests.fixtures.lost_folders` to the run folder; `_at_end` is after the last log.
FSDP runs on CPUs, as in `fsdp_on_cpu`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from pipeline.process_group import leave_process
from pipeline.train import main
from pipeline.training import run as run_module
from pipeline.training.trainer import MultiTaskTrainer
from tests.distributed.fsdp_on_cpu import take_cpus_for_gpus
from tests.fixtures.lost_folders import LOSSES

SIGNALS = {"sigterm": signal.SIGTERM, "sigusr1": signal.SIGUSR1, "kill": signal.SIGKILL}


class FaultyTrainer(MultiTaskTrainer):
    """The trainer, with the faults of this process."""

    faults: list[tuple[str, int]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        model = self.model.get_base_model()
        model.model.norm.register_forward_hook(self._after_last_layer)

    def is_due(self, kind: str) -> bool:
        step = self.state.global_step + 1
        return self.model.training and (kind, step) in self.faults

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        for kind, number in SIGNALS.items():
            if self.is_due(kind):
                os.kill(os.getpid(), number)
        if any(kind == "slow" for kind, _ in self.faults):
            time.sleep(0.2)
        for kind, lose in LOSSES.items():
            if self.is_due(kind):
                lose(Path(str(self.args.output_dir)))
        return super().training_step(*args, **kwargs)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        outcome = super().train(*args, **kwargs)
        for kind, lose in LOSSES.items():
            if any(fault == f"{kind}_at_end" for fault, _ in self.faults):
                lose(Path(str(self.args.output_dir)))
        return outcome

    def _after_last_layer(self, module: Any, inputs: Any, output: torch.Tensor) -> Any:
        if self.is_due("out_of_memory") and len(output) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        if self.is_due("nan"):
            return output * float("nan")
        if self.is_due("inf_gradient"):
            output.register_hook(lambda grad: grad * float("inf"))
        return None


def faults_of(text: str, process: int) -> list[tuple[str, int]]:
    """Return kind and step of this process's faults."""
    parts = [fault.split(":") for fault in text.split(",")]
    return [(kind, int(step)) for kind, rank, step in parts if int(rank) == process]


def run(arguments: list[str], replace: Callable[[str, Any], None]) -> int:
    """Train with faults and return the exit code."""
    FaultyTrainer.faults = faults_of(arguments[0], int(os.environ.get("RANK", "0")))
    replace("MultiTaskTrainer", FaultyTrainer)
    if os.environ.get("ACCELERATE_USE_FSDP") == "true":
        take_cpus_for_gpus()
    return main(arguments[1:])


if __name__ == "__main__":
    leave_process(run(sys.argv[1:], lambda name, value: setattr(run_module, name, value)))
