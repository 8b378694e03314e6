"""A task's examples as token arrays on disk, made once and memory-mapped.

The folder is `<cache_root>/tokens/<task>/<fingerprint>/`; its files are told in
`pipeline.mixture.token_files`. Parts of a task can be made by many processes and jobs, side by
side in `<fingerprint>-<part>-of-<parts>/`; joined, they have the bytes of a single run.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

import pipeline.chat
from pipeline.chat.tokenise import ExampleTooLong, tokenise_many
from pipeline.chat.vocabulary import encoder_for
from pipeline.errors import OutputError
from pipeline.files import (
    MANIFEST_NAME,
    cache_root,
    is_complete_folder,
    read_json,
    sha256_of_file,
    sha256_of_json,
    staged_folder,
    write_json,
)
from pipeline.mixture.token_files import (
    IDS,
    MASK,
    OFFSETS,
    ROWS,
    TokenCounts,
    join_tokens,
    map_numbers,
    write_tokens,
)
from pipeline.types import Conversation, Examples, Json, TaskExample, TokenizedExample

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_META = "meta.json"
_CHUNK = 512
"""Conversations per call of the tokenizer: enough for all its threads, little memory."""


class TokenizedTask:
    """The tokenised examples of one task."""

    def __init__(self, folder: Path, name: str) -> None:
        """Open a folder that `tokenise_task` wrote."""
        self.folder = folder
        self.name = name
        meta = cast("dict[str, dict[str, int]]", read_json(folder / _META))
        self.counts = TokenCounts(**meta["counts"])

    def __len__(self) -> int:
        """Return the number of examples."""
        return self.counts.num_examples

    def __reduce__(self) -> tuple[type[TokenizedTask], tuple[Path, str]]:
        """Travel to worker processes as a path, not as the mapped arrays."""
        return TokenizedTask, (self.folder, self.name)

    def ids_and_mask(self, index: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
        """Return input ids and loss mask of an example, both of shape `[T]`."""
        start, end = self.offsets[index], self.offsets[index + 1]
        return self._input_ids[start:end], self._loss_mask[start:end]

    def source_row(self, index: int) -> int:
        """Return which of the examples given to `tokenise_task` this one was, 0-based."""
        return int(self._rows[index])

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the tokens themselves, the same wherever and by whichever code they were made."""
        manifest = cast("dict[str, dict[str, str]]", read_json(self.folder / MANIFEST_NAME))
        return sha256_of_json({name: manifest["files"][name] for name in (IDS, MASK, OFFSETS)})

    @cached_property
    def offsets(self) -> npt.NDArray[np.int64]:
        """Start of each example among the task's tokens, and the end; `[num_examples + 1]`."""
        return map_numbers(self.folder / OFFSETS, np.int64)

    @cached_property
    def _rows(self) -> npt.NDArray[np.int64]:
        return map_numbers(self.folder / ROWS, np.int64)

    @cached_property
    def _input_ids(self) -> npt.NDArray[np.int32]:
        return map_numbers(self.folder / IDS, np.int32)

    @cached_property
    def _loss_mask(self) -> npt.NDArray[np.bool_]:
        return map_numbers(self.folder / MASK, np.bool_)


def tokenise_task(
    examples: Examples,
    render: Callable[[TaskExample], Conversation],
    tokenizer: PreTrainedTokenizerBase,
    *,
    fingerprint: str,
    max_length: int,
) -> TokenizedTask:
    """Return a task's tokens: from the cache, joined from parts, or made here.

    Rows that are too long without their context, or have nothing to train on, are counted and
    left out.

    Args:
        examples: All training examples of the task.
        render: Turns an example into a conversation.
        tokenizer: Has a chat template and a fast backend.
        fingerprint: Names the data and everything `render` depends on: annotation, split,
            row limit, seed, style.
        max_length: Most tokens per example.

    Raises:
        ChatError: See `pipeline.chat.render.render_segments`.
        OutputError: The cache cannot be written.
    """
    name = examples.spec.id
    folder = tokens_folder(name, tokenizer, fingerprint=fingerprint, max_length=max_length)
    if is_complete_folder(folder):
        return TokenizedTask(folder, name)
    num_parts = _find_num_parts(folder)
    if num_parts is not None:
        return join_parts(folder, name, num_parts)
    conversations = map(render, examples)
    with _kept_if_made_elsewhere(folder), staged_folder(folder) as staged:
        _write_counts(staged, write_tokens(staged, _tokenise(conversations, tokenizer, max_length)))
    return TokenizedTask(folder, name)


def tokenise_part(
    examples: Examples,
    render: Callable[[TaskExample], Conversation],
    tokenizer: PreTrainedTokenizerBase,
    *,
    part: int,
    num_parts: int,
    fingerprint: str,
    max_length: int,
) -> TokenizedTask:
    """Make the tokens of one part of a task's rows, for `join_parts`; what is there stays.

    Args:
        examples: All training examples of the task.
        render: As for `tokenise_task`, like all that is not told here.
        tokenizer: Likewise.
        part: Which part, 0-based.
        num_parts: Number of parts; the same for all of them.
        fingerprint: Likewise.
        max_length: Likewise.

    Raises:
        ValueError: `part` is not below `num_parts`.
        ChatError: See `pipeline.chat.render.render_segments`.
        OutputError: The cache cannot be written.
    """
    if not 0 <= part < num_parts:
        raise ValueError(f"part {part} of {num_parts} does not exist")
    name = examples.spec.id
    whole = tokens_folder(name, tokenizer, fingerprint=fingerprint, max_length=max_length)
    folder = part_folder(whole, part, num_parts)
    if not is_complete_folder(folder):
        start, stop = (len(examples) * number // num_parts for number in (part, part + 1))
        conversations = (render(examples[index]) for index in range(start, stop))
        results = _tokenise(conversations, tokenizer, max_length)
        with _kept_if_made_elsewhere(folder), staged_folder(folder) as staged:
            _write_counts(staged, write_tokens(staged, results, first_row=start))
    return TokenizedTask(folder, name)


def find_unfinished_parts(folder: Path, num_parts: int) -> dict[int, str]:
    """Return the parts of a task that cannot be joined, each `missing` or `damaged`.

    Args:
        folder: Of the whole task, see `tokens_folder`. When it is complete, no part is needed.
        num_parts: Parts of the task.
    """
    if is_complete_folder(folder):
        return {}
    parts = {part: part_folder(folder, part, num_parts) for part in range(num_parts)}
    return {
        part: "damaged" if path.exists() else "missing"
        for part, path in parts.items()
        if not is_complete_folder(path)
    }


def join_parts(folder: Path, name: str, num_parts: int) -> TokenizedTask:
    """Return the whole task, joined from complete parts, which are removed then.

    Args:
        folder: Of the whole task.
        name: Id of the task.
        num_parts: Parts of the task.

    Raises:
        OutputError: The cache cannot be written.
    """
    paths = [part_folder(folder, part, num_parts) for part in range(num_parts)]
    if not is_complete_folder(folder):
        with _kept_if_made_elsewhere(folder), staged_folder(folder) as staged:
            parts = [(path, TokenizedTask(path, name).counts) for path in paths]
            _write_counts(staged, join_tokens(staged, parts))
    for path in paths if num_parts > 1 else ():
        shutil.rmtree(path, ignore_errors=True)
    return TokenizedTask(folder, name)


def part_folder(folder: Path, part: int, num_parts: int) -> Path:
    """Return where a part of the task of `folder` lies; an only part is the whole."""
    if num_parts == 1:
        return folder
    return folder.with_name(f"{folder.name}-{part}-of-{num_parts}")


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a hash of all that decides over token ids: vocabulary, rules and chat template."""
    backend = encoder_for(tokenizer).backend_sha256
    template = cast("Json", tokenizer.chat_template)
    special = cast("Json", {k: str(v) for k, v in tokenizer.special_tokens_map.items()})
    unit = cast("Json", tokenizer.init_kwargs.get("dna_unit"))
    return sha256_of_json([backend, template, special, unit])


def tokens_folder(
    name: str, tokenizer: PreTrainedTokenizerBase, *, fingerprint: str, max_length: int
) -> Path:
    """Return where the tokens of a task lie, whether they are made or not; see `tokenise_task`."""
    whole = sha256_of_json(
        {
            "code": _code_fingerprint(),
            "task": name,
            "examples": fingerprint,
            "tokenizer": tokenizer_fingerprint(tokenizer),
            "max_length": max_length,
        }
    )
    return cache_root() / "tokens" / name.replace("/", "__") / whole[:24]


@lru_cache(maxsize=1)
def _code_fingerprint() -> str:
    """Return a hash of the code that decides over tokens, so that no cache outlives a change."""
    chat = Path(pipeline.chat.__file__).parent
    files = [*sorted(chat.glob("*.py")), Path(__file__), Path(__file__).with_name("token_files.py")]
    return sha256_of_json([f"{file.name} {sha256_of_file(file)}" for file in files])


def _find_num_parts(folder: Path) -> int | None:
    """Return into how many parts a task was cut, if all of them are complete."""
    pattern = re.compile(rf"{re.escape(folder.name)}-0-of-(\d+)")
    found = (pattern.fullmatch(path.name) for path in folder.parent.glob(f"{folder.name}-0-of-*"))
    cuts = sorted(int(match[1]) for match in found if match)
    return next((cut for cut in cuts if not find_unfinished_parts(folder, cut)), None)


@contextlib.contextmanager
def _kept_if_made_elsewhere(folder: Path) -> Iterator[None]:
    """Let go by that another process moved the same tokens into place in the meantime."""
    try:
        yield
    except OutputError:
        if not is_complete_folder(folder):
            raise


def _write_counts(folder: Path, counts: TokenCounts) -> None:
    write_json(folder / _META, {"counts": cast("Json", asdict(counts))})


def _tokenise(
    conversations: Iterable[Conversation],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
) -> Iterator[TokenizedExample | ExampleTooLong]:
    for chunk in _chunks(conversations):
        yield from tokenise_many(chunk, tokenizer, task_index=0, max_length=max_length)


def _chunks(conversations: Iterable[Conversation]) -> Iterator[list[Conversation]]:
    chunk: list[Conversation] = []
    for conversation in conversations:
        chunk.append(conversation)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
