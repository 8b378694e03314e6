"""Keys that operations remember when they compare rows, in flat memory.

A Python set of hashes takes about 100 bytes per key. Here a key is a 64-bit hash in one array with
open addressing: 11 to 22 bytes, twice that with a number. Two of a million different keys share a
hash with a probability of 3e-8.
"""

from __future__ import annotations

from array import array

_FIRST_SLOTS = 1 << 10
_MAX_FILL = 0.75


class KeySet:
    """A set of keys; a key is any whole number from 1 to 2**64 - 1 whose bits are well mixed."""

    def __init__(self) -> None:
        """Start empty."""
        self._count = 0
        self._keys = _zeros(_FIRST_SLOTS)

    def __len__(self) -> int:
        """Number of keys."""
        return self._count

    def __contains__(self, key: int) -> bool:
        """Whether a key is in the set."""
        return self._keys[_slot(self._keys, key)] != 0

    @property
    def num_bytes(self) -> int:
        """Memory that the keys take."""
        return 8 * len(self._keys)

    def add(self, key: int) -> None:
        """Put a key into the set."""
        self._place(key)

    def _place(self, key: int) -> int:
        """Return the slot of a key, which is in the set from now on."""
        slot = _slot(self._keys, key)
        if self._keys[slot]:
            return slot
        self._count += 1
        if self._count > _MAX_FILL * len(self._keys):
            self._grow()
            slot = _slot(self._keys, key)
        self._keys[slot] = key
        return slot

    def _grow(self) -> None:
        old = self._keys
        self._keys = _zeros(2 * len(old))
        for key in old:
            if key:
                self._keys[_slot(self._keys, key)] = key


class KeyNumbers(KeySet):
    """A number from 0 to 2**64 - 1 per key; 0 for a key that is not there."""

    def __init__(self) -> None:
        """Start empty."""
        super().__init__()
        self._numbers = _zeros(_FIRST_SLOTS)

    def __getitem__(self, key: int) -> int:
        """Return the number of a key."""
        return self._numbers[_slot(self._keys, key)]

    def __setitem__(self, key: int, number: int) -> None:
        """Give a key a number."""
        slot = self._place(key)
        self._numbers[slot] = number

    @property
    def num_bytes(self) -> int:
        """Memory that the keys and their numbers take."""
        return 16 * len(self._keys)

    def _grow(self) -> None:
        old, numbers = self._keys, self._numbers
        super()._grow()
        self._numbers = _zeros(len(self._keys))
        for key, number in zip(old, numbers, strict=True):
            if key:
                self._numbers[_slot(self._keys, key)] = number


def _zeros(count: int) -> array[int]:
    return array("Q", bytes(8 * count))


def _slot(keys: array[int], key: int) -> int:
    """Return where a key is, or where it belongs."""
    mask = len(keys) - 1
    slot = key & mask
    while keys[slot] not in (0, key):
        slot = (slot + 1) & mask
    return slot
