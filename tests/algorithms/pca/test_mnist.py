"""The walkthrough's own data, both ways round: `randomized` captures what the best components would."""

import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eigenline.algorithms.batch import Batch
from eigenline.algorithms.pca.settings import read_settings
from eigenline.algorithms.pca.solver_choice import make_plan
from eigenline.algorithms.pca.training import TrainedPCA, solve
from eigenline.algorithms.records import RecordsHere

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def images(mnist_folder: Path) -> NDArray[np.float32]:
    content = gzip.decompress((mnist_folder / "train-images-idx3-ubyte.gz").read_bytes())
    pixels = np.frombuffer(content, np.uint8, offset=16).reshape(-1, 784)[:50_000]
    return pixels.astype(np.float32) / np.float32(256)


@pytest.fixture(scope="module")
def optimum(images: NDArray[np.float32]) -> dict[bool, NDArray[np.float64]]:
    """Eigenvalues of the exact scatter matrices, descending: of the images, and of the transposed pixels."""
    wide = images.astype(np.float64)
    by_image = wide - wide.mean(axis=1, keepdims=True)  # of the transposed array, whose columns are the images
    return {
        False: np.linalg.eigvalsh(np.cov(wide.T, bias=True) * len(wide))[::-1],
        True: np.linalg.eigvalsh(by_image.T @ by_image)[::-1],
    }


def captured(features: NDArray[Any], components: NDArray[Any]) -> float:
    basis = np.linalg.qr(components.astype(np.float64))[0]
    shift = features.mean(axis=0, dtype=np.float64) @ basis
    return float(
        sum(np.square(features[i : i + 5000] @ basis - shift).sum() for i in range(0, len(features), 5000))
    )


@pytest.mark.parametrize("transposed", [False, True], ids=["images", "walkthrough"])
@pytest.mark.parametrize(("k", "rows"), [(1, 5000), (10, 97), (50, 784)])
def test_randomized_captures_the_optimum(
    fit: Callable[..., TrainedPCA],
    images: NDArray[np.float32],
    optimum: dict[bool, NDArray[np.float64]],
    transposed: bool,
    k: int,
    rows: int,
) -> None:
    features = np.ascontiguousarray(images.T, np.float64) if transposed else images
    trained = fit(features, k, rows=rows, algorithm_mode="randomized")
    share = captured(features, trained.model.components) / optimum[transposed][:k].sum()
    assert 0.9999 < share < 1 + 1e-6


@pytest.mark.parametrize("transposed", [False, True], ids=["images", "walkthrough"])
def test_the_iteration_captures_the_optimum_in_few_passes(
    images: NDArray[np.float32], optimum: dict[bool, NDArray[np.float64]], transposed: bool
) -> None:
    """The same where neither side is small enough for a direct solver and nothing is held."""
    features = np.ascontiguousarray(images.T, np.float64) if transposed else images
    given = {"feature_dim": 1, "mini_batch_size": 500, "num_components": 10, "algorithm_mode": "randomized"}
    plan = replace(make_plan(read_settings(given), np.float32), direct_features=0, direct_records=0, held_bytes=0)
    batches = [Batch(features[i : i + 2500]) for i in range(0, len(features), 2500)]
    solution = solve(RecordsHere(batches), plan, np.random.default_rng(0))
    share = captured(features, solution.decomposition.components) / optimum[transposed][:10].sum()
    assert 0.9999 < share < 1 + 1e-6
    assert solution.passes <= 5
