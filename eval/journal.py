"""Answers on disk while an evaluation runs, so that a killed run goes on where it stopped.

Rows are appended batch by batch, by each process into a file of its own. A torn last line is not
counted; a row is taken again only if its prompt is the same, so changed data or wording are asked
anew. Rows that a server failed to answer are asked again too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from eval.backends.base import Prompt
from eval.results import SAMPLES_NAME
from pipeline.files import output_errors
from pipeline.types import Prediction

JOURNAL_NAME = "samples.partial.jsonl"
_NAME_OF_RANK = "samples.partial.{rank}.jsonl"
_DIGITS = 6


class Journal:
    """The answers of one output folder; a context manager."""

    def __init__(self, folder: Path, *, rank: int = 0) -> None:
        """Read what earlier runs left in `folder`; write to the file of process `rank`."""
        self._folder = folder
        self._path = folder / (_NAME_OF_RANK.format(rank=rank) if rank else JOURNAL_NAME)
        self._known: dict[str, Prediction] = {}
        self._stream: IO[str] | None = None
        self.read()

    def read(self) -> None:
        """Read the answers of all processes so far."""
        for row in _rows(self._folder / SAMPLES_NAME, "output"):
            self._known[row.key] = row
        for path in self._all_paths():
            self._known.update((row.key, row) for row in _rows(path, "text"))

    def _all_paths(self) -> list[Path]:
        others = sorted(self._folder.glob(_NAME_OF_RANK.format(rank="*")))
        return [*others, self._folder / JOURNAL_NAME]

    def __enter__(self) -> Journal:
        """Open for appending.

        Raises:
            OutputError: The folder cannot be written.
        """
        with output_errors(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            _end_last_line(self._path)
            self._stream = self._path.open("a", encoding="utf-8")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file; it stays for the next run."""
        if self._stream is not None:
            self._stream.close()

    def find(self, batch: Sequence[Prompt]) -> list[Prediction] | None:
        """Return the answers to a whole batch, or `None` when one is missing or was asked else.

        Half a batch is asked again as a whole: beside other neighbours a row's numbers would
        differ in the last digits, and the final file would not be the same byte by byte.
        """
        found = [self._known.get(prompt.key) for prompt in batch]
        fitting = [
            row
            for row, prompt in zip(found, batch, strict=True)
            if row is not None and row.prompt_sha256 == prompt.sha256
        ]
        return fitting if len(fitting) == len(batch) else None

    def add(self, predictions: Sequence[Prediction]) -> list[Prediction]:
        """Append answers and return them as a later run will read them.

        Raises:
            OutputError: The disk is full, or the folder is gone.
        """
        assert self._stream is not None, "use the journal as a context manager"
        rounded = [_rounded(prediction) for prediction in predictions]
        answered = [item for item in rounded if item.finish_reason != "failed"]
        with output_errors(self._path):
            self._stream.write("".join(_line(prediction) for prediction in answered))
            self._stream.flush()
        return rounded

    def remove(self) -> None:
        """Delete the files of all processes: the evaluation is complete.

        Raises:
            OutputError: A file cannot be deleted.
        """
        with output_errors(self._path):
            for path in self._all_paths():
                path.unlink(missing_ok=True)


def _rounded(prediction: Prediction) -> Prediction:
    values = prediction.choice_log_likelihoods
    return Prediction(
        key=prediction.key,
        text=prediction.text.encode("utf-8", "replace").decode("utf-8"),
        choice_log_likelihoods=(
            None if values is None else tuple(round(value, _DIGITS) for value in values)
        ),
        prompt_sha256=prediction.prompt_sha256,
        finish_reason=prediction.finish_reason,
        failure=prediction.failure,
    )


def _line(prediction: Prediction) -> str:
    values = prediction.choice_log_likelihoods
    row = {
        "key": prediction.key,
        "prompt_sha256": prediction.prompt_sha256,
        "text": prediction.text,
        "finish_reason": prediction.finish_reason,
        "choices": None if values is None else {"log_likelihood": list(values)},
    }
    return json.dumps(row, ensure_ascii=False) + "\n"


def _rows(path: Path, text_name: str) -> Iterator[Prediction]:
    """Yield the whole rows of a file; a torn or foreign line is skipped and asked again."""
    if not path.is_file():
        return
    for line in path.read_bytes().split(b"\n"):
        try:
            row = json.loads(line)
            if row["finish_reason"] == "failed":
                continue
            choices = row.get("choices")
            values = None if choices is None else choices["log_likelihood"]
            yield Prediction(
                key=row["key"],
                text=row[text_name],
                choice_log_likelihoods=None if values is None else tuple(values),
                prompt_sha256=row["prompt_sha256"],
                finish_reason=row["finish_reason"],
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            continue


def _end_last_line(path: Path) -> None:
    """End a torn last line, so that the next row starts on its own line."""
    if path.is_file() and path.stat().st_size > 0:
        with path.open("rb+") as stream:
            stream.seek(-1, 2)
            if stream.read(1) != b"\n":
                stream.write(b"\n")
