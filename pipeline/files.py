"""Files that are either whole or absent.

What is guaranteed: a reader never sees a half-written file or folder under its final name.
What it costs: one extra copy on disk while writing, and an fsync per file. What is not covered:
network file systems that do not honour rename.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import socket
import tempfile
import uuid
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import IO, cast

from pipeline.errors import OutputError
from pipeline.types import Json

MANIFEST_NAME = "manifest.json"
"""Written last: a folder without it, or that differs from it, is not complete."""
_MACHINE = socket.gethostname()
"""In the names of staged folders: locks of another machine may be invisible here."""


def cache_root() -> Path:
    """Return the folder for everything that can be built again (`TASKLOOM_CACHE`)."""
    configured = os.environ.get("TASKLOOM_CACHE")
    if configured:
        return Path(configured).expanduser()
    base = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(base).expanduser() / "taskloom"


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_of_json(value: Json) -> str:
    """Return the SHA-256 of a value's canonical JSON text (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def read_json(path: Path) -> Json:
    """Return the JSON value in `path`.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not JSON.
    """
    return cast("Json", json.loads(path.read_text(encoding="utf-8")))


@contextlib.contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn an `OSError` while writing to `path` into a message for the user.

    Raises:
        OutputError: The path cannot be written, e.g. read-only or disk full.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OutputError(
            "OUT001",
            f"cannot write here: {reason}",
            where=path,
            hint="Choose a folder you may write to, with free space",
        ) from error


@contextlib.contextmanager
def open_atomic(path: Path, *, binary: bool = False) -> Iterator[IO[str] | IO[bytes]]:
    """Open a new file beside `path`; move it into place when the block ends without error.

    Raises:
        OutputError: The file cannot be written. Nothing is left behind.
    """
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        staged = Path(name)
        try:
            encoding = None if binary else "utf-8"
            with os.fdopen(descriptor, "wb" if binary else "w", encoding=encoding) as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            staged.chmod(0o644)
            staged.replace(path)
        except BaseException:
            staged.unlink(missing_ok=True)
            raise


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` in one step.

    Raises:
        OutputError: The file cannot be written.
    """
    with open_atomic(path) as stream:
        cast("IO[str]", stream).write(text)


def read_sealed_json(path: Path) -> Json | None:
    """Return what `write_sealed_json` wrote, or `None` where it is missing or damaged."""
    try:
        stored = cast("dict[str, Json]", read_json(path))
        value = stored["value"]
        return value if stored["sha256"] == sha256_of_json(value) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_sealed_json(path: Path, value: Json) -> None:
    """Write `value` with its hash, for caches of a single file.

    Raises:
        OutputError: The file cannot be written.
    """
    write_json(path, {"sha256": sha256_of_json(value), "value": value})


def write_json(path: Path, value: Json) -> None:
    """Write `value` to `path` as indented JSON in one step.

    Raises:
        OutputError: The file cannot be written.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


@contextlib.contextmanager
def staged_folder(path: Path) -> Iterator[Path]:
    """Fill a folder beside `path`; seal it with a manifest and move it into place at the end.

    A folder that is already there is replaced. What a process that was killed staged for `path` on
    this machine is removed; file systems without locks keep it.

    Raises:
        OutputError: The folder cannot be written. Nothing is left behind.
    """
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        with _held_folder(path) as staged:
            yield staged
            staged.chmod(0o755)
            seal_folder(staged, path)


@contextlib.contextmanager
def _held_folder(path: Path) -> Iterator[Path]:
    """Give a new folder beside `path`, locked while this process fills it; removed on errors."""
    staged, descriptor = _new_held_folder(path)
    try:
        yield staged
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    finally:
        os.close(descriptor)


def _new_held_folder(path: Path) -> tuple[Path, int]:
    while True:
        staged = Path(tempfile.mkdtemp(dir=path.parent, prefix=_staging_prefix(path)))
        # Before the lock is taken, another process may find the folder and remove it.
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(staged, os.O_RDONLY)
            if _is_mine(descriptor) and staged.exists():
                return staged, descriptor
            os.close(descriptor)


def _is_mine(descriptor: int) -> bool:
    """Take the lock that keeps others from removing the folder; false where one removes it now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # Without locks nobody removes anything.
    return True


def _remove_abandoned(path: Path) -> None:
    """Remove what processes that were killed while they wrote `path` left beside it."""
    if path.exists():
        for old in _siblings(path, _old_prefix(path)):
            shutil.rmtree(old, ignore_errors=True)
    for staged in _siblings(path, _staging_prefix(path)):
        with contextlib.suppress(OSError):
            descriptor = os.open(staged, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(staged)
            finally:
                os.close(descriptor)


def _siblings(path: Path, prefix: str) -> list[Path]:
    return [each for each in path.parent.iterdir() if each.name.startswith(prefix)]


def _staging_prefix(path: Path) -> str:
    return f".{path.name}.staged.{_MACHINE}."


def _old_prefix(path: Path) -> str:
    return f".{path.name}.old."


def seal_folder(staged: Path, path: Path) -> None:
    """Write the manifest of a filled folder and move it to `path`, so that it outlasts a crash.

    Args:
        staged: Beside `path`, with all its files written and closed.
        path: Final name; a folder that is already there is replaced.

    Raises:
        OSError: The folder cannot be read or moved.
        OutputError: The manifest cannot be written.
    """
    _write_manifest(staged)
    _replace_folder(staged, path)


def is_complete_folder(path: Path) -> bool:
    """Return whether `path` holds exactly what its manifest lists, byte for byte."""
    return folder_fault(path) is None


def folder_fault(path: Path, *, allows_notes: bool = False) -> str | None:
    """Return how a folder differs from its manifest, or `None` where it does not.

    Args:
        path: The folder.
        allows_notes: Whether files may have been added, and Markdown changed, as people do in
            folders that they share.
    """
    try:
        manifest = read_json(path / MANIFEST_NAME)
        listed = cast("dict[str, str]", cast("dict[str, Json]", manifest)["files"])
        if allows_notes:
            listed = {name: digest for name, digest in listed.items() if not name.endswith(".md")}
        found = _hash_files(path, only=listed if allows_notes else None)
        differing = [name for name in listed if name in found and listed[name] != found[name]]
    except FileNotFoundError:
        return f"it has no {MANIFEST_NAME}, so it was never finished"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"its {MANIFEST_NAME} cannot be read"
    kinds = (
        ("missing", sorted(set(listed) - set(found))),
        ("changed since it was written", differing),
        ("not in its manifest", sorted(set(found) - set(listed))),
    )
    return next((f"{', '.join(names)}: {kind}" for kind, names in kinds if names), None)


def check_replaceable(path: Path, *, record: str, sources: Iterable[Path] = ()) -> Path:
    """Check that a folder may be replaced by a result: it is new, empty, or such a result itself.

    Args:
        path: Where the user wants the result.
        record: File that every result of this kind holds.
        sources: Folders that the result is made from.

    Returns:
        `path` in full, with links followed.

    Raises:
        OutputError: Replacing it would remove something else (OUT004).
    """
    with output_errors(path):
        folder = path.resolve()
        reason = None
        if folder.exists() and not folder.is_dir():
            reason = "this is a file"
        elif any(is_inside(source, folder) for source in sources):
            reason = "it holds what the result is made from"
        elif is_inside(Path(), folder):
            reason = "the command runs inside it"
        elif folder.exists() and (foreign := _foreign_files(folder, record)):
            reason = f"it holds {foreign[0]}"
            reason += f" and {len(foreign) - 1} more files" if len(foreign) > 1 else ""
    if reason is not None:
        raise OutputError(
            "OUT004",
            f"a result would replace this, but {reason}",
            where=path,
            hint="Choose a new folder, or an earlier result of this command",
        )
    return folder


def _foreign_files(folder: Path, record: str) -> list[str]:
    """Return the files that are not of a result with this record, all where there is none."""
    found = sorted(
        file.relative_to(folder).as_posix() for file in folder.rglob("*") if not file.is_dir()
    )
    try:
        manifest = cast("dict[str, Json]", read_json(folder / MANIFEST_NAME))
        listed = cast("dict[str, str]", manifest["files"])
        own = {MANIFEST_NAME, *listed} if record in listed else set()
    except (OSError, ValueError, KeyError, TypeError):
        own = set()
    return [name for name in found if name not in own]


@contextlib.contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Let one process of this machine at a time work on `path`; others wait.

    The lock ends with the process that holds it, however it ends. It only saves double work:
    where a file system has no locks, whoever is first to rename still wins.

    Raises:
        OutputError: The folder of `path` cannot be written.
    """
    lock = path.with_name(f".{path.name}.lock")
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _locked(lock)
    try:
        yield
    finally:
        # Removed while it is held, so that nobody can be waiting for the file and get it unnoticed.
        lock.unlink(missing_ok=True)
        os.close(descriptor)


def _locked(lock: Path) -> int:
    """Return a descriptor that holds the lock file, which is still in its place."""
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno in {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS}:
                return descriptor
            os.close(descriptor)
            raise
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), lock.stat()):
                return descriptor
        os.close(descriptor)


def is_inside(path: Path, root: Path) -> bool:
    """Return whether `path`, with links followed, lies inside `root`."""
    return path.resolve().is_relative_to(root.resolve())


def _hash_files(folder: Path, only: Collection[str] | None = None) -> dict[str, str]:
    """Return the SHA-256 of a folder's files by name, or of those in `only`."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    names = {file.relative_to(folder).as_posix(): file for file in files}
    return {
        name: sha256_of_file(file)
        for name, file in names.items()
        if file.name != MANIFEST_NAME and (only is None or name in only)
    }


def _write_manifest(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
        else:
            _fsync_folder(file)
    write_json(folder / MANIFEST_NAME, {"files": cast("Json", _hash_files(folder))})
    _fsync_folder(folder)


def _replace_folder(staged: Path, path: Path) -> None:
    old = path.with_name(f"{_old_prefix(path)}{uuid.uuid4().hex}")
    with contextlib.suppress(FileNotFoundError):
        path.rename(old)
    staged.rename(path)
    _fsync_folder(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def _fsync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
