"""The state at the end of a pass as named arrays, and back: a killed training goes on to the same model."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.pca.blocks import Array64
from eigenline.algorithms.pca.iteration import Search
from eigenline.algorithms.pca.krylov import BASIS_BLOCKS, KrylovBasis
from eigenline.algorithms.pca.moments import Moments
from eigenline.algorithms.pca.plan import State


def state_of_moments(moments: Moments) -> dict[str, NDArray[Any]]:
    """Name what one pass has summed up, the scatter matrix included where there is one."""
    state = {
        "count": np.array(moments.count),
        "origin": moments.origin,
        "sums": moments.sums,
        "squares": np.array(moments.squares),
    }
    return state if moments.products is None else {**state, "products": moments.products}


def moments_of(state: State) -> Moments:
    """Give back what `state_of_moments` named."""
    return Moments(
        int(state["count"]), state["origin"], state["sums"], float(state["squares"]), state.get("products")
    )


def state_of_search(
    search: Search, moments: Moments, origin: Array64 | None, passes: int
) -> dict[str, NDArray[Any]]:
    """Name where an iteration over a channel stands after a pass.

    Parameters
    ----------
    origin
        Point that the records of further passes are moved to.
    passes
        Over the channel, so far.
    """
    basis = search.basis
    return {
        **state_of_moments(moments),
        "moved_to": np.zeros(0) if origin is None else origin,
        "passes": np.array(passes),
        "known": basis.known,
        "projected": basis.projected,
        "coupling": basis.coupling,
        "keep": np.array(basis.keep),
        "products_done": np.array(search.products),
        "captured": np.array([search.captured, search.gain, search.before]),
    }


def search_of(state: State) -> Search:
    """Give back the iteration that `state_of_search` named."""
    known, coupling, keep = state["known"], state["coupling"], int(state["keep"])
    d, size = known.shape
    # As `krylov.begin` lays it out, so that the same products give the same bits.
    room = np.empty((d, max(BASIS_BLOCKS * keep, size)), known.dtype, order="F")
    room[:, :size] = known
    following = np.ascontiguousarray(known[:, size - len(coupling) :])
    captured, gain, before = map(float, state["captured"])
    basis = KrylovBasis(room, following, state["projected"], coupling, keep)
    return Search(basis, int(state["products_done"]), captured, gain, before)
