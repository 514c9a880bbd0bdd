"""The state at the end of a pass as named arrays, and back: a killed training goes on to the same model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.pca.blocks import Array64
from eigenline.algorithms.pca.iteration import Search
from eigenline.algorithms.pca.krylov import BASIS_BLOCKS, KrylovBasis
from eigenline.algorithms.pca.moments import Moments

Checkpoint: TypeAlias = Mapping[str, NDArray[Any]]


def of_moments(moments: Moments) -> dict[str, NDArray[Any]]:
    """Name what the first pass has added up, the scatter matrix included where there is one."""
    state = {
        "count": np.array(moments.count),
        "origin": moments.origin,
        "sums": moments.sums,
        "squares": np.array(moments.squares),
    }
    return state if moments.products is None else {**state, "products": moments.products}


def moments_of(state: Checkpoint) -> Moments:
    """Return the moments that `of_moments` named."""
    return Moments(
        int(state["count"]), state["origin"], state["sums"], float(state["squares"]), state.get("products")
    )


def of_search(search: Search, moments: Moments, origin: Array64 | None, passes: int) -> dict[str, NDArray[Any]]:
    """Name where an iteration over passes stands after one of them.

    Parameters
    ----------
    search
        After the products so far.
    moments
        Of the first pass.
    origin
        Point that the records of further passes are moved to, shape (d,); None for zero.
    passes
        Over the records, so far.
    """
    basis = search.basis
    return {
        **of_moments(moments),
        "moved_to": np.zeros(0) if origin is None else origin,
        "passes": np.array(passes),
        "known": basis.known,
        "projected": basis.projected,
        "coupling": basis.coupling,
        "keep": np.array(basis.keep),
        "products_done": np.array(search.products),
        "captured": np.array([search.captured, search.gain, search.before]),
    }


def has_search(state: Checkpoint) -> bool:
    """Return whether the state is that of an iteration; else the moments are all that is needed."""
    return "known" in state


def passes_of(state: Checkpoint) -> int:
    """Return how many passes over the records lie behind a state."""
    return int(state["passes"]) if has_search(state) else 1


def search_of(state: Checkpoint) -> tuple[Search, Array64 | None]:
    """Return the iteration and the origin that `of_search` named."""
    known, coupling, keep = state["known"], state["coupling"], int(state["keep"])
    d, size = known.shape
    # As `krylov.begin` lays it out, so that the same products give the same bits.
    room = np.empty((d, max(BASIS_BLOCKS * keep, size)), known.dtype, order="F")
    room[:, :size] = known
    following = np.ascontiguousarray(known[:, size - len(coupling) :])
    captured, gain, before = map(float, state["captured"])
    basis = KrylovBasis(room, following, state["projected"], coupling, keep)
    origin = state["moved_to"] if state["moved_to"].size else None
    return Search(basis, int(state["products_done"]), captured, gain, before), origin
