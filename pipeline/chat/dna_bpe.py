"""Byte-pair units of DNA: words over `ACGT` that are frequent in the sequences trained on.

The merges are learned from the recipe's training sequences on both strands, always the same ones
from the same sequences, and travel in the settings of the tokenizer. A word never holds `N`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

from pipeline.annotations.sequences import reverse_complement

_PIECE = 100
"""Bases of a piece: merges are counted in pieces, or a whole sequence would be one word."""
_MOST_BASES = 2_000_000
"""Bases that the merges are learned from; more change them little."""
_MAX_WORD = 16

Merge = tuple[str, str]


def learn_merges(sequences: Iterable[str], *, size: int) -> list[Merge]:
    """Return the merges of a vocabulary, the most frequent first.

    Args:
        sequences: Over `ACGTN`; the first two million bases count, on both strands.
        size: Words of the vocabulary at most, the four bases included.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = _split_at_n()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=list("ACGT"),
        limit_alphabet=4,
        max_token_length=_MAX_WORD,
        show_progress=False,
    )
    tokenizer.train_from_iterator(_pieces(sequences), trainer)
    return [tuple(merge) for merge in json.loads(tokenizer.to_str())["model"]["merges"]]


def merged_words(merges: Sequence[Merge]) -> list[str]:
    """Return the words that merges make, each once, in the order of the merges."""
    return list(dict.fromkeys(left + right for left, right in merges))


def cut_by_merges(sequence: str, merges: tuple[Merge, ...]) -> list[str]:
    """Return the words of a sequence over `ACGTN`; joined, they are the sequence."""
    encoding = _cutter(merges).encode(sequence, add_special_tokens=False)
    return [sequence[start:end] for start, end in encoding.offsets]


@lru_cache(maxsize=4)
def _cutter(merges: tuple[Merge, ...]) -> Tokenizer:
    words = [*"ACGTN", *merged_words(merges)]
    model = models.BPE({word: number for number, word in enumerate(words)}, list(merges))
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = _split_at_n()
    return tokenizer


def _split_at_n() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(Regex("N"), behavior="isolated")


def _pieces(sequences: Iterable[str]) -> Iterator[str]:
    num_bases = 0
    for sequence in sequences:
        for strand in (sequence, reverse_complement(sequence)):
            for start in range(0, len(strand), _PIECE):
                yield strand[start : start + _PIECE].replace("N", "")
        num_bases += len(sequence)
        if num_bases >= _MOST_BASES:
            return
