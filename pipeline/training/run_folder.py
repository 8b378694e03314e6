"""The folder of one run: recipe, environment, data report, metrics, checkpoints, adapter.

    recipe.resolved.yaml  environment.json  data_report.json  metrics.jsonl  checkpoint-*/  adapter/
    routing.json, where a router was trained

Guaranteed: nothing is written before the run is known to be able to start; every file but
`metrics.jsonl`, which grows line by line, is whole or absent.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

from pipeline.errors import EXIT_PREEMPTED, PipelineError, TrainingError
from pipeline.files import output_errors, write_json, write_text
from pipeline.recipe import Recipe, load_recipe, write_resolved
from pipeline.training.checkpoint_folders import list_checkpoints, remove_leftovers
from pipeline.training.recipe_record import changed_fields
from pipeline.types import Json

RECIPE_FILE = "recipe.resolved.yaml"
ENVIRONMENT_FILE = "environment.json"
DATA_REPORT_FILE = "data_report.json"
METRICS_FILE = "metrics.jsonl"
ROUTING_FILE = "routing.json"
ADAPTER_FOLDER = "adapter"
STOPPED_FILE = "stopped.json"
"""There after a signal, until the run goes on; a batch script requeues on it."""


class RunFolder:
    """Names and writes the files of a run."""

    def __init__(self, path: Path) -> None:
        """Refer to `path`; nothing is written yet."""
        self.path = path

    @property
    def adapter(self) -> Path:
        """The PEFT folder with the result."""
        return self.path / ADAPTER_FOLDER

    @property
    def metrics(self) -> Path:
        """One JSON object per logged step."""
        return self.path / METRICS_FILE

    @property
    def routing(self) -> Path:
        """How the experts of the adapter were used; there only where a router was trained."""
        return self.path / ROUTING_FILE

    @property
    def checkpoints(self) -> list[Path]:
        """The checkpoint folders, oldest first."""
        return list_checkpoints(self.path)

    def check_free(self, recipe: Recipe) -> None:
        """Check that the folder can be written, and holds no other run. Writes nothing.

        Raises:
            OutputError: The folder cannot be written.
            TrainingError: It holds another run, an unfinished one, or files that are no run.
        """
        with output_errors(self.path):
            nearest = next(folder for folder in (self.path, *self.path.parents) if folder.exists())
            if not nearest.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            if not os.access(nearest, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if recipe.overwrite_output_dir or not self.path.exists() or not any(self.path.iterdir()):
            return
        changed = self._changed_fields(recipe)
        if changed:
            raise TrainingError(
                "TRN001",
                f"this run folder holds another run; differs in: {', '.join(changed)}",
                where=self.path,
                hint="Choose another run_name or output_dir, or set `overwrite_output_dir: true`",
            )
        if recipe.resume_from_checkpoint is None and self.checkpoints and not self.adapter.exists():
            raise TrainingError(
                "TRN009",
                f"this run is unfinished and has {len(self.checkpoints)} checkpoints",
                where=self.path,
                hint=f"Go on with `taskloom resume {self.path}`, or start anew with "
                "`--overwrite_output_dir true`",
            )

    def start(
        self, recipe: Recipe, environment: Json, data_report: Json, *, first_step: int = 0
    ) -> None:
        """Write what is known before the first step, and remove what an earlier run left.

        Args:
            recipe: The recipe of the run.
            environment: From `describe_environment`.
            data_report: What will be trained on.
            first_step: Steps already made, when resuming; what was logged later is removed.

        Raises:
            OutputError: The folder cannot be written.
        """
        with output_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            remove_leftovers(self.path)
            for name in (STOPPED_FILE, ROUTING_FILE):
                (self.path / name).unlink(missing_ok=True)
            self._keep_metrics(first_step)
            stale = [self.adapter] if first_step else [self.adapter, *self.checkpoints]
            for folder in stale:
                shutil.rmtree(folder, ignore_errors=True)
        write_json(self.path / ENVIRONMENT_FILE, environment)
        write_json(self.path / DATA_REPORT_FILE, data_report)
        write_resolved(recipe, self.path / RECIPE_FILE)

    def check_kept(self) -> None:
        """Check that what `start` wrote is still there: a folder that is gone is not made anew.

        Raises:
            OutputError: It is not.
        """
        with output_errors(self.path):
            (self.path / RECIPE_FILE).stat()

    def mark_stopped(self, signal_name: str, *, step: int) -> None:
        """Write that a signal stopped the run: launchers do not hand the exit code on.

        Raises:
            OutputError: The folder cannot be written.
        """
        value: Json = {"stopped_by": signal_name, "step": step, "exit_code": EXIT_PREEMPTED}
        write_json(self.path / STOPPED_FILE, value)

    def _keep_metrics(self, last_step: int) -> None:
        if not self.metrics.exists():
            return
        lines = self.metrics.read_text(encoding="utf-8", errors="replace").splitlines()
        kept = [line for line in lines if 0 <= _step_of(line) <= last_step]
        if last_step and kept:
            write_text(self.metrics, "\n".join([*kept, ""]))
        else:
            self.metrics.unlink()

    def _changed_fields(self, recipe: Recipe) -> list[str]:
        try:
            earlier = load_recipe(self.path / RECIPE_FILE)
        except PipelineError:
            return ["the folder holds files, but no readable recipe.resolved.yaml"]
        return changed_fields(recipe, earlier, resumes=recipe.resume_from_checkpoint is not None)


def _step_of(line: str) -> int:
    """Return the step of a line of the log; -1 where it cannot be read."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return -1
