"""Training PCA: settings and a channel in, the model and what is known of it out."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Batches
from eigenline.algorithms.errors import DataError
from eigenline.algorithms.pca import routes
from eigenline.algorithms.pca.blocks import Array64, Precision
from eigenline.algorithms.pca.decomposition import completed
from eigenline.algorithms.pca.model import PCAModel
from eigenline.algorithms.pca.plan import Plan, Progress, State, Stopping
from eigenline.algorithms.pca.settings import PCASettings

# `regular` is exact, so it solves directly as long as a matrix of this size is bearable: 0.5 GB in float64.
_REGULAR_DIRECT: Final = 8192
# `randomized`: measured; below these the direct routes are as fast as the iteration, and exact.
_RANDOMIZED_DIRECT_FEATURES: Final = 1024
_RANDOMIZED_DIRECT_RECORDS: Final = 1024
_RECORDS_PER_DIRECTION: Final = 12
# Beyond the batch and the model, training may hold so much of the channel, and no more.
_HELD_BYTES: Final = 256 << 20


@dataclass(frozen=True, eq=False)
class TrainedPCA:
    """A model, and what was learnt about the data on the way.

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
        Records of the train channel.
    method
        How the components were found.
    passes
        Over the train channel.
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


def never() -> bool:
    """Tell that nobody asked training to stop."""
    return False


def make_plan(settings: PCASettings, precision: Precision, threads: int = 1) -> Plan:
    """Decide from the settings where one route to the components gives way to the next.

    Direct routes take memory of the order of ``block_size * feature_dim`` too, up to a constant: the limits grow
    with the block.
    """
    size = settings.sketch_size
    regular = settings.algorithm_mode == "regular"
    few_records = max(min(_RECORDS_PER_DIRECTION * size, _RANDOMIZED_DIRECT_RECORDS), 2 * size)
    return Plan(
        num_components=settings.num_components,
        block_size=size,
        direct_features=_REGULAR_DIRECT if regular else max(_RANDOMIZED_DIRECT_FEATURES, 4 * size),
        direct_records=_REGULAR_DIRECT if regular else few_records,
        held_bytes=_HELD_BYTES,
        tolerance=1e-8 if regular else 2e-5,
        max_products=200 if regular else 60,
        centred=settings.subtract_mean,
        precision=precision,
        threads=threads,
    )


def train(
    settings: PCASettings,
    channel: Batches,
    generator: np.random.Generator,
    stopping: Stopping = never,
    precision: Precision = np.float32,
    threads: int = 1,
    resume: State | None = None,
) -> Generator[Progress, None, TrainedPCA]:
    """Train a model; yields a `Progress` after each batch and returns a `TrainedPCA`.

    Parameters
    ----------
    settings
        What the user asked.
    channel
        The records; each `iter()` is one pass.
    generator
        Source of random numbers.
    stopping
        Asked after each batch; once it says true, training finishes with what it has.
    precision
        Of products inside a block; sums that grow with the data are float64 always.
    threads
        That products of sparse records may use; those of dense records use BLAS's own.
    resume
        The newest `Progress.state` of a training with the same settings and data that was killed: the model
        becomes the one that it would have become.

    Raises
    ------
    DataError
        If the channel is empty, ragged or not finite, or has fewer features than `num_components`.
    """
    plan = make_plan(settings, precision, threads)
    completing = generator.spawn(1)[0]  # of its own, because a resumed training has no need of the first draws
    solution = yield from routes.solve(channel, plan, generator, stopping, resume)
    pairs, moments = solution.decomposition, solution.moments
    components = completed(pairs.components, settings.num_components, completing)
    eigenvalues = np.zeros(settings.num_components)
    eigenvalues[: len(pairs.eigenvalues)] = pairs.eigenvalues
    if (
        settings.algorithm_mode == "regular"
    ):  # the order in which a symmetric eigensolver gives them, and in which SageMaker stores them
        components, eigenvalues = components[:, ::-1], eigenvalues[::-1]
    model = PCAModel(
        _float32(np.sqrt(eigenvalues)),
        _float32(components),
        _float32(moments.mean) if settings.subtract_mean else None,
    )
    if not (np.isfinite(model.singular_values).all() and np.isfinite(_float32(moments.mean)).all()):
        raise DataError("The train channel: values are too large for float32 components. Scale the features.")
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


def _float32(values: NDArray[np.floating]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # an overflow is an error with words of its own
        return np.ascontiguousarray(values, np.float32)
