"""``columns.json`` beside an artifact: the names of the model's features, in order, of its label and its classes.

AWS's artifacts have no such file. A model without it takes columns by their place.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

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
    classes
        The classes' names, in the order of their numbers; None where classes are numbers, or there are none.
    """

    features: tuple[str, ...]
    target: str | None = None
    classes: tuple[str, ...] | None = None


def write_column_names(names: ColumnNames) -> bytes:
    """Return the file's content; equal names give equal bytes."""
    document: dict[str, object] = {"features": list(names.features), "target": names.target}
    if names.classes is not None:
        document["classes"] = list(names.classes)
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
    found: dict[str, Any] = document if isinstance(document, dict) else {}
    features, target, classes = found.get("features"), found.get("target"), found.get("classes")
    if (
        not _are_names(features)
        or not (target is None or _is_name(target))
        or not (classes is None or (_are_names(classes) and len(set(classes)) == len(classes) > 1))
    ):
        raise DataError(
            f'{name}: expected {{"features": [names], "target": name or null, "classes": [names] or null}}, '
            "and no class twice."
        )
    if feature_dim is not None and len(features) != feature_dim:
        raise DataError(f"{name}: it has {len(features)} names, but the model takes {feature_dim} features.")
    return ColumnNames(tuple(features), target, None if classes is None else tuple(classes))


def _are_names(values: Any) -> TypeGuard[list[str]]:
    return isinstance(values, list) and all(map(_is_name, values))


def _is_name(value: object) -> bool:
    """Return whether a JSON value is text that can be written again: no half of a surrogate pair."""
    return isinstance(value, str) and not any(0xD800 <= ord(letter) < 0xE000 for letter in value)
