"""Checkpoints that are whole or absent, however many processes write them.

    .checkpoint-20.partial/   filled by all processes, fsynced, manifest last, then renamed to
    checkpoint-20/            weights, optimizer, schedule, random states, run_state.json, manifest

Guaranteed: a folder named `checkpoint-N` either equals its SHA-256 manifest or is told apart from
one that does; an older checkpoint is removed only after a newer one was read back and verified.
What it costs: reading each checkpoint once after writing it. What is not covered: file systems
that do not honour fsync and rename, and folders that the processes do not share.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from safetensors import SafetensorError

from pipeline.errors import CheckpointError, OutputError
from pipeline.files import folder_fault, output_errors, read_json, seal_folder, write_json
from pipeline.training.checkpoint_folders import (
    PREFIX,
    RUN_STATE_FILE,
    list_checkpoints,
    step_of,
)
from pipeline.training.processes import is_loader_death, run_together
from pipeline.types import Json

if TYPE_CHECKING:
    from accelerate import PartialState

_UNREAD_FILES = ("training_args.bin", "README.md")
"""Written by libraries, read by nobody; the first is a pickle."""
_TORCH_WRITER = ("torch", "serialization.py")
"""RuntimeErrors from here are torch's way to say that a file could not be written."""


_RUST_ERROR = re.compile(r"\(os error (\d+)\)$")


class CheckpointPart(Protocol):
    """Something with a small state that must survive a stop: give it to the trainer by name.

    The trainer calls `state` at every save, on the first process, and `load_state` on every
    process before the first step of a resumed run. The state is plain JSON; floats come back
    exactly. It must be the same in all processes.

        MultiTaskTrainer(..., checkpoint_parts={"data": batches, "mixture_policy": policy})
    """

    def state(self, num_completed_steps: int, /) -> dict[str, Json]:
        """Return what must be kept to go on after so many optimizer steps."""
        ...

    def load_state(self, state: dict[str, Json], /) -> None:
        """Take over a state; raise a `PipelineError` where it does not fit this run."""
        ...


def load_parts(checkpoint: Path, parts: Mapping[str, CheckpointPart]) -> None:
    """Hand each part the state it had when the checkpoint was made.

    Raises:
        CheckpointError: A state is missing or unreadable.
        PipelineError: A part finds that the state does not fit this run.
    """
    try:
        states = cast("dict[str, dict[str, Json]]", read_json(checkpoint / RUN_STATE_FILE))
        missing = sorted(set(parts) - set(states))
    except (OSError, ValueError, TypeError) as error:
        raise _unfit(checkpoint, f"{RUN_STATE_FILE} cannot be read") from error
    if missing:
        raise _unfit(checkpoint, f"{RUN_STATE_FILE} has no state of {', '.join(missing)}")
    for name, part in parts.items():
        part.load_state(states[name])


def _unfit(checkpoint: Path, message: str) -> CheckpointError:
    return CheckpointError(
        "CKP003",
        message,
        where=checkpoint,
        hint="It was made by another version of this program; start a new run",
    )


class CheckpointStore:
    """Writes the checkpoints of one run; every process has one and calls it at the same time."""

    def __init__(
        self,
        folder: Path,
        processes: PartialState,
        *,
        num_kept: int | None,
        parts: Mapping[str, CheckpointPart],
    ) -> None:
        """Write into `folder`, which all processes share.

        Args:
            folder: The run folder.
            processes: The group of processes.
            num_kept: Older checkpoints than this many are removed; `None` keeps all.
            parts: What else is saved, by name.
        """
        self.folder = folder
        self.parts = dict(parts)
        self._processes = processes
        self._num_kept = num_kept

    def save(
        self,
        step: int,
        write: Callable[[Path], None],
        *,
        num_bytes: int = 0,
        protected: Sequence[Path] = (),
    ) -> Path:
        """Write checkpoint `step`, verify it, and only then remove what is too old.

        Args:
            step: Optimizer steps made so far.
            write: Writes this process's files into the folder it is given.
            num_bytes: Space the checkpoint will take, checked before anything is written: a disk
                that fills up in the middle could leave processes waiting for each other.
            protected: Checkpoints that are kept however old they are.

        Raises:
            OutputError: The disk is full or cannot be written; nothing has changed.
            TrainingError: That happened in another process.
        """
        target = self.folder / f"{PREFIX}{step}"
        staged = self.folder / f".{target.name}.partial"
        is_main = self._processes.is_main_process
        try:
            self._together(target, lambda: _open_staged(staged, num_bytes) if is_main else None)
            self._together(target, lambda: write(staged))
            self._together(target, lambda: self._seal(staged, target) if is_main else None)
        except BaseException:
            if is_main:
                shutil.rmtree(staged, ignore_errors=True)
            raise
        if is_main:
            self._remove_old(step, protected)
        return target

    def _together(self, target: Path, work: Callable[[], None]) -> None:
        def guarded() -> None:
            with writing_errors(target):
                work()

        run_together(self._processes, guarded)

    def _seal(self, staged: Path, target: Path) -> None:
        step = step_of(target)
        states = {name: part.state(step) for name, part in self.parts.items()}
        write_json(staged / RUN_STATE_FILE, cast("Json", states))
        for name in _UNREAD_FILES:
            (staged / name).unlink(missing_ok=True)
        seal_folder(staged, target)
        fault = folder_fault(target)
        if fault is not None:
            raise OSError(errno.EIO, f"read back, {fault}")

    def _remove_old(self, step: int, protected: Sequence[Path]) -> None:
        if self._num_kept is None:
            return
        # Folders beyond `step` are another run's future or damaged; they are not counted.
        past = [path for path in list_checkpoints(self.folder) if step_of(path) <= step]
        kept = {path.name for path in (*past[-self._num_kept :], *protected)}
        for path in past:
            if path.name not in kept:
                _remove_folder(path)


def check_free_space(folder: Path, num_bytes: int, *, what: str) -> None:
    """Check that a file system has room.

    Args:
        folder: Where files will go; it need not exist yet.
        num_bytes: Space needed.
        what: What needs it, for the message.

    Raises:
        OutputError: There is less free.
    """
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(nearest).free
    if free < num_bytes:
        raise OutputError(
            "OUT002",
            f"{what} need {num_bytes:,} bytes, free are {free:,}",
            where=folder,
            hint="Free some space, or choose another output_dir",
        )


@contextlib.contextmanager
def writing_errors(path: Path) -> Iterator[None]:
    """Turn every way in which libraries say that a disk is full into an `OutputError`.

    Raises:
        OutputError: The path cannot be written. Other errors pass unchanged.
    """
    with output_errors(path):
        try:
            yield
        except SafetensorError as error:
            # While writing, the disk is its only cause.
            raise OSError(errno.EIO, str(error).splitlines()[0]) from error
        except RuntimeError as error:
            frames = traceback.walk_tb(error.__traceback__)
            files = (Path(frame.f_code.co_filename).parts[-2:] for frame, _ in frames)
            if _TORCH_WRITER not in files or is_loader_death(error):
                raise
            raise OSError(errno.EIO, str(error).splitlines()[0]) from error
        except Exception as error:
            # Tokenizers are saved by Rust code, whose errors have no class of their own.
            found = _RUST_ERROR.search(str(error))
            if found is None or isinstance(error, OSError):
                raise
            raise OSError(int(found[1]), os.strerror(int(found[1]))) from error


def _open_staged(staged: Path, num_bytes: int) -> None:
    shutil.rmtree(staged, ignore_errors=True)
    check_free_space(staged.parent, num_bytes, what="files of a checkpoint")
    # Without its parents: a run folder that is gone is not made anew, without all else it held.
    staged.mkdir()


def _remove_folder(path: Path) -> None:
    """Remove a checkpoint so that a crash in between leaves no half of it under its name."""
    doomed = path.with_name(f".{path.name}.old")
    with contextlib.suppress(OSError):
        path.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
