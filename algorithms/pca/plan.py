"""What is asked of the routes to the components, and what they tell on the way."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from numpy.typing import NDArray

from eigenline.algorithms.errors import DataError
from eigenline.algorithms.pca.blocks import Precision
from eigenline.algorithms.pca.decomposition import Decomposition
from eigenline.algorithms.pca.moments import Moments


@dataclass(frozen=True)
class Plan:
    """What is asked of the routes, and where one gives way to the next.

    Attributes
    ----------
    num_components
        Components wanted.
    block_size
        Directions that the iteration carries: num_components + extra_components.
    direct_features
        Up to so many features, the d x d scatter matrix is formed and solved directly.
    direct_records
        Up to so many records, held in memory, their n x n Gram matrix is formed and solved directly.
    held_bytes
        Up to so many bytes of records are held, so that further passes read memory.
    tolerance
        The iteration ends when a pass added no more than this share of the captured variance.
    max_products
        The iteration ends after so many products with the scatter matrix, a pass over the data each.
    centred
        Whether the mean is subtracted.
    precision
        Of the products inside a block; totals are float64 always.
    threads
        That products of sparse records may use; those of dense records use BLAS's own.
    """

    num_components: int
    block_size: int
    direct_features: int
    direct_records: int
    held_bytes: int
    tolerance: float
    max_products: int
    centred: bool
    precision: Precision
    threads: int = 1


# What a killed training goes on from: arrays by name.
State: TypeAlias = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Progress:
    """Where training stands: yielded after each batch, and once more at the end of each pass.

    Attributes
    ----------
    pass_number
        Which pass over the channel, from 1; passes over records held in memory are not counted.
    records, batches
        Read in this pass so far.
    feature_dim
        Features of a record.
    finding
        Empty, or, at the end of a pass or step, what it found out.
    num_bytes
        That the records read in this pass so far take in memory.
    state
        At the end of a pass, where training can go on from there: all that is known by then.
    """

    pass_number: int
    records: int
    batches: int
    feature_dim: int
    num_bytes: int = 0
    finding: str = ""
    state: State | None = None


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
        Over the channel.
    notes
        What a user should know: an early stop, a stream that could not be read again.
    """

    moments: Moments
    decomposition: Decomposition
    passes: int
    notes: tuple[str, ...] = ()


Steps: TypeAlias = Generator[Progress, None, Solution]
Stopping: TypeAlias = Callable[[], bool]

STOPPED = "Training was asked to stop early: the model describes the records that had been read by then."


def check_components(wanted: int, feature_dim: int) -> None:
    """Refuse more components than a record has features.

    Raises
    ------
    DataError
        Naming both numbers.
    """
    if wanted > feature_dim:
        raise DataError(
            f"num_components is {wanted}, but the records of the train channel have only {feature_dim} "
            f"feature(s). Expected num_components of at most {feature_dim}."
        )
