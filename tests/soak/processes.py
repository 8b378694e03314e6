"""Children made by forking: they start in milliseconds, as everything is imported already."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

BUG = 70


@dataclass
class Child:
    """A forked process and the pipe on which it acknowledges."""

    pid: int
    reader: int
    exit_code: int | None = None
    """Negative: the signal that ended it."""
    text: bytes = b""

    def acknowledged(self, count: int, seconds: float) -> bool:
        """Wait until the child has written `count` lines; False if it ends or time runs out."""
        deadline = time.monotonic() + seconds
        while self.text.count(b"\n") < count:
            ready, _, _ = select.select([self.reader], [], [], max(deadline - time.monotonic(), 0))
            data = os.read(self.reader, 65536) if ready else b""
            if not data:
                return False
            self.text += data
        return True

    def drain(self) -> list[str]:
        """Return every whole line the child has ever written; call it when the child is dead."""
        while data := os.read(self.reader, 65536):
            self.text += data
        return self.text.decode().rpartition("\n")[0].splitlines()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal."""
        if self.exit_code is None:
            os.kill(self.pid, number)

    def wait(self, seconds: float) -> int | None:
        """Return the exit code, or `None` if the child is still there after `seconds`."""
        deadline = time.monotonic() + seconds
        while self.exit_code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.exit_code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > deadline:
                return None
            else:
                time.sleep(0.005)
        return self.exit_code

    def close(self) -> None:
        """Let go of the pipe."""
        os.close(self.reader)


def fork(
    work: Callable[[Callable[[str], None]], int],
    log: Path,
    environment: Mapping[str, str] | None = None,
) -> Child:
    """Run `work` in a child; what it is given writes a line to the parent.

    Args:
        work: Returns the exit code.
        log: Where the child's output goes.
        environment: Variables set in the child.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return Child(pid, reader)
    code = BUG
    try:
        os.close(reader)
        os.environ.update(environment or {})
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        code = work(lambda line: os.write(writer, f"{line}\n".encode()) and None)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def fork_group(
    work: Callable[[Callable[[str], None]], int], log: Path, num_processes: int
) -> list[Child]:
    """Run `work` in processes that find each other, as a launcher starts them; by rank."""
    port = free_port()
    return [
        fork(work, log, group_environment(rank, num_processes, port))
        for rank in range(num_processes)
    ]


def group_environment(rank: int, size: int, port: int) -> dict[str, str]:
    """Return what a launcher sets for one of several processes on this machine."""
    if size == 1:
        return {}
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "ACCELERATE_USE_CPU": "true",
    }


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
