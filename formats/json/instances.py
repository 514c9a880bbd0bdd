"""One instance of a JSON request, in any of its documented forms, to a row of numbers."""

from __future__ import annotations

import json
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.errors import DataError, excerpt
from eigenline.formats.recordio.record import MOST_FEATURES, Row

_FORMS: Final = (
    'expected {"features": [...]}, {"data": {"features": {"values": [...]}}}, or the sparse '
    '{"data": {"features": {"keys": [...], "shape": [n], "values": [...]}}}'
)


def read_instance(instance: Any, where: str) -> Row:
    """Read one instance of any documented form.

    Parameters
    ----------
    instance
        The parsed JSON value.
    where
        Request and instance or line number, for errors.

    Raises
    ------
    DataError
        If it has another form, or holds anything but finite numbers within float32.
    """
    features = instance
    if isinstance(features, dict) and "data" in features and "features" not in features:
        features = features["data"]
    if isinstance(features, dict) and "features" in features:
        features = features["features"]
    if isinstance(features, list):
        return _dense_row(features, where)
    if not isinstance(features, dict) or "values" not in features:
        raise DataError(f"{where}: {_FORMS}; got {excerpt(json.dumps(instance))}.")
    if "keys" not in features and (features["values"] or "shape" not in features):
        return _dense_row(features["values"], where)
    return _sparse_row(features, where)


def _dense_row(values: Any, where: str) -> Row:
    numbers = _numbers(values, "values", where)
    if not numbers.size:
        raise DataError(f"{where}: its features are empty.")
    return Row(numbers, None, numbers.size, None)


def _sparse_row(features: dict[str, Any], where: str) -> Row:
    values = _numbers(features["values"], "values", where)
    keys, shape = features.get("keys", []), features.get("shape")
    for part, integers in (("keys", keys), ("shape", shape)):
        if not isinstance(integers, list) or not all(isinstance(k, int) and is_number(k) for k in integers):
            raise DataError(
                f"{where}: {part!r} must be a list of whole numbers, got {excerpt(json.dumps(integers))}."
            )
    if not shape or not 0 < shape[-1] <= MOST_FEATURES or any(extent != 1 for extent in shape[:-1]):
        raise DataError(f"{where}: 'shape' must be [number of features], got {excerpt(json.dumps(shape))}.")
    if len(keys) != values.size:
        raise DataError(f"{where}: a sparse row has {values.size} values but {len(keys)} keys.")
    outside = [key for key in keys if not 0 <= key < shape[-1]]
    if outside:
        raise DataError(f"{where}: key {excerpt(outside[0])} is outside the shape, which has {shape[-1]} columns.")
    return Row(values, np.asarray(keys, np.int64), shape[-1], None)


def is_number(value: object) -> bool:
    """Return whether a JSON value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _numbers(values: Any, part: str, where: str) -> NDArray[np.float32]:
    if not isinstance(values, list):
        raise DataError(f"{where}: {part!r} must be a list of numbers, got {excerpt(json.dumps(values))}.")
    for column, value in enumerate(values, start=1):
        if not is_number(value) or not abs(value) < 3.4028235677973366e38:
            raise DataError(
                f"{where}, value {column}: expected a number within float32, got {excerpt(json.dumps(value))}."
            )
    return np.asarray(values, np.float64).astype(np.float32)
