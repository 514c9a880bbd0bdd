"""Records that no route to the components can use: each is refused, with its place."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from eigenline.algorithms.batch import Batch
from eigenline.algorithms.errors import DataError
from tests.algorithms.pca.solvers import cut, every_solver, solve


def test_an_empty_channel_is_an_error() -> None:
    for batches in ([], [Batch(np.empty((0, 4), np.float32))]):
        with pytest.raises(DataError, match="no records"):
            solve(batches, "covariance_eigh")


def test_more_components_than_features_are_refused_with_both_numbers(rng: np.random.Generator) -> None:
    with pytest.raises(DataError, match=r"num_components is 9.*only 4 feature"):
        solve([Batch(rng.standard_normal((20, 4)))], "covariance_eigh", num_components=9)


@every_solver
def test_records_of_another_length_are_refused(solver: str) -> None:
    with pytest.raises(DataError, match="after 10 records of 4 features come records of 5"):
        solve([Batch(np.ones((10, 4))), Batch(np.ones((10, 5)))], solver)


@every_solver
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_named_with_their_place(
    rng: np.random.Generator, solver: str, sparse: bool, value: float
) -> None:
    features = rng.standard_normal((40, 6))
    features[27, 4] = value
    batches = cut(csr_array(features) if sparse else features, 20)
    with pytest.raises(DataError, match=f"record 28, feature 5 is {value}"):
        solve(batches, solver)


def test_values_that_overflow_float32_are_named(rng: np.random.Generator) -> None:
    features = rng.standard_normal((40, 90))
    features[3, 2] = 1e30
    with pytest.raises(DataError, match=r"record 4, feature 3 is 1e\+30.*magnitude below"):
        solve([Batch(features)], "covariance_eigh", precision=np.float32)
