"""Rows of JSON Lines files, exactly as they are written.

Arrow's and `datasets`' JSON readers give every struct the union of the keys seen, and round floats
while re-encoding mixed columns (`8.854e-12` became `0.0` in one release). Function-calling rows do
not survive that, so rows are parsed line by line here and never unified.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

import numpy as np

from pipeline.errors import SourceError, SourceMark
from pipeline.sources.batches import Row
from pipeline.sources.guards import read_errors
from pipeline.sources.remote import DataFile, num_bytes, open_bytes
from pipeline.types import Json

MAX_ROW_BYTES = 1 << 20
"""A longer row is skipped and counted: it would not fit any model's context."""
MAX_LINE_BYTES = 16 << 20
"""A longer line is an error: it is no JSON Lines file, and must not fill the memory."""
MAX_ARRAY_BYTES = 2 << 30
"""A JSON array is read as a whole; a longer one must be converted."""
MAX_EXPANSION = 100
"""Bytes out per byte in of a gzip file; beyond it the file is taken for a bomb."""
_FREE_EXPANSION_BYTES = 64 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

BLOCK_BYTES = 1 << 20
"""Bytes read at a time; whole lines, so a block may be longer by one line."""
_IS_SPACE = np.isin(np.arange(256), np.frombuffer(b" \t\n\r\x0b\x0c", dtype=np.uint8))


@dataclass(frozen=True, slots=True)
class LineBlock:
    """Consecutive lines of a file."""

    text: bytes
    first_line: int
    """Line number of the first, counted from 1."""
    first_row: int
    """Row number of the first non-empty line."""
    num_lines: int
    num_rows: int
    """Non-empty lines."""
    max_bytes: int
    """Bytes of the longest line."""

    @classmethod
    def of(cls, text: bytes, first_line: int, first_row: int) -> LineBlock:
        """Measure the lines of `text` without splitting it."""
        content = np.frombuffer(text, dtype=np.uint8)
        ends = np.flatnonzero(content == 0x0A)
        if not text.endswith(b"\n"):
            ends = np.append(ends, len(text))
        starts = np.concatenate([[0], ends[:-1] + 1])
        lengths = ends - starts
        # Only a line that is empty or begins with space can be blank.
        doubtful = np.flatnonzero((lengths == 0) | _IS_SPACE[content[starts]])
        num_blank = sum(1 for line in doubtful if not text[starts[line] : ends[line]].strip())
        return cls(
            text=text,
            first_line=first_line,
            first_row=first_row,
            num_lines=len(ends),
            num_rows=len(ends) - num_blank,
            max_bytes=int(lengths.max()),
        )

    def lines(self) -> list[bytes]:
        """Return the lines, without their ends."""
        lines = self.text.split(b"\n")
        if not lines[-1]:
            lines.pop()
        return lines


class JsonLinesFile:
    """Rows of one `.jsonl`, `.json` or `.jsonl.gz` file, in order, read anew on every iteration.

    A `.json` file may also hold one JSON array of objects; it is then read as a whole.
    """

    def __init__(self, path: DataFile) -> None:
        """Keep `path`; nothing is read yet."""
        self.path = path
        self.skipped: Counter[str] = Counter()
        """Rows left out during the latest reading, by reason."""
        self.num_seen = 0
        """Rows passed during the latest reading, those left out included."""
        self._num_lines = 0

    def __iter__(self) -> Iterator[tuple[int, Row]]:
        """Yield `(row, value)`; `row` counts non-empty lines from 0, skipped ones included.

        Raises:
            SourceError: A line is no JSON object, is not UTF-8, or is too long.
        """
        if self.is_array():
            yield from self._array()
            return
        for block in self.blocks():
            yield from self.rows_of(block)

    def is_array(self) -> bool:
        """Return whether the file is one JSON array instead of lines.

        Raises:
            SourceError: The file cannot be read.
        """
        with read_errors(self.path), _open(self.path) as stream:
            start = stream.read(64).removeprefix(_BYTE_ORDER_MARK)
            return start.lstrip().startswith(b"[")

    def blocks(self) -> Iterator[LineBlock]:
        """Yield the lines of the file in blocks; together with `rows_of` a complete reading.

        Raises:
            SourceError: The file cannot be read, or a line is too long.
        """
        self.skipped.clear()
        self.num_seen = 0
        self._num_lines = 0
        with read_errors(self.path), _open(self.path) as stream:
            for text in self._texts(stream):
                block = LineBlock.of(text, self._num_lines + 1, self.num_seen)
                self.num_seen += block.num_rows
                self._num_lines += block.num_lines
                yield block

    def rows_of(
        self,
        block: LineBlock,
        only: Container[int] | None = None,
        *,
        skipped: Counter[str] | None = None,
    ) -> Iterator[tuple[int, Row]]:
        """Yield `(row, value)` of one block; rows that are too large are skipped and counted.

        Args:
            block: The block.
            only: Rows that are wanted; all when `None`.
            skipped: Counts the rows left out; by default `self.skipped`.

        Raises:
            SourceError: A line is no JSON object, or is not UTF-8.
        """
        values = _parse_together(block) if only is None else None
        if values is not None:
            yield from enumerate(values, block.first_row)
            return
        row = block.first_row
        for number, line in enumerate(block.lines(), block.first_line):
            if not line or line.isspace():
                continue
            if only is None or row in only:
                if len(line) <= MAX_ROW_BYTES:
                    yield row, self._parse(line, number)
                else:
                    (self.skipped if skipped is None else skipped)["row_too_large"] += 1
            row += 1

    def count_rows(self) -> int:
        """Return the number of rows, skipped ones included, without parsing them.

        Raises:
            SourceError: The file cannot be read, or a line is too long.
        """
        if self.is_array():
            return sum(1 for _ in self._array())
        return sum(block.num_rows for block in self.blocks())

    def _texts(self, stream: BinaryIO) -> Iterator[bytes]:
        """Yield pieces of the file that end with a line."""
        num_bytes = 0
        limit = self._byte_limit()
        while text := stream.read(BLOCK_BYTES):
            if num_bytes == 0:
                text = text.removeprefix(_BYTE_ORDER_MARK)
            text = self._complete(stream, text)
            num_bytes += len(text)
            if num_bytes > limit:
                raise SourceError(
                    "SRC205",
                    f"expands to more than {MAX_EXPANSION} times its size",
                    where=SourceMark(str(self.path), self._num_lines + text.count(b"\n") + 1, 1),
                    hint="Decompress the file by hand if it is genuine",
                )
            yield text

    def _complete(self, stream: BinaryIO, text: bytes) -> bytes:
        """Return `text` with the rest of its last line."""
        pieces = [text]
        length = len(text) - text.rfind(b"\n") - 1
        while pieces[-1] and not pieces[-1].endswith(b"\n"):
            pieces.append(stream.readline(BLOCK_BYTES))
            length += len(pieces[-1])
            if length > MAX_LINE_BYTES:
                raise SourceError(
                    "SRC202",
                    f"line of more than {MAX_LINE_BYTES >> 20} MiB",
                    where=SourceMark(str(self.path), self._num_lines + text.count(b"\n") + 1, 1),
                    hint="JSON Lines has one row per line; split the file into rows",
                )
        return b"".join(pieces)

    def _byte_limit(self) -> float:
        if self.path.suffix != ".gz":
            return float("inf")
        return num_bytes(self.path) * MAX_EXPANSION + _FREE_EXPANSION_BYTES

    def _parse(self, line: bytes, line_number: int) -> Row:
        value = self._parse_json(line, line_number)
        if not isinstance(value, dict):
            raise SourceError(
                "SRC201",
                f"a row must be a JSON object, got {type(value).__name__}",
                where=SourceMark(str(self.path), line_number, 1),
                hint='Write one object per line, such as {"text": "..."}',
            )
        return value

    def _parse_json(self, text: bytes, line_number: int) -> Json:
        try:
            return cast("Json", json.loads(text.decode("utf-8")))
        except UnicodeDecodeError as error:
            raise SourceError(
                "SRC203",
                f"not UTF-8: byte 0x{text[error.start]:02x}",
                where=SourceMark(str(self.path), line_number, error.start + 1),
                hint="Save the file as UTF-8",
            ) from error
        except json.JSONDecodeError as error:
            raise SourceError(
                "SRC201",
                f"not JSON: {error.msg}, got {_excerpt(error.doc, error.pos)}",
                where=SourceMark(str(self.path), line_number + error.lineno - 1, error.colno),
                hint="Each line must be one complete JSON object",
            ) from error
        except (ValueError, RecursionError) as error:
            raise SourceError(
                "SRC201",
                f"not readable JSON: {_reason(error)}",
                where=SourceMark(str(self.path), line_number, 1),
            ) from error

    def _array(self) -> Iterator[tuple[int, Row]]:
        self.skipped.clear()
        with read_errors(self.path), _open(self.path) as stream:
            limit = int(min(self._byte_limit(), MAX_ARRAY_BYTES))
            text = stream.read(limit + 1)
        if len(text) > limit:
            raise SourceError(
                "SRC202",
                f"a JSON array of more than {limit >> 20} MiB",
                where=str(self.path),
                hint="Convert it to JSON Lines, which is read row by row",
            )
        values = cast("list[Json]", self._parse_json(text.removeprefix(_BYTE_ORDER_MARK), 1))
        self.num_seen = len(values)
        for index, value in enumerate(values):
            if not isinstance(value, dict):
                raise SourceError(
                    "SRC201",
                    f"item {index} of the array must be a JSON object, got {type(value).__name__}",
                    where=str(self.path),
                )
            yield index, value


def _parse_together(block: LineBlock) -> list[Row] | None:
    """Parse all lines of a block in one go, or give `None` where they must be looked at singly.

    The line break between the lines keeps broken texts from joining, the count broken lists.
    """
    if not block.num_rows or block.max_bytes > MAX_ROW_BYTES:
        return None
    lines = [line for line in block.lines() if line and not line.isspace()]
    try:
        values = json.loads((b"[" + b",\n".join(lines) + b"]").decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    is_rows = len(values) == len(lines) and all(type(value) is dict for value in values)
    return cast("list[Row]", values) if is_rows else None


def _open(path: DataFile) -> BinaryIO:
    stream = open_bytes(path)
    if path.suffix != ".gz":
        return stream
    try:
        return cast("BinaryIO", _GzipFile(stream))
    except BaseException:
        stream.close()
        raise


class _GzipFile(gzip.GzipFile):
    """A gzip file that closes what it reads from."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(fileobj=stream, mode="rb")
        self._stream = stream

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._stream.close()


def _excerpt(text: str, position: int) -> str:
    if position >= len(text.rstrip()):
        return "the end of the line"
    return repr(text[max(0, position - 10) : position + 20])


def _reason(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error).split(";")[0]
