"""The iterative route: randomised block Krylov over repeated products, for any number of records and features."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Batch
from eigenline.algorithms.errors import DataError
from eigenline.algorithms.pca import krylov, products
from eigenline.algorithms.pca.blocks import Array64
from eigenline.algorithms.pca.moments import Moments
from eigenline.algorithms.pca.plan import STOPPED, Plan, Progress, State, Stopping
from eigenline.algorithms.pca.products import ScatterProduct

NOT_READ_AGAIN = (
    "The channel gave no records when it was read again, so the components come from a single pass "
    "(a Nystroem sketch): they are less accurate than several passes would make them."
)

# A block of directions in, its images out; None where a pass was cut short.
Multiply: TypeAlias = Callable[[NDArray[Any]], Generator[Progress, None, "NDArray[Any] | None"]]


@dataclass(frozen=True, eq=False)
class Search:
    """How far an iteration has come.

    Attributes
    ----------
    basis
        What the products so far have told. A block narrower than `Plan.block_size` takes more products of less
        work each, which pays where a product costs by the direction and not by the pass.
    products
        How many there were.
    captured
        What the wanted components capture by now.
    gain, before
        What the last product and the one before it added to that.
    """

    basis: krylov.KrylovBasis
    products: int = 0
    captured: float = 0.0
    gain: float = 0.0
    before: float = 0.0

    def after(self, images: NDArray[Any], plan: Plan) -> Search:
        """Take in one product more."""
        basis = krylov.extend(self.basis, images)
        captured = krylov.captured(basis, plan.num_components)
        return Search(basis, self.products + 1, captured, captured - self.captured, self.gain)

    def is_over(self, plan: Plan) -> bool:
        """Tell whether all further products together would capture next to nothing more."""
        if not self.basis.following.size or self.products >= plan.max_products:
            return True
        # Gains below a few rounding errors are no gains; a smaller tolerance would be waited for in vain.
        tolerance = max(plan.tolerance, 4 * float(np.finfo(plan.precision).eps))
        return self.basis.size >= plan.block_size and self._still_missing() <= tolerance * self.captured

    def _still_missing(self) -> float:
        """What all further products may add, if gains go on shrinking as they did from `before` to `gain`.

        Gains of a block Krylov iteration shrink faster and faster, so this errs on the side of one pass more.
        """
        if self.before == 0.0:
            return float("inf")  # nothing is known after a single product
        before = abs(self.before)
        if self.gain <= 0.0:  # a restart takes a little away; it does not tell that nothing more is to come
            return before
        return self.gain**2 / (before - self.gain) if self.gain < before else float("inf")


def iterate(
    search: Search,
    multiply: Multiply,
    plan: Plan,
    where: Callable[[], Progress],
    total: float,
    journal: Callable[[Search], State] | None = None,
) -> Generator[Progress, None, Search]:
    """Multiply block after block until all further ones together would capture next to nothing more.

    Parameters
    ----------
    search
        Where to begin; with products behind it, it is told of first.
    multiply
        Gives the products of further blocks.
    where
        Tells where training stands.
    total
        Total variance, for what is told on the way.
    journal
        Gives the state that a killed training may go on from, where there is one.
    """
    while True:
        if search.products:
            share = 100 * search.captured / total if total > 0 else 100.0
            finding = f"{plan.num_components} component(s) capture at least {share:.5f} % of the variance"
            yield replace(where(), finding=finding, state=None if journal is None else journal(search))
            if search.is_over(plan):
                return search
        images = yield from multiply(search.basis.following)
        if images is None:
            return search
        search = search.after(images, plan)


def begin(moments: Moments, plan: Plan, origin: Array64 | None, generator: np.random.Generator) -> ScatterProduct:
    """Start the first streamed product, of random directions."""
    d = len(moments.sums)
    directions = krylov.directions(d, min(plan.block_size, d), plan.precision, generator)
    return products.begin(directions, origin)


@dataclass(eq=False)
class ChannelPasses:
    """Products with the scatter matrix, each a pass over a channel.

    Attributes
    ----------
    again
        The channel; each `iter()` is one more pass.
    origin
        Point that dense records are moved to; None for zero.
    moments
        Of the first pass: what further passes must agree with.
    passes
        Begun so far, the first one included.
    notes
        What the user should know: why the passes ended early.
    """

    again: Iterable[Batch]
    origin: Array64 | None
    moments: Moments
    plan: Plan
    stopping: Stopping
    passes: int = 1
    notes: tuple[str, ...] = field(default=())

    def where(self) -> Progress:
        """Tell where training stands at the end of a pass."""
        return Progress(self.passes, self.moments.count, 0, len(self.moments.sums))

    def multiply(self, directions: NDArray[Any]) -> Generator[Progress, None, Array64 | None]:
        """One more pass; None where the job was asked to stop, or the channel cannot be read again.

        Raises
        ------
        DataError
            If the pass gave another number of records than the first.
        """
        product = products.begin(directions, self.origin)
        if self.stopping():
            self.notes = (STOPPED,)
            return None
        self.passes += 1
        num_bytes = 0
        for count, batch in enumerate(self.again, 1):
            num_bytes += batch.num_bytes
            product = products.update(product, batch.features, self.plan.precision, self.plan.threads)
            yield Progress(self.passes, product.count, count, batch.feature_dim, num_bytes)
            if self.stopping():  # an incomplete product is worthless; what the basis already holds is not
                self.notes = (STOPPED,)
                return None
        if product.count == 0:
            self.notes = (STOPPED if self.stopping() else NOT_READ_AGAIN,)
            return None
        if product.count != self.moments.count:
            raise DataError(
                f"Pass {self.passes} over the train channel gave {product.count} records, but the first gave "
                f"{self.moments.count}. Expected the same data in every pass; in Pipe mode each FIFO must carry "
                "the whole channel."
            )
        return product.finish(self.plan.centred)
