"""SIGTERM and SIGUSR1 at random times: exit code 75, and not a step is lost."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.files import folder_fault
from pipeline.recipe import Recipe
from pipeline.training.checkpoint_folders import list_checkpoints, step_of
from tests.fixtures.tiny_mirror import write_tiny_mirror
from tests.fixtures.tiny_models import save_tiny_model
from tests.soak.outcome import Outcome, timed
from tests.soak.processes import fork

_LIMIT_SECONDS = 60.0


def run(folder: Path, *, cases: int, seed: int = 0) -> Outcome:
    """Stop a run of `pipeline.train` `cases` times, at random times, saves included."""
    chance = random.Random(seed)
    annotations, mirror = write_tiny_mirror(folder)
    save_tiny_model(folder / "base")
    recipe = Recipe.model_validate(
        {
            "model_name_or_path": str(folder / "base"),
            "annotations": [str(annotations)],
            "data_root": str(mirror),
            "tasks": ["tiny/colour", "tiny/calls"],
            "mixture": {"max_epochs_per_task": None},
            "run_name": "stops",
            "output_dir": str(folder / "run"),
            "max_length": 192,
            "max_steps": 100_000,
            "logging_steps": 1,
            "save_strategy": "steps",
            "save_steps": 3,
            "resume_from_checkpoint": "auto",
            "bf16": False,
        }
    )

    def work(tell: Callable[[str], None]) -> int:
        from pipeline.errors import PipelineError
        from pipeline.training import run as run_module
        from pipeline.training.run import run_training
        from pipeline.training.trainer import MultiTaskTrainer

        class Telling(MultiTaskTrainer):
            def _get_grad_norm(self, *args: object, **options: object) -> object:
                tell(str(self.state.global_step + 1))
                return super()._get_grad_norm(*args, **options)

        run_module.MultiTaskTrainer = Telling
        try:
            run_training(recipe)
        except PipelineError as error:
            return error.exit_code
        return 0

    with timed("signals_during_training") as outcome:
        for _ in range(cases):
            child = fork(work, folder / "log.txt")
            started = child.acknowledged(chance.randint(1, 4), _LIMIT_SECONDS)
            outcome.check(started, "training did not start")
            time.sleep(chance.uniform(0, 0.1))
            child.kill(chance.choice([signal.SIGTERM, signal.SIGUSR1]))
            sent = time.monotonic()
            code = child.wait(_LIMIT_SECONDS)
            outcome.note("seconds_to_stop", time.monotonic() - sent)
            outcome.cases += 1
            outcome.check(code == 75, f"exit code {code}")
            if code is None:
                child.kill()
                child.wait(10)
            made = max(map(int, child.drain()), default=0)
            child.close()
            newest = list_checkpoints(folder / "run")[-1]
            outcome.check(step_of(newest) == made, f"{made} steps made, {newest.name} saved")
            outcome.check(folder_fault(newest) is None, f"{newest.name} is not whole")
    return outcome
