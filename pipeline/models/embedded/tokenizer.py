"""The tokenizer of the embedded base: byte-level BPE over few, often seen pieces.

Lossless for any text. A name has the same pieces at a line start, after a space, in quotes and
after an underscore, which is what lets so small a model copy it: spaces and digits stand alone,
runs of punctuation stand together, and only frequent English words take their leading space.
DNA has its own units: four bases and 64 overlapping 3-mers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from pipeline.sources.generated.names import NAME_ENDINGS, SYLLABLES

PAD, END, USER, ASSISTANT, SYSTEM, TOOL = (
    "<|pad|>",
    "<|end|>",
    "<|user|>",
    "<|assistant|>",
    "<|system|>",
    "<|tool|>",
)
SPECIAL_TOKENS = (PAD, END, USER, ASSISTANT, SYSTEM, TOOL)
DNA_OPEN, DNA_CLOSE = "<dna>", "</dna>"
DNA_UNITS: tuple[str, ...] = tuple(
    f"<dna_{''.join(bases)}>" for length in (1, 3) for bases in product("ACGT", repeat=length)
)
MIN_PIECE_COUNT = 12
"""Pieces seen less often would get too little training."""

CHAT_TEMPLATE = Path(__file__).with_name("chat_template.jinja")


def build_tokenizer(
    texts: Sequence[str], *, unspaced_words: Iterable[str] = ()
) -> PreTrainedTokenizerFast:
    """Build the tokenizer from counts over `texts`.

    Args:
        texts: Prompts and answers as they will be seen; frequent words become whole pieces.
        unspaced_words: Frequent words that must look the same everywhere, because they are copied
            from places without a space, such as parameter names.

    Returns:
        A fast tokenizer with chat template, padding and end token.
    """
    apart = set(unspaced_words)
    words = _frequent_pieces(_splitter([]), texts)
    spaced_words = sorted(word for word in words if word.isalpha() and word not in apart)
    splitter = _splitter(spaced_words)
    whole_pieces = [piece for piece in _frequent_pieces(splitter, texts) if len(piece) > 1]
    return _assemble(splitter, whole_pieces)


def _frequent_pieces(splitter: pre_tokenizers.PreTokenizer, texts: Sequence[str]) -> list[str]:
    counts = Counter(piece for text in texts for piece, _ in splitter.pre_tokenize_str(text))
    frequent = [(piece, count) for piece, count in counts.items() if count >= MIN_PIECE_COUNT]
    return [piece for piece, _ in sorted(frequent, key=lambda item: (-item[1], item[0]))]


def _merges(syllables: Sequence[str], endings: Sequence[str]) -> list[tuple[str, str]]:
    """Return merges that build every syllable, then every ending from left to right."""
    merges = dict.fromkeys((syllable[0], syllable[1]) for syllable in syllables)
    for ending in endings:
        left, *parts = re.findall("|".join([*syllables, "."]), ending)
        for part in parts:
            merges[left, part] = None
            left += part
    return list(merges)


def _splitter(spaced_words: Sequence[str]) -> pre_tokenizers.PreTokenizer:
    rules = [r"\p{L}+", r"\p{N}", r"\n", r"[^\p{L}\p{N}\n]+"]
    if spaced_words:
        rules.insert(0, rf" (?:{'|'.join(spaced_words)})(?!\p{{L}})")
    return pre_tokenizers.Split(Regex("|".join(rules)), behavior="isolated")


def _assemble(
    splitter: pre_tokenizers.PreTokenizer, whole_pieces: Sequence[str]
) -> PreTrainedTokenizerFast:
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    merges = _merges(SYLLABLES, NAME_ENDINGS)
    tokens = [
        *SPECIAL_TOKENS,
        *sorted(byte_level.alphabet()),
        *(left + right for left, right in merges),
        *(byte_level.pre_tokenize_str(piece)[0][0] for piece in whole_pieces),
    ]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    # `ignore_merges` takes a piece that is in the vocabulary as it is, without building it up.
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([splitter, byte_level])
    return finish_tokenizer(tokenizer)


def finish_tokenizer(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """Return a byte-level `tokenizer` with the special tokens, DNA units and chat template."""
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS])
    dna_tokens = (DNA_OPEN, DNA_CLOSE, *DNA_UNITS)
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in dna_tokens])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=list(SPECIAL_TOKENS[2:]),
        chat_template=CHAT_TEMPLATE.read_text(encoding="utf-8"),
        clean_up_tokenization_spaces=False,
        model_max_length=2048,
    )
