"""Hashes of all windows of many texts at once, as numpy arrays."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

TEXT_WINDOW = 10
"""Bytes of a window of squeezed text: about two English words."""
DNA_WINDOW = 16
"""Bases of a window: there are 4 billion different ones, a genome has some million."""

Hashes = npt.NDArray[np.uint64]

_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 1 << 64)


def text_shingles(texts: Sequence[bytes]) -> tuple[Hashes, npt.NDArray[np.int64]]:
    """Return the hash of every window of every text, and the text it is of.

    A window's hash is a polynomial in its bytes modulo 2^64 (Karp and Rabin), well mixed; prefix
    sums give all of them without a loop.
    """
    letters = np.frombuffer(b"".join(texts), dtype=np.uint8)
    starts, owners = _windows(texts, TEXT_WINDOW)
    return _mix(_hash_windows(_text_codes()[letters], TEXT_WINDOW)[starts]), owners


def dna_shingles(sequences: Sequence[bytes]) -> tuple[Hashes, npt.NDArray[np.int64]]:
    """Return the same for DNA over `ACGTN`; a window and its other strand have one hash."""
    bases = np.frombuffer(b"".join(sequences), dtype=np.uint8)
    starts, owners = _windows(sequences, DNA_WINDOW)
    forward, backward = _dna_codes()
    one = _mix(_hash_windows(forward[bases], DNA_WINDOW)[starts])
    other = _mix(_hash_windows(backward[bases][::-1], DNA_WINDOW)[::-1][starts])
    return np.minimum(one, other), owners


def _windows(
    texts: Sequence[bytes], size: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return where in the joined texts a window starts, and whose it is."""
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    offsets = np.cumsum(lengths) - lengths
    counts = np.maximum(lengths - size + 1, 0)
    owners = np.repeat(np.arange(len(texts), dtype=np.int64), counts)
    first = np.cumsum(counts) - counts
    starts = np.arange(len(owners), dtype=np.int64) + np.repeat(offsets - first, counts)
    return starts, owners


def _hash_windows(codes: Hashes, size: int) -> Hashes:
    """Return one number per window of the joined texts; arithmetic wraps around at 2^64."""
    if len(codes) < size:
        return np.zeros(0, dtype=np.uint64)
    powers, inverses = _powers(1 << max(16, len(codes).bit_length()))
    sums = np.zeros(len(codes) + 1, dtype=np.uint64)
    np.cumsum(codes * powers[: len(codes)], out=sums[1:])
    return (sums[size:] - sums[:-size]) * inverses[: len(codes) - size + 1]


@functools.lru_cache(maxsize=2)
def _powers(length: int) -> tuple[Hashes, Hashes]:
    def of(base: int) -> Hashes:
        steps = np.full(length, base, dtype=np.uint64)
        steps[0] = 1
        return np.multiply.accumulate(steps)

    return of(_BASE), of(_INVERSE)


def _mix(numbers: Hashes) -> Hashes:
    """Return well-mixed bits (the finaliser of SplitMix64)."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        numbers = (numbers ^ (numbers >> np.uint64(shift))) * np.uint64(factor)
    return numbers ^ (numbers >> np.uint64(31))


@functools.lru_cache(maxsize=1)
def _text_codes() -> Hashes:
    return _mix(np.arange(1, 257, dtype=np.uint64) * np.uint64(_BASE))


@functools.lru_cache(maxsize=1)
def _dna_codes() -> tuple[Hashes, Hashes]:
    """Return a code per base, and the code of the base it pairs with."""
    forward = _mix(np.arange(257, 513, dtype=np.uint64) * np.uint64(_BASE))
    backward = forward.copy()
    for base, partner in ("AT", "TA", "CG", "GC"):
        backward[ord(base)] = forward[ord(partner)]
    return forward, backward
