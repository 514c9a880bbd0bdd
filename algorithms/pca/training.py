"""Training PCA: settings and records in, the model and what is known of the data out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Batch, is_sparse
from eigenline.algorithms.blas_threads import blas_out_of_the_way
from eigenline.algorithms.errors import RecordsError
from eigenline.algorithms.pca import checkpoint, iteration, krylov
from eigenline.algorithms.pca.blocks import Array64, Precision, pilot_origin, useful_origin
from eigenline.algorithms.pca.checkpoint import Checkpoint
from eigenline.algorithms.pca.direct_solvers import Decomposition, completed, covariance_eigh, from_left, gram_eigh
from eigenline.algorithms.pca.held_records import CentredRecords, HeldRecords, Holding
from eigenline.algorithms.pca.model import PCAModel
from eigenline.algorithms.pca.moments import Moments, MomentSums, MomentsWork
from eigenline.algorithms.pca.scatter_product import ProductSums, ScatterProduct
from eigenline.algorithms.pca.settings import PCASettings
from eigenline.algorithms.pca.solver_choice import Plan, make_plan
from eigenline.algorithms.records import Records, Stopped

STOPPED: Final = "Training was asked to stop early: the model describes the records that had been read by then."
NOT_READ_AGAIN: Final = (
    "There were no records when they were read again, so the components come from a single pass "
    "(a Nystroem sketch): they are less accurate than several passes would make them."
)
# From so many features on, the eigenproblem takes long enough to be announced.
_LONG_SOLVE: Final = 3000


@dataclass(frozen=True)
class Stage:
    """The end of a pass, or of a step in memory.

    Attributes
    ----------
    passes
        Over the records so far; steps in memory are no passes.
    records
        Number of records.
    feature_dim
        Features of a record.
    finding
        What was found, as half a sentence; empty where there is nothing to say.
    checkpoint
        Where training can go on from here: arrays by name, all that is known by now; None where it cannot.
    """

    passes: int
    records: int
    feature_dim: int
    finding: str = ""
    checkpoint: Checkpoint | None = None


Observe: TypeAlias = Callable[[Stage], None]


@dataclass(frozen=True, eq=False)
class Solution:
    """Moments of all records and the strongest eigenpairs of their scatter matrix.

    Attributes
    ----------
    moments
        Of the records of the first pass.
    decomposition
        Strongest first; fewer pairs than wanted where the data do not vary in so many directions.
    passes
        Over the records.
    notes
        Sentences for the user: an early stop, records that could not be read again.
    """

    moments: Moments
    decomposition: Decomposition
    passes: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class TrainedPCA:
    """A model, and what is known of its training data.

    Attributes
    ----------
    model
        Components in the order of their mode, as the artifact stores them.
    eigenvalues
        Shape (num_components,), float64, in the model's order: squared singular values.
    total_variance
        Sum of squared distances of the records from their mean (from zero without `subtract_mean`), which all
        possible components together would explain. Divide by ``num_records - 1`` for the variance.
    num_records
        Trained on.
    method
        How the components were found.
    passes
        Over the records.
    notes
        Sentences for the user: an early stop and the like.
    spectrum
        All eigenvalues, strongest first, where a direct method found them; else None.
    """

    model: PCAModel
    eigenvalues: Array64
    total_variance: float
    num_records: int
    method: str
    passes: int
    notes: tuple[str, ...] = ()
    spectrum: Array64 | None = None


def unobserved(stage: Stage) -> None:
    """Observe nothing."""


def train(
    settings: PCASettings,
    records: Records,
    generator: np.random.Generator,
    *,
    precision: Precision = np.float32,
    threads: int = 1,
    resume: Checkpoint | None = None,
    observe: Observe = unobserved,
) -> TrainedPCA:
    """Train a model. The number of threads, and of parts that the records are read in, changes no bit of it.

    Where the job is asked to stop, the model is the best so far.

    Parameters
    ----------
    settings
        The hyperparameters.
    records
        Features of one number; labels are not used.
    generator
        Source of random numbers.
    precision
        Of products inside a block; sums that grow with the data are float64 always.
    threads
        That products of sparse records may use; those of dense records use BLAS's own.
    resume
        The newest `Stage.checkpoint` of a training with the same settings and data that was killed: the model
        becomes the one that it would have become.
    observe
        Called at the end of each pass, and of each step that takes time.

    Raises
    ------
    RecordsError
        If there are no records, their length differs, values are not finite, or they have fewer features than
        `num_components`.
    Stopped
        If the job was asked to stop before any record was read.
    """
    plan = make_plan(settings, precision, threads)
    completing = generator.spawn(1)[0]  # of its own, because a resumed training has no need of the first draws
    solution = solve(records, plan, generator, resume=resume, observe=observe)
    pairs, moments = solution.decomposition, solution.moments
    components = completed(pairs.components, settings.num_components, completing)
    eigenvalues = np.zeros(settings.num_components)
    eigenvalues[: len(pairs.eigenvalues)] = pairs.eigenvalues
    # `regular`: the order in which a symmetric eigensolver gives them, and in which SageMaker stores them.
    if settings.algorithm_mode == "regular":
        components, eigenvalues = components[:, ::-1], eigenvalues[::-1]
    model = PCAModel(
        _float32(np.sqrt(eigenvalues)),
        _float32(components),
        _float32(moments.mean) if settings.subtract_mean else None,
    )
    if not (np.isfinite(model.singular_values).all() and np.isfinite(_float32(moments.mean)).all()):
        raise RecordsError("Values are too large for float32 components. Scale the features.")
    return TrainedPCA(
        model,
        eigenvalues,
        moments.total(settings.subtract_mean),
        moments.count,
        pairs.method,
        solution.passes,
        solution.notes,
        pairs.spectrum,
    )


def solve(
    records: Records,
    plan: Plan,
    generator: np.random.Generator,
    *,
    resume: Checkpoint | None = None,
    observe: Observe = unobserved,
) -> Solution:
    """Find the strongest eigenpairs of the records' scatter matrix; parameters and errors as those of `train`."""
    if resume is not None:
        return _resumed(resume, records, plan, observe)
    head = records.head()
    if head is None:
        raise RecordsError("There are no records. Expected at least one.")
    first_pass = FirstPass.of(head, plan, generator)
    if first_pass.forms_scatter:
        records.release()
    stopped = False
    try:
        seen = records.total(first_pass, exact=False)
    except Stopped as stop:
        if stop.partial is None or not stop.partial.moments.count:
            raise
        seen, stopped = stop.partial, True
    notes = (STOPPED,) if stopped else ()
    moments, plan = first_pass.moments.finish(seen.moments), first_pass.plan
    if first_pass.forms_scatter:
        finding = _long_solve(head.feature_dim)
        state = None if stopped else checkpoint.of_moments(moments)
        observe(Stage(1, moments.count, head.feature_dim, finding, state))
        del seen  # as large as the scatter matrix, twice
        return _from_scatter(moments, plan, notes)
    if seen.product is None:
        records.release()
        pairs = _from_held(seen.held, first_pass, moments, generator, observe)
        return Solution(moments, pairs, 1, notes)
    if stopped:
        return replace(from_one_pass(first_pass, seen), notes=notes)
    centre = plan.centred and not seen.has_sparse
    origin = useful_origin(moments.mean, moments.total() / moments.count) if centre else None
    return _over_passes(records, plan, moments, origin, _first_search(first_pass, seen), 1, observe)


def from_one_pass(first_pass: FirstPass, seen: Seen) -> Solution:
    """Return what can be known of records that were read once and not held; `seen` can still be added to.

    Parameters
    ----------
    first_pass
        The work.
    seen
        Its sums.
    """
    moments, plan = first_pass.moments.finish(seen.moments), first_pass.plan
    if first_pass.forms_scatter:
        return _from_scatter(moments, plan)
    basis = _first_search(first_pass, seen).basis
    return Solution(moments, krylov.decompose(basis, plan.num_components, "single-pass Nystroem sketch"), 1)


def _first_search(first_pass: FirstPass, seen: Seen) -> iteration.Search:
    work, plan = first_pass.product, first_pass.plan
    search = iteration.Search(krylov.begin(work.directions, plan.block_size))
    return search.after(work.finish(first_pass.multiplied(seen), plan.centred), plan)


_OVER_PASSES: Final = "randomised block Krylov iteration over the records"
_IN_MEMORY: Final = "randomised block Krylov iteration in memory"


def _long_solve(d: int) -> str:
    return f"the scatter matrix is complete; solving {d:,} x {d:,} takes a while" if d > _LONG_SOLVE else ""


def _from_scatter(moments: Moments, plan: Plan, notes: tuple[str, ...] = ()) -> Solution:
    scatter = moments.scatter(plan.centred)
    return Solution(moments, covariance_eigh(scatter, plan.num_components, plan.precision), 1, notes)


def _resumed(state: Checkpoint, records: Records, plan: Plan, observe: Observe) -> Solution:
    """Go on after the passes that a checkpoint knows."""
    moments = checkpoint.moments_of(state)
    d = len(moments.sums)
    if not checkpoint.has_search(state):
        records.release()
        observe(Stage(1, moments.count, d))
        return _from_scatter(moments, plan.for_features(d))
    search, origin = checkpoint.search_of(state)
    return _over_passes(records, plan, moments, origin, search, checkpoint.passes_of(state), observe)


@dataclass(eq=False)
class Seen:
    """What `FirstPass` adds up.

    Attributes
    ----------
    moments
        Of all records.
    held
        All records, while they fit and there is no product.
    product
        With the scatter matrix, once they did not fit.
    has_sparse
        Whether any records were sparse.
    """

    moments: MomentSums
    held: HeldRecords
    product: ProductSums | None = None
    has_sparse: bool = False


@dataclass(frozen=True, eq=False)
class FirstPass:
    """The work of the first pass; a `Work`.

    Few features: moments with the scatter matrix. Many: moments without, and the records themselves while they
    fit in memory, else their scatter matrix times random directions.

    Attributes
    ----------
    plan
        What is wanted.
    moments
        Their part of the work.
    holding
        What of the records is held.
    generator
        Of random directions, should the records not fit.
    """

    plan: Plan
    moments: MomentsWork
    holding: Holding
    generator: np.random.Generator

    @classmethod
    def of(cls, head: Batch, plan: Plan, generator: np.random.Generator) -> FirstPass:
        """Choose the work for records like `head`, which are not added up yet.

        Raises
        ------
        RecordsError
            If they have fewer features than components are wanted.
        """
        d = head.feature_dim
        if plan.num_components > d:
            raise RecordsError(
                f"num_components is {plan.num_components}, but the records have only {d} feature(s). "
                f"Expected num_components of at most {d}."
            )
        plan = plan.for_features(d)
        origin = pilot_origin(head.features)
        return cls(
            plan,
            MomentsWork(origin, plan.precision, with_products=d <= plan.direct_features),
            Holding(origin, plan.precision, plan.held_bytes),
            # One of its own: what is drawn later must not depend on whether directions were needed here.
            generator.spawn(1)[0],
        )

    @property
    def forms_scatter(self) -> bool:
        """Whether the moments have the scatter matrix, so that nothing else is needed."""
        return self.moments.with_products

    @cached_property
    def product(self) -> ScatterProduct:
        """The part of the work with random directions: drawn when needed, and the same wherever they are drawn."""
        d, plan, origin = len(self.moments.origin), self.plan, self.moments.origin
        generator = deepcopy(self.generator)
        directions = krylov.directions(d, min(plan.block_size, d), plan.precision, generator)
        return ScatterProduct(directions, origin if origin.any() else None, plan.precision, plan.threads)

    def begin(self) -> Seen:
        """Return the sums over no record."""
        return Seen(self.moments.begin(), HeldRecords())

    def update(self, state: Seen, batch: Batch, first: int) -> Seen:
        """Add records."""
        self.moments.update(state.moments, batch, first)
        state.has_sparse |= is_sparse(batch.features)
        held = state.product is None and not self.forms_scatter
        held = held and self.holding.add(state.held, batch.features, first)
        if not self.forms_scatter and not held:
            self.product.update(self.multiplied(state), batch, first)
        return state

    def merge(self, first: Seen, second: Seen) -> Seen:
        """Add the sums over other records."""
        self.moments.merge(first.moments, second.moments)
        first.has_sparse |= second.has_sparse
        held = first.product is None and second.product is None and self.holding.merge(first.held, second.held)
        if not self.forms_scatter and not held:
            self.product.merge(self.multiplied(first), self.multiplied(second))
        return first

    def multiplied(self, state: Seen) -> ProductSums:
        """Give up holding records, and return the product so far."""
        if state.product is None:
            state.product = self.product.begin()
            for block in state.held.blocks():  # dense ones were moved to the origin when they were copied
                work = self.product if is_sparse(block) else replace(self.product, origin=None)
                work.update(state.product, Batch(block), 0)
            state.held = HeldRecords()
        return state.product


class _NotReadAgain(Exception):  # noqa: N818 -- no error: a single pass gives a model too
    """A further pass had no records."""


def _over_passes(
    records: Records,
    plan: Plan,
    moments: Moments,
    origin: Array64 | None,
    search: iteration.Search,
    passes: int,
    observe: Observe,
) -> Solution:
    """Iterate with one more pass over the records for each product.

    Parameters
    ----------
    moments
        Of the first pass.
    origin
        Point that dense records are moved to, shape (d,); None for zero.
    search
        After the products so far.
    passes
        Made so far.
    """
    notes: tuple[str, ...] = ()

    def multiply(directions: NDArray[Any]) -> NDArray[Any]:
        nonlocal passes
        passes += 1
        work = ScatterProduct(directions, origin, plan.precision, plan.threads)
        sums = records.total(work, exact=False)
        if not sums.count:
            passes -= 1
            raise _NotReadAgain
        if sums.count != moments.count:
            raise RecordsError(
                f"Pass {passes} gave {sums.count} records, but the first gave {moments.count}. Expected the same "
                "data in every pass."
            )
        return work.finish(sums, plan.centred)

    try:
        for search in iteration.iterate(search, multiply, plan):  # noqa: B020 -- the newest one is kept
            state = checkpoint.of_search(search, moments, origin, passes)
            observe(_stage(search, plan, moments, passes, state))
    except Stopped:
        notes = (STOPPED,)
    except _NotReadAgain:
        notes = (NOT_READ_AGAIN,)
    return Solution(moments, krylov.decompose(search.basis, plan.num_components, _OVER_PASSES), passes, notes)


def _from_held(
    held: HeldRecords, first_pass: FirstPass, moments: Moments, generator: np.random.Generator, observe: Observe
) -> Decomposition:
    """All records are in memory: a direct solution if they are few, else iteration on the smaller side."""
    plan = first_pass.plan
    rest = (moments.mean if plan.centred else 0.0) - moments.origin
    records = CentredRecords(held.features, rest if rest.any() else None, plan.threads)
    n, d = records.shape
    if n <= plan.direct_records:
        return gram_eigh(records, plan.num_components)
    sparse = is_sparse(records.features)
    width = plan.first_block(n, d, sparse=sparse)
    if sparse:
        plan = plan.for_held_sparse()
    search = iteration.Search(
        krylov.begin(krylov.directions(min(n, d), width, plan.precision, generator), plan.block_size)
    )

    def multiply(block: NDArray[Any]) -> NDArray[Any]:
        return records.times(records.adjoint_times(block)) if n < d else records.scatter_times(block)

    # With one thread too: how many threads BLAS has must not depend on how many there are for sparse products.
    with blas_out_of_the_way() if sparse else nullcontext():
        for search in iteration.iterate(search, multiply, plan):  # noqa: B020 -- the newest one is kept
            observe(_stage(search, plan, moments, 1))
    if n >= d:
        return krylov.decompose(search.basis, plan.num_components, _IN_MEMORY)
    left = krylov.decompose(search.basis, plan.block_size, _IN_MEMORY).components
    return from_left(records, left, plan.num_components, _IN_MEMORY)


def _stage(
    search: iteration.Search, plan: Plan, moments: Moments, passes: int, state: Checkpoint | None = None
) -> Stage:
    total = moments.total(plan.centred)
    share = 100 * search.captured / total if total > 0 else 100.0
    finding = f"{plan.num_components} component(s) capture at least {share:.5f} % of the variance"
    return Stage(passes, moments.count, len(moments.sums), finding, state)


def _float32(values: NDArray[np.floating]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # an overflow is an error with words of its own
        return np.ascontiguousarray(values, np.float32)
