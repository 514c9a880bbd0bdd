"""Block Krylov iteration with products of any kind, until further ones bring next to nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.pca import krylov
from eigenline.algorithms.pca.solver_choice import Plan

# A block of directions in, shape (d, b); its product with the scatter matrix out, shape (d, b).
Multiply: TypeAlias = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Search:
    """How far an iteration has come.

    Attributes
    ----------
    basis
        The Krylov space of all products so far. A block narrower than `Plan.block_size` takes more products of
        less work each, which pays where a product costs in proportion to its directions.
    products
        How many there were.
    captured
        Sum of the wanted eigenvalues as known by now, which never exceeds the true sum.
    gain, before
        What the last product and the one before it added to that.
    """

    basis: krylov.KrylovBasis
    products: int = 0
    captured: float = 0.0
    gain: float = 0.0
    before: float = 0.0

    def after(self, images: NDArray[Any], plan: Plan) -> Search:
        """Return the search after one product more; `images` has shape (d, b)."""
        basis = krylov.extend(self.basis, images)
        captured = krylov.captured(basis, plan.num_components)
        return Search(basis, self.products + 1, captured, captured - self.captured, self.gain)

    def is_over(self, plan: Plan) -> bool:
        """Return whether all further products together would capture next to nothing more."""
        if not self.basis.following.size or self.products >= plan.max_products:
            return True
        # Gains below a few rounding errors are no gains; a smaller tolerance would never be reached.
        tolerance = max(plan.tolerance, 4 * float(np.finfo(plan.precision).eps))
        return self.basis.size >= plan.block_size and self._still_missing() <= tolerance * self.captured

    def _still_missing(self) -> float:
        """What all further products may add, if gains go on shrinking as they did from `before` to `gain`.

        Gains of a block Krylov iteration shrink faster and faster, so this errs on the side of one pass more.
        """
        if self.before == 0.0:
            return float("inf")  # nothing is known after a single product
        before = abs(self.before)
        if self.gain <= 0.0:  # a restart takes a little away, which does not mean that no more will come
            return before
        return self.gain**2 / (before - self.gain) if self.gain < before else float("inf")


def iterate(search: Search, multiply: Multiply, plan: Plan) -> Iterator[Search]:
    """Multiply block after block, and yield the search after each product, until it is over.

    Parameters
    ----------
    search
        Where to begin; with products behind it, it is yielded first.
    multiply
        Gives the products.
    plan
        When to end.
    """
    if search.products:
        yield search
    while not (search.products and search.is_over(plan)):
        search = search.after(multiply(search.basis.following), plan)
        yield search
