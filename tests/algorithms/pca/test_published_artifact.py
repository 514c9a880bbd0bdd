"""A real job of the service: its artifact, its training data and its endpoint's answers, reproduced."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from eigenline.algorithms.pca.model import PCAModel
from eigenline.algorithms.pca.training import TrainedPCA
from eigenline.formats.artifact.model_file import read_artifact

STRONGEST_FIRST = [24, 23, 22, 21, 20, 19]  # the columns that the endpoint's file holds


@pytest.fixture(scope="module")
def features(aws_data: Path) -> NDArray[np.float32]:
    return np.loadtxt(aws_data / "pca-regular" / "train.csv", delimiter=",", skiprows=1, dtype=np.float32)


@pytest.fixture(scope="module")
def answers(aws_data: Path) -> NDArray[np.float32]:
    file = aws_data / "pca-regular" / "endpoint_projections.csv"
    return np.loadtxt(file, delimiter=",", skiprows=1, dtype=np.float64).astype(np.float32)


@pytest.fixture(scope="module")
def published(aws_data: Path) -> PCAModel:
    model = read_artifact((aws_data / "pca-regular" / "model_algo-1").read_bytes())
    assert isinstance(model, PCAModel)
    return model


@pytest.fixture
def trained(fit: Callable[..., TrainedPCA], features: NDArray[np.float32]) -> TrainedPCA:
    return fit(features, 25, rows=500)


def test_singular_values_and_mean_are_the_published_ones(trained: TrainedPCA, published: PCAModel) -> None:
    known = np.isfinite(published.singular_values)
    assert known.sum() == 24  # the service stored NaN for the first
    ours = trained.model.singular_values
    np.testing.assert_allclose(ours[known], published.singular_values[known], rtol=1e-4)
    assert ours[0] < 1e-3 * ours[-1]
    np.testing.assert_allclose(trained.model.mean, published.mean, rtol=0, atol=2e-7)


def test_components_are_the_published_ones_in_order_and_sign(trained: TrainedPCA, published: PCAModel) -> None:
    # The first column belongs to no variance at all: nothing but rounding decides its sign.
    np.testing.assert_allclose(trained.model.components[:, 1:], published.components[:, 1:], atol=5e-4)
    np.testing.assert_allclose(trained.model.components[:, 19:], published.components[:, 19:], atol=2e-5)
    first = abs(float(trained.model.components[:, 0] @ published.components[:, 0]))
    assert first == pytest.approx(1, abs=1e-5)


def test_the_model_trained_here_answers_as_the_endpoint_did(
    trained: TrainedPCA, features: NDArray[np.float32], answers: NDArray[np.float32]
) -> None:
    projections = trained.model.project(features)[:, STRONGEST_FIRST]
    np.testing.assert_allclose(projections, answers, rtol=0, atol=1e-5)


@pytest.mark.parametrize("request_rows", [1, 2, 3, 7, 16, 33, 500, 1840])
def test_the_published_model_answers_bit_for_bit_in_requests_of_any_size(
    published: PCAModel, features: NDArray[np.float32], answers: NDArray[np.float32], request_rows: int
) -> None:
    parts = [published.project(features[i : i + request_rows]) for i in range(0, len(features), request_rows)]
    np.testing.assert_array_equal(np.concatenate(parts)[:, STRONGEST_FIRST], answers)


def test_the_published_randomized_model_is_read_strongest_first(aws_data: Path) -> None:
    model = read_artifact((aws_data / "pca-randomized" / "model_algo-1").read_bytes())
    assert isinstance(model, PCAModel)
    assert model.components.shape == (20, 19)
    assert (np.diff(model.singular_values) <= 0).all()
