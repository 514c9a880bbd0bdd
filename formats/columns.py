"""Columns by their names: features of one source put in the order of another, or the names that do not fit."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Batch, Features
from eigenline.algorithms.errors import DataError, excerpt

_MOST_LISTED: Final = 10
_LONGEST: Final = 100  # letters of a name that are compared


def order_of(
    found: Sequence[str], expected: Sequence[str], name: str, owner: str = "of the model"
) -> NDArray[np.intp] | None:
    """Return where each expected column is among the found ones; None where they are in order already.

    Parameters
    ----------
    found
        The features' names in the source.
    expected
        The features' names in the wanted order.
    name
        What errors call the source.
    owner
        Whose the expected names are, for errors.

    Returns
    -------
    Shape (feature_dim,): ``found[order[i]] == expected[i]``.

    Raises
    ------
    DataError
        Listing the names that are missing, unknown or there twice.
    """
    if tuple(found) == tuple(expected):
        return None
    places = {column: place for place, column in enumerate(found)}
    missing = [column for column in dict.fromkeys(expected) if column not in places]
    known = set(expected)
    unknown = [column for column in places if column not in known]
    twice = _repeated(found) or _repeated(expected)
    if missing or unknown or twice or len(found) != len(expected):
        raise DataError(f"{name}: its columns are not those {owner}.{_difference(missing, unknown, twice)}")
    return np.array([places[column] for column in expected], np.intp)


def in_order_of(batch: Batch, expected: Sequence[str], name: str) -> Batch:
    """Return a batch with its features in the expected order; one without names as it is.

    Parameters
    ----------
    batch
        Features of shape (n, feature_dim), with or without `column_names`.
    expected
        The features' names in the wanted order.
    name
        What errors call the source.

    Raises
    ------
    DataError
        Listing the names that are missing, unknown or there twice.
    """
    if batch.column_names is None:
        return batch
    order = order_of(batch.column_names, expected, name)
    if order is None:
        return batch
    return dataclasses.replace(batch, features=reordered(batch.features, order), column_names=tuple(expected))


def reordered(features: Features, order: NDArray[np.intp]) -> Features:
    """Return features with their columns in another order.

    Parameters
    ----------
    features
        Shape (n, feature_dim), dense or CSR.
    order
        Shape (feature_dim,): the place of each column of the result.
    """
    if isinstance(features, np.ndarray):
        return np.take(features, order, axis=1)  # rows stay contiguous, which an index in brackets would not keep
    return features[:, order]


def _repeated(names: Sequence[str]) -> list[str]:
    seen: set[str] = set()
    return list(dict.fromkeys(column for column in names if column in seen or seen.add(column)))  # type: ignore[func-returns-value]


def _difference(missing: Sequence[str], unknown: Sequence[str], twice: Sequence[str]) -> str:
    parts = [
        f" {word}: {_listed(names)}."
        for word, names in (("Missing", missing), ("Unknown", unknown), ("There more than once", twice))
        if names
    ]
    if len(missing) == 1 and len(unknown) == 1:
        near = difflib.get_close_matches(unknown[0][:_LONGEST], [missing[0][:_LONGEST]])
        parts += [f" Is {excerpt(unknown[0])} meant to be {excerpt(missing[0])}?"] if near else []
    return "".join(parts)


def _listed(names: Sequence[str]) -> str:
    some = ", ".join(excerpt(column, 30) for column in names[:_MOST_LISTED])
    return some if len(names) <= _MOST_LISTED else f"{some} and {len(names) - _MOST_LISTED} more"
