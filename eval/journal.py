"""Answers on disk while an evaluation runs, so that a killed run goes on where it stopped.

Rows are appended batch by batch. A torn last line is not counted; a row is taken again only if
its prompt is the same, so changed data or wording are asked anew.
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
_DIGITS = 6


class Journal:
    """The answers of one output folder; a context manager."""

    def __init__(self, folder: Path) -> None:
        """Read what earlier runs left in `folder`."""
        self._path = folder / JOURNAL_NAME
        self._known: dict[str, Prediction] = {}
        for row in (*_rows(folder / SAMPLES_NAME, "output"), *_rows(self._path, "text")):
            self._known[row.key] = row
        self._stream: IO[str] | None = None

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
        with output_errors(self._path):
            self._stream.write("".join(_line(prediction) for prediction in rounded))
            self._stream.flush()
        return rounded

    def remove(self) -> None:
        """Delete the file: the evaluation is complete.

        Raises:
            OutputError: The file cannot be deleted.
        """
        with output_errors(self._path):
            self._path.unlink(missing_ok=True)


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
