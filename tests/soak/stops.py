"""SIGTERM and SIGUSR1 at random times: exit code 75, and not a step is lost."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.files import folder_fault
from pipeline.training.checkpoint_folders import list_checkpoints, step_of
from tests.fixtures.tiny_recipe import write_tiny_recipe
from tests.soak.outcome import Outcome, timed
from tests.soak.processes import Child, fork_group

_LIMIT_SECONDS = 60.0


def run(folder: Path, *, cases: int, num_processes: int = 1, seed: int = 0) -> Outcome:
    """Stop a run of `pipeline.train` `cases` times, at random times, saves included.

    Of several processes sometimes all receive the signal, sometimes one.
    """
    chance = random.Random(seed)
    recipe = write_tiny_recipe(
        folder,
        mixture={"max_epochs_per_task": None},
        run_name="stops",
        max_steps=100_000,
        logging_steps=1,
        save_strategy="steps",
        save_steps=3,
        resume_from_checkpoint="auto",
        per_device_train_batch_size=4 // num_processes,
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

    with timed(f"signals_during_training_{num_processes}_processes") as outcome:
        for _ in range(cases):
            children = fork_group(work, folder / "log.txt", num_processes)
            started = children[0].acknowledged(chance.randint(1, 4), _LIMIT_SECONDS)
            outcome.check(started, "training did not start")
            time.sleep(chance.uniform(0, 0.1))
            chance.shuffle(children)
            number = chance.choice([signal.SIGTERM, signal.SIGUSR1])
            for child in children if chance.random() < 0.5 else children[:1]:
                child.kill(number)
            _judge(folder / "run", children, outcome)
            outcome.cases += 1
    return outcome


def _judge(run: Path, children: list[Child], outcome: Outcome) -> None:
    sent = time.monotonic()
    codes = [child.wait(_LIMIT_SECONDS) for child in children]
    outcome.note("seconds_to_stop", time.monotonic() - sent)
    outcome.check(codes == [75] * len(children), f"exit codes {codes}")
    made = 0
    for child in children:
        if child.exit_code is None:
            child.kill()
            child.wait(_LIMIT_SECONDS)
        made = max([made, *map(int, child.drain())])
        child.close()
    newest = list_checkpoints(run)[-1]
    outcome.check(step_of(newest) == made, f"{made} steps made, {newest.name} saved")
    outcome.check(folder_fault(newest) is None, f"{newest.name} is not whole")
