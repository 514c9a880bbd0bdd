"""The iterative route: randomised block Krylov over repeated passes, for any number of records and features."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from algorithms.batch import Batch
from algorithms.errors import DataError
from algorithms.pca import krylov, products
from algorithms.pca.blocks import Array64
from algorithms.pca.moments import Moments
from algorithms.pca.plan import STOPPED, Plan, Progress, Solution, Steps, Stopping
from algorithms.pca.products import ScatterProduct

NOT_READ_AGAIN = (
    "The channel gave no records when it was read again, so the components come from a single pass "
    "(a Nystroem sketch): they are less accurate than several passes would make them."
)


def begin(moments: Moments, plan: Plan, origin: Array64 | None, generator: np.random.Generator) -> ScatterProduct:
    """Start the first product, of random directions."""
    d = len(moments.sums)
    directions = krylov.begin(d, min(plan.block_size, d), plan.precision, generator)
    return products.begin(directions, origin)


def iterate(
    product: ScatterProduct,
    again: Iterable[Batch],
    origin: Array64 | None,
    moments: Moments,
    plan: Plan,
    stopping: Stopping,
    *,
    held: bool,
) -> Steps:
    """Multiply block after block until a further pass would capture next to nothing more.

    Parameters
    ----------
    product
        The finished first product.
    again
        The data; each `iter()` is one more pass.
    origin
        Point that dense records are moved to in later products; None for zero.
    held
        Whether `again` reads records from memory, so that its passes are not passes over the channel.
    """
    basis: krylov.KrylovBasis | None = None
    best, gain, passes = 0.0, 0.0, 1
    notes: tuple[str, ...] = ()
    for multiplied in range(1, plan.max_products + 1):
        basis, directions = krylov.extend(basis, product.directions, product.finish(plan.centred))
        captured = krylov.captured(basis, plan.num_components)
        gain, before, best = captured - best, gain, captured
        yield Progress(passes, product.count, 0, len(moments.sums), finding=_finding(captured, moments, plan))
        if stopping():
            notes = (STOPPED,)
        if notes or multiplied == plan.max_products or not directions.size:
            break
        if _still_missing(gain, before) <= plan.tolerance * best:
            break
        passes += not held
        product = yield from _multiply(directions, again, origin, plan, stopping, passes)
        if product.count == 0:
            notes = (NOT_READ_AGAIN,)
            break
        if stopping():  # an incomplete product is worthless; what the basis already holds is not
            notes = (STOPPED,)
            break
        _check_same_records(product.count, moments.count, passes)
    assert basis is not None
    pairs = krylov.decompose(basis, plan.num_components, "randomised block Krylov iteration")
    return Solution(moments, pairs, passes, notes)


def _multiply(
    directions: NDArray[Any],
    again: Iterable[Batch],
    origin: Array64 | None,
    plan: Plan,
    stopping: Stopping,
    pass_number: int,
) -> Generator[Progress, None, ScatterProduct]:
    product = products.begin(directions, origin)
    for count, batch in enumerate(again, 1):
        product = products.update(product, batch.features, plan.precision)
        yield Progress(pass_number, product.count, count, batch.feature_dim)
        if stopping():
            break
    return product


def _still_missing(gain: float, before: float) -> float:
    """What all further passes together may add, if gains go on shrinking as they did from `before` to `gain`.

    Gains of a block Krylov iteration shrink faster and faster, so this errs on the side of one pass more.
    """
    if not 0 < gain < before:
        return gain if gain > 0 and before > 0 else (0.0 if before > 0 else float("inf"))
    return gain * gain / (before - gain)


def _finding(captured: float, moments: Moments, plan: Plan) -> str:
    total = moments.total(plan.centred)
    share = 100 * captured / total if total > 0 else 100.0
    return f"{plan.num_components} component(s) capture at least {share:.5f} % of the variance"


def _check_same_records(count: int, expected: int, pass_number: int) -> None:
    if count != expected:
        raise DataError(
            f"Pass {pass_number} over the train channel gave {count} records, but the first gave {expected}. "
            "Expected the same data in every pass; in Pipe mode each FIFO must carry the whole channel."
        )
