"""Flipped bits, cut files and full disks: told before use, and what was saved before stands."""

from __future__ import annotations

import random
import resource
import shutil
from pathlib import Path

from pipeline.errors import OutputError, PipelineError
from pipeline.files import folder_fault
from pipeline.training.checkpoint_folders import (
    check_checkpoint,
    find_newest_checkpoint,
    list_checkpoints,
)
from tests.fixtures.tiny_runs import make_recipe, make_tasks, make_trainer
from tests.soak.outcome import Outcome, timed


def run_flips(folder: Path, *, flips: int, cuts: int, seed: int = 0) -> Outcome:
    """Damage the newest of two checkpoints, one bit or one file's end at a time."""
    chance = random.Random(seed)
    run = folder / "run"
    recipe = make_recipe(run, save_strategy="steps", save_steps=2)
    make_trainer(recipe, make_tasks(folder / "tasks")).train()
    newest, older = run / "checkpoint-4", run / "checkpoint-2"
    files = sorted(path for path in newest.rglob("*") if path.is_file())
    with timed("damaged_checkpoints") as outcome:
        for number in range(flips + cuts):
            path, good, what = damage_one(files, chance, is_flip=number < flips)
            outcome.cases += 1
            outcome.check(_is_refused(newest), f"{path.name}, {what}: not detected")
            found = find_newest_checkpoint(run)
            outcome.check(found.path == older, f"{path.name}, {what}: {found.path} was chosen")
            outcome.check(len(found.skipped) == 1, f"{path.name}, {what}: nobody is told")
            path.write_bytes(good)
        outcome.check(find_newest_checkpoint(run).path == newest, "the whole one is not chosen")
    return outcome


def run_full_disk(folder: Path, *, cases: int, seed: int = 0) -> Outcome:
    """Let writing fail at random offsets of a save, as on a full disk."""
    chance = random.Random(seed)
    tasks = make_tasks(folder / "tasks")
    with timed("disk_full") as outcome:
        largest = _largest_file(folder / "probe", tasks)
        for number in range(cases):
            run = folder / f"run-{number}"
            offset = chance.randrange(largest)
            recipe = make_recipe(run, save_strategy="steps", save_steps=2, max_steps=6)
            events: list[tuple[str, dict]] = []
            trainer = make_trainer(
                recipe,
                tasks,
                on_event=lambda name, details, into=events: into.append((name, details)),
            )
            is_last = number % 2 == 1
            error = _train_with_limit(trainer, 6 if is_last else 4, offset)
            outcome.cases += 1
            kept = "checkpoint-4" if is_last else "checkpoint-2"
            outcome.check(folder_fault(run / kept) is None, f"offset {offset}: {kept} is damaged")
            outcome.check(not list(run.glob(".checkpoint*")), f"offset {offset}: leftovers")
            if is_last:
                outcome.check(isinstance(error, OutputError), f"offset {offset}: got {error!r}")
            else:
                names = [name for name, _ in events]
                outcome.check(error is None, f"offset {offset}: stopped with {error!r}")
                outcome.check(names == ["checkpoint_failed"], f"offset {offset}: told {names}")
                whole = folder_fault(run / "checkpoint-6") is None
                outcome.check(whole, f"offset {offset}: no checkpoint when there is room again")
            for path in list_checkpoints(run):
                outcome.check(folder_fault(path) is None, f"offset {offset}: {path.name}")
            shutil.rmtree(run)
    return outcome


def _train_with_limit(trainer: object, step: int, offset: int) -> PipelineError | None:
    """Train with files limited to `offset` bytes while checkpoint `step` is written."""
    save = trainer._checkpoints.save
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limited(at: int, *args: object, **options: object) -> Path:
        if at == step:
            resource.setrlimit(resource.RLIMIT_FSIZE, (offset, hard))
        try:
            return save(at, *args, **options)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    trainer._checkpoints.save = limited
    try:
        trainer.train()
    except PipelineError as error:
        return error
    return None


def _largest_file(run: Path, tasks: list) -> int:
    recipe = make_recipe(run, save_strategy="steps", save_steps=4)
    make_trainer(recipe, tasks).train()
    return max(path.stat().st_size for path in (run / "checkpoint-4").iterdir())


def damage_one(
    files: list[Path], chance: random.Random, *, is_flip: bool
) -> tuple[Path, bytes, str]:
    """Damage one of the files; return which, what stood in it, and what was done to it."""
    path = _pick_by_size(files, chance)
    good = path.read_bytes()
    what = "flipped" if is_flip else "cut"
    path.write_bytes(_damaged(good, what, chance))
    return path, good, what


def _pick_by_size(files: list[Path], chance: random.Random) -> Path:
    """Pick a file: half the time by its bytes, else any, so that small ones are hit too."""
    if chance.random() < 0.5:
        return chance.choice(files)
    return chance.choices(files, weights=[path.stat().st_size for path in files])[0]


def _damaged(data: bytes, what: str, chance: random.Random) -> bytes:
    """Return data with one bit `flipped`, or its end `cut` off."""
    place = chance.randrange(len(data))
    if what == "cut":
        return data[:place]
    changed = bytearray(data)
    changed[place] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _is_refused(path: Path) -> bool:
    try:
        check_checkpoint(path)
    except PipelineError:
        return True
    return False
