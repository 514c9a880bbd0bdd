"""Which way leads to the components: from the features' side, the records' side, or by iteration over the data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from algorithms.batch import Batch, Batches, HeldBatches, is_sparse
from algorithms.errors import DataError
from algorithms.pca import covariance, gram, iteration, moments, products, rows
from algorithms.pca.blocks import Array64, useful_origin
from algorithms.pca.moments import Moments
from algorithms.pca.plan import STOPPED, Plan, Progress, Solution, Steps, Stopping, check_components
from algorithms.pca.products import ScatterProduct


def solve(batches: Batches, plan: Plan, generator: np.random.Generator, stopping: Stopping) -> Steps:
    """Decompose a channel: in one pass where a direct route is open, else by randomised block Krylov iteration.

    Every `iter(batches)` is one pass. Yields a `Progress` after each batch and returns a `Solution`.
    Once `stopping()` is true, reading ends and the solution describes what has been read.

    Raises
    ------
    DataError
        If the channel is empty, records differ in length, values are not finite, or a record has fewer
        features than there shall be components.
    """
    source = iter(batches)
    first = next((batch for batch in source if len(batch)), None)
    if first is None:
        raise DataError("The train channel has no records. Expected at least one.")
    check_components(plan.num_components, first.feature_dim)
    pieces = chain([first], source)
    if first.feature_dim <= plan.direct_size:
        let_go(batches)
        return (yield from _feature_side(first, pieces, plan, stopping))
    return (yield from _record_side(first, pieces, batches, plan, generator, stopping))


def let_go(batches: Batches) -> None:
    """Tell a data set that keeps its batches that they will not be read again."""
    if isinstance(batches, HeldBatches):
        batches.let_go()


def _feature_side(first: Batch, pieces: Iterator[Batch], plan: Plan, stopping: Stopping) -> Steps:
    """One pass for the d x d scatter matrix."""
    state = moments.begin(first.features, with_products=True)
    for count, batch in enumerate(pieces, 1):
        state = _counted(state, batch, plan)
        yield Progress(1, state.count, count, batch.feature_dim)
        if stopping():
            break
    pairs = covariance.decompose(state.scatter(plan.centred), plan.num_components)
    return Solution(state, pairs, 1, (STOPPED,) if stopping() else ())


@dataclass(frozen=True, eq=False)
class _FirstPass:
    """What the first pass on the records' side gathers: moments, and the records or else a first product."""

    moments: Moments
    held: rows.HeldRows
    product: ScatterProduct | None = None
    sparse: bool = False


def _record_side(
    first: Batch,
    pieces: Iterator[Batch],
    batches: Batches,
    plan: Plan,
    generator: np.random.Generator,
    stopping: Stopping,
) -> Steps:
    """One pass that keeps the records while they fit; then a direct solution if they are few, else iteration."""
    seen = _FirstPass(moments.begin(first.features, with_products=False), rows.HeldRows())
    for count, batch in enumerate(pieces, 1):
        seen = _gathered(seen, batch, plan, generator)
        yield Progress(1, seen.moments.count, count, batch.feature_dim)
        if stopping():
            break
    origin = _later_origin(seen, plan)
    if seen.held.parts is not None:
        let_go(batches)
    if seen.held.parts is None:
        assert seen.product is not None
        return (
            yield from iteration.iterate(seen.product, batches, origin, seen.moments, plan, stopping, held=False)
        )
    if seen.moments.count <= plan.direct_size:
        mean = seen.moments.mean if plan.centred else None
        pairs = gram.decompose(seen.held.parts, origin, mean, plan.num_components, plan.precision)
        return Solution(seen.moments, pairs, 1, (STOPPED,) if stopping() else ())
    product = _multiplied(iteration.begin(seen.moments, plan, origin, generator), seen.held, plan)
    again = [Batch(part) for part in seen.held.parts]
    return (yield from iteration.iterate(product, again, origin, seen.moments, plan, stopping, held=True))


def _gathered(seen: _FirstPass, batch: Batch, plan: Plan, generator: np.random.Generator) -> _FirstPass:
    """Add a batch; when the records no longer fit, all that were held go into the first product."""
    state = _counted(seen.moments, batch, plan)
    held = rows.update(seen.held, batch, plan.precision)
    product = seen.product
    if held.parts is None:
        if product is None:
            origin = state.origin if state.origin.any() else None
            product = _multiplied(iteration.begin(state, plan, origin, generator), seen.held, plan)
        product = products.update(product, batch.features, plan.precision)
    return _FirstPass(state, held, product, seen.sparse or is_sparse(batch.features))


def _multiplied(product: ScatterProduct, held: rows.HeldRows, plan: Plan) -> ScatterProduct:
    for part in held.parts or ():
        product = products.update(product, part, plan.precision)
    return product


def _later_origin(seen: _FirstPass, plan: Plan) -> Array64 | None:
    """Where the passes after the first move dense records to, now that mean and variance are known."""
    if seen.sparse or not plan.centred:
        return None
    return useful_origin(seen.moments.mean, seen.moments.total() / seen.moments.count)


def _counted(state: Moments, batch: Batch, plan: Plan) -> Moments:
    """Add a batch to the moments, once it is known to fit and to be finite."""
    if batch.feature_dim != len(state.sums):
        raise DataError(
            f"The train channel: after {state.count} records of {len(state.sums)} features come records of "
            f"{batch.feature_dim}. Expected the same number everywhere."
        )
    added = moments.update(state, batch.features, plan.precision)
    if not np.isfinite(added.squares):
        raise DataError(_not_finite(state.count, batch, plan))
    return added


def _not_finite(before: int, batch: Batch, plan: Plan) -> str:
    """Word the error for a batch whose sum of squares is not finite: name record, feature and value."""
    limit = float(np.sqrt(np.finfo(plan.precision).max / max(1, batch.features.size)))
    features = batch.features
    if is_sparse(features):
        places = np.flatnonzero(~(np.abs(features.data) < limit))[:1]
        record = np.searchsorted(features.indptr, places, side="right") - 1
        column, value = features.indices[places].astype(np.intp), features.data[places]
    else:
        values = np.asarray(features)
        record, column = (indices[:1] for indices in np.nonzero(~(np.abs(values) < limit)))
        value = values[record, column]
    if not len(value):
        return "The train channel: values are too large to be squared. Expected smaller ones; scale the features."
    return (
        f"The train channel: record {before + int(record[0]) + 1}, feature {int(column[0]) + 1} is {value[0]!s}. "
        f"Expected a finite number of magnitude below {limit:.1g}; fill missing values before training."
    )
