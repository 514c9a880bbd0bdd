"""Which way leads to the components: from the features' side, the records' side, or by iteration over the data."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from algorithms.batch import Batch, Batches, HeldBatches, is_sparse
from algorithms.errors import DataError
from algorithms.pca import covariance, iteration, krylov, moments, products, record_side, rows
from algorithms.pca.blocks import Array64, useful_origin
from algorithms.pca.decomposition import Decomposition
from algorithms.pca.moments import Moments
from algorithms.pca.plan import STOPPED, Plan, Progress, Solution, Steps, Stopping, check_components
from algorithms.pca.products import ScatterProduct
from algorithms.pca.sparse_products import blas_out_of_the_way

# Records of up to so many features are multiplied in float64: it costs little, and weak components gain digits.
_NARROW: Final = 64
_PATIENCE: Final = 3000  # features from which the eigenproblem takes long enough to be announced
_NARROW_BLOCK: Final = 12  # directions in a sparse product, at least


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
    if first.feature_dim <= plan.direct_features:
        let_go(batches)
        return (yield from _few_features(first, pieces, plan, stopping))
    return (yield from _many_features(first, pieces, batches, plan, generator, stopping))


def let_go(batches: Batches) -> None:
    """Tell a data set that keeps its batches that they will not be read again."""
    if isinstance(batches, HeldBatches):
        batches.let_go()


def _few_features(first: Batch, pieces: Iterator[Batch], plan: Plan, stopping: Stopping) -> Steps:
    """One pass for the d x d scatter matrix."""
    if first.feature_dim <= _NARROW:
        plan = replace(plan, precision=np.float64)
    state = moments.begin(first.features, with_products=True)
    count = 0
    for count, batch in enumerate(pieces, 1):
        state = _counted(state, batch, plan)
        yield Progress(1, state.count, count, batch.feature_dim)
        if stopping():
            break
    d = first.feature_dim
    if d > _PATIENCE:
        yield Progress(
            1, state.count, count, d, f"the scatter matrix is complete; solving {d:,} x {d:,} takes a while"
        )
    pairs = covariance.decompose(state.scatter(plan.centred), plan.num_components)
    return Solution(state, pairs, 1, (STOPPED,) if stopping() else ())


@dataclass(frozen=True, eq=False)
class _FirstPass:
    """What the first pass gathers where there are many features: moments, and the records or a first product."""

    moments: Moments
    held: rows.HeldRows
    product: ScatterProduct | None = None
    sparse: bool = False
    batches: int = 0

    def origin(self, plan: Plan) -> Array64 | None:
        """Where dense records are moved to from now on, now that mean and variance are known."""
        if self.sparse or not plan.centred:
            return None
        return useful_origin(self.moments.mean, self.moments.total() / self.moments.count)

    def progress(self) -> Progress:
        """Where training stands."""
        return Progress(1, self.moments.count, self.batches, len(self.moments.sums))


def _many_features(
    first: Batch,
    pieces: Iterator[Batch],
    batches: Batches,
    plan: Plan,
    generator: np.random.Generator,
    stopping: Stopping,
) -> Steps:
    """One pass that keeps the records while they fit; then products with what is held, or further passes."""
    beginning = moments.begin(first.features, with_products=False)
    seen = _FirstPass(beginning, rows.begin(first.features, beginning.origin, plan.precision, plan.held_bytes))
    for batch in pieces:
        seen = _gathered(seen, batch, plan, generator)
        yield seen.progress()
        if stopping():
            break
    if seen.product is None:
        let_go(batches)
        pairs = yield from _held(seen, plan, generator)
        return Solution(seen.moments, pairs, 1, (STOPPED,) if stopping() else ())
    channel = iteration.ChannelPasses(batches, seen.origin(plan), seen.moments, plan, stopping)
    images = seen.product.finish(plan.centred)
    total = seen.moments.total(plan.centred)
    basis = krylov.begin(seen.product.directions, plan.block_size)
    basis = yield from iteration.iterate(basis, images, channel.multiply, plan, total, seen.progress())
    pairs = krylov.decompose(basis, plan.num_components, "randomised block Krylov iteration over the channel")
    return Solution(seen.moments, pairs, channel.passes, channel.notes)


def _gathered(seen: _FirstPass, batch: Batch, plan: Plan, generator: np.random.Generator) -> _FirstPass:
    """Add a batch; when the records no longer fit, all that were held go into the first product."""
    state = _counted(seen.moments, batch, plan)
    held = rows.update(seen.held, batch.features, plan.precision, plan.held_bytes)
    product = seen.product
    if held.overflown:
        if product is None:
            product = iteration.begin(state, plan, None, generator)
            if seen.held.count:  # these were moved to the origin already
                product = products.update(product, seen.held.features, plan.precision, plan.threads)
            product = replace(product, origin=state.origin if state.origin.any() else None)
        product = products.update(product, batch.features, plan.precision, plan.threads)
    return _FirstPass(state, held, product, seen.sparse or is_sparse(batch.features), seen.batches + 1)


def _held(
    seen: _FirstPass, plan: Plan, generator: np.random.Generator
) -> Generator[Progress, None, Decomposition]:
    """All records are in memory: a direct solution if they are few, else iteration on the smaller side."""
    rest = (seen.moments.mean if plan.centred else 0.0) - seen.held.origin
    records = rows.CentredRows(seen.held.features, rest if rest.any() else None, plan.threads)
    n, d = records.shape
    if n <= plan.direct_records:
        return record_side.decompose(records, plan.num_components)
    # A dense product costs by the pass over the records, a sparse one by the direction.
    width = max(_NARROW_BLOCK, plan.block_size // 4) if is_sparse(records.features) else plan.block_size
    first = krylov.directions(min(n, d), min(width, plan.block_size, n, d), plan.precision, generator)

    def images(block: NDArray[Any]) -> NDArray[Any]:
        if n < d:
            return records.times(records.adjoint_times(block))
        return records.scatter_times(block)

    def multiply(block: NDArray[Any]) -> Generator[Progress, None, NDArray[Any]]:
        yield seen.progress()
        return images(block)

    total = seen.moments.total(plan.centred)
    basis = krylov.begin(first, plan.block_size)
    with blas_out_of_the_way() if is_sparse(records.features) and plan.threads > 1 else nullcontext():
        basis = yield from iteration.iterate(basis, images(first), multiply, plan, total, seen.progress())
    method = "randomised block Krylov iteration in memory"
    if n >= d:
        return krylov.decompose(basis, plan.num_components, method)
    left = krylov.decompose(basis, plan.block_size, method).components
    return record_side.from_left(records, left, plan.num_components, method)


def _counted(state: Moments, batch: Batch, plan: Plan) -> Moments:
    """Add a batch to the moments, once it is known to fit and to be finite."""
    if batch.feature_dim != len(state.sums):
        raise DataError(
            f"The train channel: after {state.count} records of {len(state.sums)} features come records of "
            f"{batch.feature_dim}. Expected the same number everywhere."
        )
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is an error that names its place
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
