"""The simulated APIs of BFCL's conversations, in a process of the official environment."""

from __future__ import annotations

import json
import os
import select
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast

from eval.bfcl import simulator_server
from pipeline.errors import EvalError
from pipeline.types import Json

ANSWER_SECONDS = 60
"""A simulated API answers in milliseconds; one that does not is stuck, e.g. in a huge power."""


class Simulator:
    """Runs calls on simulated APIs; use as a context manager, which ends the process."""

    def __init__(self, python: Path, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        """Start the server with the `python` of an environment with bfcl-eval."""
        self._python = python
        self._answer_seconds = answer_seconds
        self._folder = tempfile.TemporaryDirectory()
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        """Return itself; the process starts with the first request."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process."""
        self._stop()
        self._folder.cleanup()

    def open(self, key: str, scenario: Mapping[str, Json]) -> None:
        """Make fresh instances of a scenario's classes under `key`."""
        self._ask({"op": "open", "key": key, "scenario": dict(scenario)})

    def call(self, key: str, calls: Sequence[str]) -> list[str]:
        """Run calls, as Python text, on the instances of `key`; return the text of each result."""
        answer = self._ask({"op": "call", "key": key, "calls": [*calls]})
        return cast("list[str]", answer["results"])

    def close(self, key: str) -> None:
        """Drop the instances of `key`."""
        self._ask({"op": "close", "key": key})

    def check(
        self,
        scenario: Mapping[str, Json],
        turns: Sequence[Sequence[Sequence[str]]],
        ground_truth: Sequence[Sequence[str]],
    ) -> str | None:
        """Return the official error type of a conversation, or `None` for a right one.

        Args:
            scenario: Classes and their initial state.
            turns: The calls, as Python text, of each step of each turn; steps without a call may
                be left out.
            ground_truth: The right calls of each turn.
        """
        answer = self._ask(
            {
                "op": "check",
                "scenario": dict(scenario),
                "turns": [[[*calls] for calls in steps] for steps in turns],
                "ground_truth": [list(calls) for calls in ground_truth],
            }
        )
        return cast("str | None", answer["error_type"])

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        process = self._process or self._start()
        reader, writer = cast("IO[str]", process.stdout), cast("IO[str]", process.stdin)
        try:
            writer.write(json.dumps(request) + "\n")
            writer.flush()
        except (OSError, ValueError) as error:
            raise self._failure("the simulator ended") from error
        if not select.select([reader], [], [], self._answer_seconds)[0]:
            raise self._failure(f"no answer within {self._answer_seconds:g} seconds")
        line = reader.readline()
        if not line:
            raise self._failure("the simulator ended")
        answer = cast("dict[str, Any]", json.loads(line))
        if "failed" in answer:
            raise self._failure(str(answer["failed"]))
        return answer

    def _start(self) -> subprocess.Popen[str]:
        # The official package makes folders where BFCL_PROJECT_ROOT points.
        environment = {**os.environ, "BFCL_PROJECT_ROOT": self._folder.name}
        command = [
            str(self._python),
            "-W",
            "ignore",
            str(Path(simulator_server.__file__).resolve()),
        ]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own command line, no shell
                command,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        except OSError as error:
            raise self._failure(str(error)) from error
        return self._process

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _failure(self, message: str) -> EvalError:
        self._stop()
        return EvalError(
            "BFC114",
            f"the simulated APIs failed: {message}",
            where=self._python,
            hint="Give the Python of an environment with bfcl-eval and mpmath as --python",
        )
