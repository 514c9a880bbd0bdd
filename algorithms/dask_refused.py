"""Dask collections are refused by estimators that work in memory, which would pull all records in here unasked."""

from __future__ import annotations

from typing import Any


def is_dask(array: Any) -> bool:
    """Return whether something is a Dask array, data frame or series; Dask need not be installed."""
    return type(array).__module__.partition(".")[0] in ("dask", "dask_expr")


def refuse_dask(estimator: Any, *arrays: Any) -> None:
    """Refuse Dask collections: converting them would bring all records into this process.

    Parameters
    ----------
    estimator
        Whose name the error says.
    arrays
        What was given.

    Raises
    ------
    TypeError
        With the name of the estimator that leaves records where they are.
    """
    for array in filter(is_dask, arrays):
        name = type(estimator).__name__
        raise TypeError(
            f"{name} works on arrays in memory, and this is a Dask {type(array).__name__}. "
            f"Use eigenline.cluster.{name}, which leaves the records on the workers, or give array.compute()."
        )
