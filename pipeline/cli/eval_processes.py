"""Several processes of one evaluation, as `accelerate launch` starts them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from pipeline.errors import EvalError

if TYPE_CHECKING:
    from accelerate import PartialState

    from eval.harness import Processes

T = TypeVar("T")

_MAX_WAIT = timedelta(days=7)
"""Shares take unequally long; a dead process is noticed by the launcher, not by waiting."""


@dataclass(frozen=True, slots=True)
class Launch:
    """This process among those of its launch."""

    state: PartialState | None
    """`None` where it is alone."""

    @property
    def is_first(self) -> bool:
        """Return whether this process counts, writes and shows."""
        return self.state is None or bool(self.state.is_main_process)

    @property
    def processes(self) -> Processes | None:
        """Return what the harness must know."""
        if self.state is None:
            return None
        from eval.harness import Processes

        return Processes(
            rank=self.state.process_index,
            world_size=self.state.num_processes,
            wait=self._wait,
        )

    def _wait(self) -> None:
        assert self.state is not None
        try:
            self.state.wait_for_everyone()
        except RuntimeError as error:
            raise EvalError(
                "EVL083",
                "stopped because another process has ended",
                where=f"process {self.state.process_index}",
                hint="The same command goes on with the answers there are",
            ) from error

    def first_process_first(self, work: Callable[[], T]) -> T:
        """Do the work in every process, in the first one alone before, which fills the caches.

        Raises:
            PipelineError: What the work raised here, or a word on the process where it did.
        """
        if self.state is None:
            return work()
        from pipeline.training.processes import run_together

        return run_together(self.state, work, main_first=True)


def find_launch() -> Launch:
    """Return this process among those that the environment tells of."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Launch(None)
    import torch
    from accelerate import PartialState

    return Launch(PartialState(cpu=not torch.cuda.is_available(), timeout=_MAX_WAIT))
