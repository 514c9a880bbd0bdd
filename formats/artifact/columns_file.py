"""``columns.json`` beside an artifact: the names of the model's features, in order, and of its label.

AWS's artifacts have no such file. A model without it takes columns by their place.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from eigenline.algorithms.errors import DataError

COLUMNS_FILE: Final = "columns.json"


@dataclass(frozen=True)
class ColumnNames:
    """Names of a model's columns.

    Attributes
    ----------
    features
        In the order in which the model takes them.
    target
        The label's name; None where there is none, or it is not known.
    """

    features: tuple[str, ...]
    target: str | None = None


def write_column_names(names: ColumnNames) -> bytes:
    """Return the file's content; equal names give equal bytes."""
    document = {"features": list(names.features), "target": names.target}
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def read_column_names(data: bytes, feature_dim: int | None = None, *, name: str = COLUMNS_FILE) -> ColumnNames:
    """Read what `write_column_names` wrote.

    Parameters
    ----------
    data
        The file's content.
    feature_dim
        How many features the model beside it takes.
    name
        What errors call the file.

    Raises
    ------
    DataError
        If it is no JSON object with a list of names, or with another number of them.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    features = document.get("features") if isinstance(document, dict) else None
    target = document.get("target") if isinstance(document, dict) else None
    if (
        not isinstance(features, list)
        or not all(map(_is_name, features))
        or not (target is None or _is_name(target))
    ):
        raise DataError(f'{name}: expected {{"features": [names], "target": name or null}}.')
    if feature_dim is not None and len(features) != feature_dim:
        raise DataError(f"{name}: it has {len(features)} names, but the model takes {feature_dim} features.")
    return ColumnNames(tuple(features), target)


def _is_name(value: object) -> bool:
    """Return whether a JSON value is text that can be written again: no half of a surrogate pair."""
    return isinstance(value, str) and not any(0xD800 <= ord(letter) < 0xE000 for letter in value)
