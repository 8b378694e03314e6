"""Keys and values of attention, for batches whose rows come and go.

Dimensions in names: B rows, H heads, T tokens, D width of a head. Rows are aligned on the right:
the newest token of every row is in the last column; what is left of a row's first token is masked.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

_ROOM = 64
"""Tokens for which there is room beyond those held; then everything is copied once."""


class GrowingLayer(DynamicLayer):
    """Keys and values of one layer; new ones are written behind those held.

    `DynamicLayer` copies all it holds for every new token.
    """

    def __init__(self) -> None:
        """Hold nothing yet."""
        super().__init__()
        self._stores: tuple[Tensor, Tensor] | None = None

    @classmethod
    def of(
        cls, keys: Sequence[Tensor], values: Sequence[Tensor], *, room: int = _ROOM
    ) -> GrowingLayer:
        """Return a layer with the rows of all parts, each part of shape `[B, H, T, D]`."""
        layer = cls()
        layer.lazy_initialization(keys[0], values[0])
        layer._hold(keys, values, room)
        return layer

    def _hold(self, keys: Sequence[Tensor], values: Sequence[Tensor], room: int) -> None:
        length = max(part.shape[2] for part in keys)
        self._stores = (_stored(keys, length, room), _stored(values, length, room))
        self._show(length)

    def _show(self, length: int) -> None:
        assert self._stores is not None
        self.keys, self.values = (store[:, :, :length] for store in self._stores)

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: object, **_kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Add tokens, and return all keys and values."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states, value_states
            return key_states, value_states
        start = self.keys.shape[2]
        end = start + key_states.shape[2]
        if self._stores is None or self._stores[0].shape[2] < end:
            self._hold([self.keys], [self.values], end - start + _ROOM)
        assert self._stores is not None
        self._stores[0][:, :, start:end] = key_states
        self._stores[1][:, :, start:end] = value_states
        self._show(end)
        return self.keys, self.values


def can_join(config: PreTrainedConfig) -> bool:
    """Return whether a model keeps the keys and values of every token, and nothing else.

    Layers with a sliding window or a recurrent state cannot take in rows of other lengths.
    """
    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=config).layers)


def empty_cache() -> Cache:
    """Return a cache for a model of which `can_join` holds."""
    return Cache(layer_class_to_replicate=GrowingLayer)


def repeated(cache: Cache, num_rows: int, *, room: int) -> Cache:
    """Return the one row of a cache `num_rows` times."""
    return _cache_of(
        GrowingLayer.of(
            [layer.keys.expand(num_rows, -1, -1, -1)],
            [layer.values.expand(num_rows, -1, -1, -1)],
            room=room,
        )
        for layer in cache.layers
    )


def joined(first: Cache, second: Cache) -> Cache:
    """Return the rows of both."""
    return _cache_of(
        GrowingLayer.of([one.keys, other.keys], [one.values, other.values])
        for one, other in zip(first.layers, second.layers, strict=True)
    )


def chosen(cache: Cache, rows: Tensor, *, first_column: int = 0, room: int = _ROOM) -> Cache:
    """Return a copy with some rows, from a column on; a row may be chosen many times.

    A cache of which `can_join` does not hold keeps all its columns.
    """
    if not all(isinstance(layer, GrowingLayer) for layer in cache.layers):
        own = copy.deepcopy(cache)
        own.reorder_cache(rows)
        return own
    return _cache_of(
        GrowingLayer.of(
            [layer.keys[:, :, first_column:].index_select(0, rows.to(layer.keys.device))],
            [layer.values[:, :, first_column:].index_select(0, rows.to(layer.values.device))],
            room=room,
        )
        for layer in cache.layers
    )


def _cache_of(layers: object) -> Cache:
    return Cache(layers=[*layers])  # type: ignore[misc]


def _stored(parts: Sequence[Tensor], length: int, room: int) -> Tensor:
    """Return the rows of all parts, the last token of each in column `length - 1`."""
    _, num_heads, _, width = parts[0].shape
    num_rows = sum(len(part) for part in parts)
    store = parts[0].new_empty(num_rows, num_heads, length + room, width)
    start = 0
    for part in parts:
        rows = store[start : start + len(part)]
        first = length - part.shape[2]
        # Masked, but a factor of 0 does not make an infinite value harmless.
        rows[:, :, :first] = 0
        rows[:, :, first:length] = part
        start += len(part)
    return store
