"""Progress of an evaluation, shown or not."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID


class Progress(Protocol):
    """What the harness tells while it works; one bar per task."""

    def resume(self, task: str, count: int) -> None:
        """Say that an earlier run has answered `count` rows of `task`; told before `start`."""
        ...

    def start(self, task: str, total: int) -> None:
        """Say that `task` with `total` rows begins."""
        ...

    def advance(self, task: str, count: int) -> None:
        """Say that `count` more rows of `task` are answered."""
        ...

    def finish(self, task: str, summary: str) -> None:
        """Say that `task` is done, with its headline number."""
        ...


class SilentProgress:
    """Shows nothing."""

    def resume(self, task: str, count: int) -> None:
        """Do nothing."""

    def start(self, task: str, total: int) -> None:
        """Do nothing."""

    def advance(self, task: str, count: int) -> None:
        """Do nothing."""

    def finish(self, task: str, summary: str) -> None:
        """Do nothing."""


class RichProgress:
    """Bars on a terminal, one per task; a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        """Draw on `console`, or on standard error."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            TextColumn("{task.fields[summary]}", markup=False),
            console=console or Console(stderr=True),
        )
        self._ids: dict[str, TaskID] = {}
        self.num_resumed = 0

    def __enter__(self) -> RichProgress:
        """Start drawing."""
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop drawing; the bars stay on the screen."""
        self._bars.stop()

    def resume(self, task: str, count: int) -> None:
        """Count the rows of all tasks in `num_resumed`."""
        del task
        self.num_resumed += count

    def start(self, task: str, total: int) -> None:
        """Add a bar."""
        self._ids[task] = self._bars.add_task(task, total=total, summary="")

    def advance(self, task: str, count: int) -> None:
        """Move a bar."""
        self._bars.advance(self._ids[task], count)

    def finish(self, task: str, summary: str) -> None:
        """Fill a bar and write the summary beside it."""
        bar = self._ids[task]
        total = self._bars.tasks[self._bars.task_ids.index(bar)].total
        self._bars.update(bar, completed=total, summary=summary)
