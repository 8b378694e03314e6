"""A task's examples as token arrays on disk, made once and memory-mapped.

The folder is `<cache_root>/tokens/<task>/<fingerprint>/`; its files are told in
`pipeline.mixture.token_files`. On a cluster, shards of a task can be made by many jobs:
`tokenise_task` joins them when it finds all of them.
"""

from __future__ import annotations

import re
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
    """Return a task's tokens: from the cache, joined from shards, or made here.

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
    folder = _folder(
        name,
        tokenizer,
        fingerprint=fingerprint,
        max_length=max_length,
    )
    if not is_complete_folder(folder):
        shards = _find_shards(folder)
        with staged_folder(folder) as staged:
            if shards:
                counts = join_tokens(staged, [(shard.folder, shard.counts) for shard in shards])
            else:
                conversations = map(render, examples)
                results = _tokenise(conversations, tokenizer, max_length)
                counts = write_tokens(staged, results)
            _write_counts(staged, counts)
    return TokenizedTask(folder, name)


def tokenise_shard(
    examples: Examples,
    render: Callable[[TaskExample], Conversation],
    tokenizer: PreTrainedTokenizerBase,
    *,
    shard: int,
    num_shards: int,
    fingerprint: str,
    max_length: int,
) -> TokenizedTask:
    """Make the tokens of one part of a task's rows, for `tokenise_task` to join.

    Args:
        examples: All training examples of the task.
        render: As for `tokenise_task`, like all that is not told here.
        tokenizer: Likewise.
        shard: Which part, 0-based.
        num_shards: Number of parts; the same for all of them.
        fingerprint: Likewise.
        max_length: Likewise.

    Raises:
        ValueError: `shard` is not below `num_shards`.
        ChatError: See `pipeline.chat.render.render_segments`.
        OutputError: The cache cannot be written.
    """
    if not 0 <= shard < num_shards:
        raise ValueError(f"shard {shard} of {num_shards} does not exist")
    name = examples.spec.id
    whole = _folder(
        name,
        tokenizer,
        fingerprint=fingerprint,
        max_length=max_length,
    )
    folder = whole.with_name(f"{whole.name}-{shard}-of-{num_shards}")
    if not is_complete_folder(folder):
        start, stop = (len(examples) * part // num_shards for part in (shard, shard + 1))
        conversations = (render(examples[index]) for index in range(start, stop))
        results = _tokenise(conversations, tokenizer, max_length)
        with staged_folder(folder) as staged:
            _write_counts(staged, write_tokens(staged, results, first_row=start))
    return TokenizedTask(folder, name)


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a hash of all that decides over token ids: vocabulary, rules and chat template."""
    backend = encoder_for(tokenizer).backend_sha256
    template = cast("Json", tokenizer.chat_template)
    special = cast("Json", {k: str(v) for k, v in tokenizer.special_tokens_map.items()})
    unit = cast("Json", tokenizer.init_kwargs.get("dna_unit"))
    return sha256_of_json([backend, template, special, unit])


def _folder(
    name: str,
    tokenizer: PreTrainedTokenizerBase,
    *,
    fingerprint: str,
    max_length: int,
) -> Path:
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


def _find_shards(folder: Path) -> list[TokenizedTask]:
    """Return the shards of a task in order, if all of one number of shards are complete."""
    pattern = re.compile(rf"{re.escape(folder.name)}-0-of-(\d+)")
    found = (pattern.fullmatch(path.name) for path in folder.parent.glob(f"{folder.name}-0-of-*"))
    for num_shards in sorted(int(match[1]) for match in found if match):
        paths = [
            folder.with_name(f"{folder.name}-{shard}-of-{num_shards}")
            for shard in range(num_shards)
        ]
        if all(is_complete_folder(path) for path in paths):
            return [TokenizedTask(path, folder.parent.name) for path in paths]
    return []


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
