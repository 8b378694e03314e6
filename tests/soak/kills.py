"""SIGKILL at random points of a save: nothing half written is chosen, nothing saved is lost."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import torch
from safetensors.torch import load_file

from pipeline.errors import PipelineError
from pipeline.files import folder_fault
from pipeline.training.checkpoint_folders import (
    find_newest_checkpoint,
    list_checkpoints,
    remove_leftovers,
    step_of,
)
from tests.fixtures.tiny_runs import make_recipe, make_tasks, make_trainer
from tests.soak.outcome import Outcome, timed
from tests.soak.processes import Child, fork_group
from tests.soak.stopping import StopAt

_FIELDS = {
    "save_strategy": "steps",
    "save_steps": 1,
    "save_total_limit": 2,
    "max_steps": 100_000,
    "lora_dropout": 0.1,
    "lr_scheduler_type": "constant",
}
_START_SECONDS = 180.0
_LIMIT_SECONDS = 60.0


def run(
    folder: Path,
    *,
    cases: int,
    num_processes: int = 1,
    num_loaders: int = 0,
    seed: int = 0,
) -> Outcome:
    """Kill a training run `cases` times while it saves at every step, and go on each time.

    Of several processes sometimes all are killed, sometimes one; then the others must end too.
    With loaders, one of them is killed, and never the process that trains.
    """
    chance = random.Random(seed)
    tasks = make_tasks(folder / "tasks")
    name = f"sigkill_during_save_{num_processes}_processes"
    with timed("sigkill_of_a_loader" if num_loaders else name) as outcome:
        newest = num_unfinished = 0
        for _ in range(cases):
            children = fork_group(
                lambda tell: _train(folder / "run", tasks, tell, num_processes, num_loaders),
                folder / "log.txt",
                num_processes,
            )
            # Up to the third save in a row, so that kills also fall on the removal of old ones.
            num_saves = chance.randint(1, 2)
            started = children[0].acknowledged(num_saves, _START_SECONDS)
            outcome.check(started, _why_not_started(children, folder / "log.txt"))
            began = time.monotonic()
            children[0].acknowledged(num_saves + 1, _START_SECONDS)
            # Evenly over one step with its save, however slow the machine is.
            time.sleep(chance.uniform(0, time.monotonic() - began))
            chance.shuffle(children)
            if num_loaders:
                chance.choice(psutil.Process(children[0].pid).children()).kill()
            else:
                for child in children if chance.random() < 0.5 else children[:1]:
                    child.kill()
            _wait_for_all(children, outcome)
            if num_loaders:
                code = children[0].exit_code
                last = _last_lines(folder / "log.txt")
                outcome.check(code == 2, f"exit code {code} after a loader was killed; {last}")
            outcome.cases += 1
            num_unfinished += any((folder / "run").glob(".checkpoint-*.partial"))
            newest = _judge(folder / "run", newest, children, outcome)
        _compare_with_undisturbed(folder, tasks, newest, outcome, num_processes)
    outcome.note("steps", newest)
    outcome.note("saves_left_unfinished", num_unfinished)
    return outcome


def _why_not_started(children: list[Child], log: Path) -> str:
    codes = [child.wait(0) for child in children]
    return f"no save within {_START_SECONDS} s; exit codes {codes}; {_last_lines(log)}"


def _last_lines(log: Path) -> list[str]:
    return log.read_text().splitlines()[-3:] if log.exists() else []


def _wait_for_all(children: list[Child], outcome: Outcome) -> None:
    killed = time.monotonic()
    for child in children:
        ended = child.wait(_LIMIT_SECONDS) is not None
        outcome.check(ended, f"a process outlives another by {_LIMIT_SECONDS} s")
        if not ended:
            child.kill()
            child.wait(_LIMIT_SECONDS)
    outcome.note("seconds_to_end", time.monotonic() - killed)


def _train(
    run: Path, tasks: list, tell: Callable[[str], None], num_processes: int, num_loaders: int
) -> int:
    found = find_newest_checkpoint(run).path if run.exists() else None
    if run.exists():
        remove_leftovers(run)
    recipe = make_recipe(
        run,
        per_device_train_batch_size=4 // num_processes,
        dataloader_num_workers=num_loaders,
        **_FIELDS,
    )
    trainer = make_trainer(recipe, tasks)
    save = trainer._checkpoints.save

    def told(step: int, *args: object, **options: object) -> Path:
        path = save(step, *args, **options)
        tell(str(step))
        return path

    trainer._checkpoints.save = told
    try:
        trainer.train(resume_from_checkpoint=None if found is None else str(found))
    except PipelineError as error:
        return error.exit_code
    return 0


def _judge(run: Path, newest: int, children: list[Child], outcome: Outcome) -> int:
    """Check what a resumed run would choose, and return its step."""
    told = [int(line) for child in children for line in child.drain()]
    for child in children:
        child.close()
    found = find_newest_checkpoint(run).path
    step = 0 if found is None else step_of(found)
    acknowledged = max([newest, *told])
    outcome.check(step >= acknowledged, f"checkpoint {acknowledged} was saved, {step} is chosen")
    outcome.check(found is None or folder_fault(found) is None, f"{found} is not whole")
    for path in list_checkpoints(run):
        fault = folder_fault(path)
        outcome.check(fault is None, f"{path.name} has its final name, but {fault}")
    return step


def _compare_with_undisturbed(
    folder: Path, tasks: list, steps: int, outcome: Outcome, num_processes: int
) -> None:
    """Train as many steps without a kill: the weights must be the same, bit by bit."""

    def work(tell: Callable[[str], None]) -> int:
        # The order of the data depends on the length of the run, which must stay as it was.
        fields = {**_FIELDS, "save_strategy": "no"}
        size = 4 // num_processes
        recipe = make_recipe(folder / "whole", per_device_train_batch_size=size, **fields)
        stop = StopAt(steps)
        stop.train(make_trainer(recipe, tasks, signals=stop.signals))
        return 0

    children = fork_group(work, folder / "log.txt", num_processes)
    codes = [child.wait(600) for child in children]
    outcome.check(codes == [0] * num_processes, f"undisturbed run ended with {codes}")
    found, wanted = (
        load_file(folder / name / f"checkpoint-{steps}" / "adapter_model.safetensors")
        for name in ("run", "whole")
    )
    same = all(torch.equal(found[name], wanted[name]) for name in wanted)
    outcome.check(same, f"weights after {steps} steps differ from those of the undisturbed run")
