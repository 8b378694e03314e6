"""Starts the processes of a launch by forking one that has imported everything.

`accelerate launch` reads its configuration and prepares the environment as ever. Only the agent at
its end is replaced, which would start every process from nothing, ten seconds each. That agent is
in `test_processes`, where engines are launched as a user does it.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.soak.processes import BUG, free_port

REPOSITORY = Path(__file__).resolve().parents[2]
_GRACE_SECONDS = 30.0


class Nursery:
    """The process that forks, and the pipes to it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.distributed.nursery"],
            cwd=REPOSITORY,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def launch(
        self, arguments: list[str], *, log: Path, environment: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run `accelerate launch` with these arguments; what it writes goes to `log`."""
        request = {"arguments": arguments, "log": str(log), "environment": environment}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        code = json.loads(self._process.stdout.readline())
        return subprocess.CompletedProcess(arguments, code, "", log.read_text())


@functools.cache
def nursery() -> Nursery:
    """Return the one of this test session; it ends with its standard input."""
    return Nursery()


def serve() -> None:
    """Launch what each line of the standard input asks for, and answer with the exit code."""
    # Libraries greet on the standard output.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import torch.distributed.run as agent
    from accelerate.commands.launch import launch_command, launch_command_parser

    import pipeline.training.run  # noqa: F401

    if importlib.util.find_spec("deepspeed"):
        import deepspeed

        # Reductions in C++, which would be compiled for a minute; without them gloo reduces.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    codes: list[int] = []
    agent.run = lambda args: codes.append(_run_all(args))
    for line in sys.stdin:
        request = json.loads(line)
        before = dict(os.environ)
        os.environ.update(request["environment"], NURSERY_LOG=request["log"])
        Path(request["log"]).write_text("")
        launch_command(launch_command_parser().parse_args(request["arguments"]))
        os.environ.clear()
        os.environ.update(before)
        answers.write(f"{codes.pop()}\n")
        answers.flush()


def _run_all(args: Any) -> int:
    """Fork the workers; when one fails, end the others. Return the code of the first that did."""
    count, port = int(args.nproc_per_node), free_port()
    running = {_fork(rank, count, port, args) for rank in range(count)}
    code, deadline = 0, float("inf")
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid in running:
            running.discard(pid)
            ended = os.waitstatus_to_exitcode(status)
            if ended and not code:
                code, deadline = ended, time.monotonic() + _GRACE_SECONDS
                _signal_all(running, signal.SIGTERM)
        elif time.monotonic() > deadline:
            _signal_all(running, signal.SIGKILL)
        else:
            time.sleep(0.02)
    return code


def _signal_all(pids: set[int], number: int) -> None:
    for pid in pids:
        os.kill(pid, number)


def _fork(rank: int, count: int, port: int, args: Any) -> int:
    pid = os.fork()
    if pid:
        return pid
    code: object = BUG
    try:
        os.environ |= {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(count),
            "LOCAL_WORLD_SIZE": str(count),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        log = os.open(os.environ["NURSERY_LOG"], os.O_WRONLY | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.argv = [args.training_script, *args.training_script_args]
        runpy.run_module(args.training_script, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as stop:
        code = stop.code or 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else BUG)


if __name__ == "__main__":
    serve()
