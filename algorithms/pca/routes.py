"""Which way leads to the components: from the features' side, the records' side, or by iteration over the data."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Batch, Batches, HeldBatches, is_sparse
from eigenline.algorithms.blas_threads import blas_out_of_the_way
from eigenline.algorithms.errors import DataError
from eigenline.algorithms.pca import covariance, iteration, krylov, moments, products, record_side, resuming, rows
from eigenline.algorithms.pca.blocks import Array64, useful_origin
from eigenline.algorithms.pca.checked import counted
from eigenline.algorithms.pca.decomposition import Decomposition
from eigenline.algorithms.pca.moments import Moments
from eigenline.algorithms.pca.plan import (
    STOPPED,
    Plan,
    Progress,
    Solution,
    State,
    Steps,
    Stopping,
    check_components,
)
from eigenline.algorithms.pca.products import ScatterProduct

# Records of up to so many features are multiplied in float64: it costs little, and weak components gain digits.
_NARROW: Final = 64
_PATIENCE: Final = 3000  # features from which the eigenproblem takes long enough to be announced
_NARROW_BLOCK: Final = 16  # directions in a sparse product, at least


def solve(
    batches: Batches,
    plan: Plan,
    generator: np.random.Generator,
    stopping: Stopping,
    resume: State | None = None,
) -> Steps:
    """Decompose a channel: in one pass where a direct route is open, else by randomised block Krylov iteration.

    Every `iter(batches)` is one pass. Yields a `Progress` after each batch and returns a `Solution`.
    Once `stopping()` is true, reading ends and the solution describes what has been read. With `resume`, the
    `Progress.state` of an earlier run of the same plan on the same data, passes that are in it are not read again.

    Raises
    ------
    DataError
        If the channel is empty, records differ in length, values are not finite, or a record has fewer
        features than there shall be components.
    """
    if resume is not None:
        return (yield from _resumed(resume, batches, plan, stopping))
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
    plan = _precise(plan, first.feature_dim)
    state = moments.begin(first.features, with_products=True)
    count, num_bytes = 0, 0
    for count, batch in enumerate(pieces, 1):
        state = counted(state, batch, plan)
        num_bytes += batch.num_bytes
        yield Progress(1, state.count, count, batch.feature_dim, num_bytes)
        if stopping():
            break
    d = first.feature_dim
    finding = f"the scatter matrix is complete; solving {d:,} x {d:,} takes a while" if d > _PATIENCE else ""
    stopped = stopping()
    complete = None if stopped else resuming.state_of_moments(state)
    yield Progress(1, state.count, count, d, num_bytes, finding, complete)
    return _from_scatter(state, plan, (STOPPED,) if stopped else ())


def _precise(plan: Plan, feature_dim: int) -> Plan:
    return replace(plan, precision=np.float64) if feature_dim <= _NARROW else plan


def _from_scatter(state: Moments, plan: Plan, notes: tuple[str, ...] = ()) -> Solution:
    return Solution(
        state, covariance.decompose(state.scatter(plan.centred), plan.num_components, plan.precision), 1, notes
    )


@dataclass(frozen=True, eq=False)
class _FirstPass:
    """What the first pass gathers where there are many features: moments, and the records or a first product."""

    moments: Moments
    held: rows.HeldRows
    product: ScatterProduct | None = None
    sparse: bool = False
    batches: int = 0
    num_bytes: int = 0

    def origin(self, plan: Plan) -> Array64 | None:
        """Where dense records are moved to from now on, now that mean and variance are known."""
        if self.sparse or not plan.centred:
            return None
        return useful_origin(self.moments.mean, self.moments.total() / self.moments.count)

    def progress(self) -> Progress:
        """Where training stands."""
        return Progress(1, self.moments.count, self.batches, len(self.moments.sums), self.num_bytes)


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
    begun = iteration.Search(krylov.begin(seen.product.directions, plan.block_size))
    search = begun.after(seen.product.finish(plan.centred), plan)
    return (yield from _over_channel(channel, search, complete=not stopping()))


def _over_channel(channel: iteration.ChannelPasses, search: iteration.Search, *, complete: bool = True) -> Steps:
    """Further passes over the channel, until they bring nothing more; after an incomplete one no state is kept."""

    def journal(search: iteration.Search) -> State:
        return resuming.state_of_search(search, channel.moments, channel.origin, channel.passes)

    plan, seen = channel.plan, channel.moments
    total = seen.total(plan.centred)
    search = yield from iteration.iterate(
        search, channel.multiply, plan, channel.where, total, journal if complete else None
    )
    method = "randomised block Krylov iteration over the channel"
    pairs = krylov.decompose(search.basis, plan.num_components, method)
    return Solution(seen, pairs, channel.passes, channel.notes)


def _resumed(state: State, batches: Batches, plan: Plan, stopping: Stopping) -> Steps:
    """Go on after the passes whose state was kept."""
    seen = resuming.moments_of(state)
    if "known" not in state:
        let_go(batches)
        yield Progress(1, seen.count, 0, len(seen.sums))
        return _from_scatter(seen, _precise(plan, len(seen.sums)))
    origin = state["moved_to"] if state["moved_to"].size else None
    channel = iteration.ChannelPasses(batches, origin, seen, plan, stopping, int(state["passes"]))
    return (yield from _over_channel(channel, resuming.search_of(state)))


def _gathered(seen: _FirstPass, batch: Batch, plan: Plan, generator: np.random.Generator) -> _FirstPass:
    """Add a batch; when the records no longer fit, all that were held go into the first product."""
    state = counted(seen.moments, batch, plan)
    held = rows.update(seen.held, batch.features, plan.precision, plan.held_bytes)
    product = seen.product
    if held.overflown:
        if product is None:
            product = iteration.begin(state, plan, None, generator)
            if seen.held.count:  # these were moved to the origin already
                product = products.update(product, seen.held.features, plan.precision, plan.threads)
            product = replace(product, origin=state.origin if state.origin.any() else None)
        product = products.update(product, batch.features, plan.precision, plan.threads)
    sparse = seen.sparse or is_sparse(batch.features)
    return _FirstPass(state, held, product, sparse, seen.batches + 1, seen.num_bytes + batch.num_bytes)


def _held(
    seen: _FirstPass, plan: Plan, generator: np.random.Generator
) -> Generator[Progress, None, Decomposition]:
    """All records are in memory: a direct solution if they are few, else iteration on the smaller side."""
    rest = (seen.moments.mean if plan.centred else 0.0) - seen.held.origin
    records = rows.CentredRows(seen.held.features, rest if rest.any() else None, plan.threads)
    n, d = records.shape
    if n <= plan.direct_records:
        return record_side.decompose(records, plan.num_components)
    sparse = is_sparse(records.features)
    width = plan.block_size
    if (
        sparse
    ):  # a dense product costs by the pass over the records, a sparse one by the direction, and that little
        width = max(_NARROW_BLOCK, plan.block_size // 4)
        plan = replace(plan, tolerance=plan.tolerance / 10, max_products=2 * plan.max_products)
    first = krylov.directions(min(n, d), min(width, plan.block_size, n, d), plan.precision, generator)

    def multiply(block: NDArray[Any]) -> Generator[Progress, None, NDArray[Any]]:
        yield seen.progress()
        if n < d:
            return records.times(records.adjoint_times(block))
        return records.scatter_times(block)

    total = seen.moments.total(plan.centred)
    search = iteration.Search(krylov.begin(first, plan.block_size))
    with blas_out_of_the_way() if sparse and plan.threads > 1 else nullcontext():
        search = yield from iteration.iterate(search, multiply, plan, seen.progress, total)
    method = "randomised block Krylov iteration in memory"
    if n >= d:
        return krylov.decompose(search.basis, plan.num_components, method)
    left = krylov.decompose(search.basis, plan.block_size, method).components
    return record_side.from_left(records, left, plan.num_components, method)
