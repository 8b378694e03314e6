"""Declared column types, applied to rows read from JSON.

`datasets` casts JSON values to the declared types. The same is done here for top-level columns and
lists, so that a row means the same from the hub and from a mirror; nested values stay as written.
"""

from __future__ import annotations

from collections.abc import Callable

from pipeline.sources.batches import Row
from pipeline.sources.features import ClassNames, Feature, Features
from pipeline.types import Json

Convert = Callable[[Json], Json]


def row_converter(features: Features | None) -> Callable[[Row], Row] | None:
    """Return a function that fits a row to declared types, or `None` if nothing is declared.

    Declared columns that the row lacks become null; a value that does not fit stays as it is.
    """
    return _RowConverter(features) if features else None


class _RowConverter:
    """Fits rows to declared types; goes to another process as the types alone."""

    def __init__(self, features: Features) -> None:
        self._features = features
        self._converters = {name: _converter(feature) for name, feature in features.items()}

    def __reduce__(self) -> tuple[object, ...]:
        return _RowConverter, (self._features,)

    def __call__(self, row: Row) -> Row:
        fitted = dict(row)
        for column, convert in self._converters.items():
            value = fitted.get(column)
            fitted[column] = value if convert is None or value is None else convert(value)
        return fitted


def _converter(feature: Feature) -> Convert | None:
    if isinstance(feature, list):
        inner = _converter(feature[0])
        if inner is None:
            return None
        return lambda value: [inner(item) for item in value] if isinstance(value, list) else value
    if isinstance(feature, ClassNames):
        positions: dict[str, Json] = {name: index for index, name in enumerate(feature.names)}
        return lambda value: positions.get(value, value) if isinstance(value, str) else value
    if feature in ("string", "large_string"):
        return _to_text
    is_number = isinstance(feature, str) and feature.startswith(("int", "uint", "float"))
    return _to_number if is_number else None


def _to_text(value: Json) -> Json:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number else value


def _to_number(value: Json) -> Json:
    if not isinstance(value, str):
        return value
    try:
        return float(value) if any(mark in value for mark in ".eEn") else int(value)
    except ValueError:
        return value
