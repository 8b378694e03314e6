"""Trainings of the studies and their evaluations, by the commands that users type."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from eval.results import RESULTS_NAME
from pipeline.cli.main import main as taskloom
from pipeline.train import main as train


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One training and its evaluation."""

    recipe: Path
    folder: Path
    """Of the run."""
    arguments: tuple[str, ...]
    """Fields that go on top of the recipe."""

    @property
    def adapter(self) -> Path:
        """Return the folder of the adapter."""
        return self.folder / "adapter"

    @property
    def results(self) -> Path:
        """Return the folder of the adapter's evaluation."""
        return self.folder / "eval" / "adapter"

    @property
    def is_evaluated(self) -> bool:
        """Return whether there is an evaluation."""
        return (self.results / RESULTS_NAME).is_file()

    def train(self, data_root: Path) -> None:
        """Train, unless there is an adapter."""
        if self.adapter.is_dir():
            return
        if code := train([*self._fields, "--data_root", str(data_root)]):
            sys.exit(code)

    def evaluate(self, data_root: Path) -> None:
        """Evaluate, unless that has been done."""
        if not self.is_evaluated:
            run_command("--data-root", str(data_root), "eval", "--recipe", *self._fields)

    @property
    def _fields(self) -> list[str]:
        return [str(self.recipe), *self.arguments, "--output_dir", str(self.folder)]


def run_command(*arguments: str) -> None:
    """Run a command of taskloom; its mistakes end the program."""
    try:
        taskloom(arguments)
    except SystemExit as ended:
        if ended.code:
            raise
