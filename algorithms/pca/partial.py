"""PCA of records that come piece by piece and are never seen again: one streamed state, finished at any time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from eigenline.algorithms.batch import Features
from eigenline.algorithms.pca import covariance, iteration, krylov, moments, products
from eigenline.algorithms.pca.moments import Moments
from eigenline.algorithms.pca.plan import Plan, Solution
from eigenline.algorithms.pca.products import ScatterProduct


@dataclass(frozen=True, eq=False)
class PartialState:
    """Moments with the scatter matrix, or, where that is too large, with a sketch of it.

    Attributes
    ----------
    plan
        What is asked for.
    moments
        Of all records so far.
    sketch
        The scatter matrix times a block of random directions; None where the moments have the matrix itself.
    """

    plan: Plan
    moments: Moments
    sketch: ScatterProduct | None


def begin(features: Features, plan: Plan, generator: np.random.Generator) -> PartialState:
    """Start for records like `features`, which are not counted yet.

    States of one generator seed have the same random directions, so that they can be merged.
    """
    direct = features.shape[1] <= plan.direct_features
    state = moments.begin(features, with_products=direct)
    origin = state.origin if state.origin.any() else None
    return PartialState(plan, state, None if direct else iteration.begin(state, plan, origin, generator))


def update(state: PartialState, features: Features) -> PartialState:
    """Add records; the old state must not be used again."""
    precision = state.plan.precision
    sketch = None if state.sketch is None else products.update(state.sketch, features, precision)
    return replace(state, moments=moments.update(state.moments, features, precision), sketch=sketch)


def finish(state: PartialState) -> Solution:
    """Decompose what has been seen; the state can still be added to."""
    plan = state.plan
    if state.sketch is None:
        pairs = covariance.decompose(state.moments.scatter(plan.centred), plan.num_components, plan.precision)
    else:
        basis = krylov.extend(
            krylov.begin(state.sketch.directions, plan.block_size), state.sketch.finish(plan.centred)
        )
        pairs = krylov.decompose(basis, plan.num_components, "single-pass Nystroem sketch")
    return Solution(state.moments, pairs, 1)
