"""The service's initial weights are MXNet's random numbers, checked against MXNet itself where it is installed."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from eigenline.algorithms.linear_learner.initial_weights import MXNetRandom, service_weights
from eigenline.algorithms.linear_learner.settings import read_settings

SIZES = (20, 35, 130, 70_000, 20)  # one stream, one, three, the most, and one that goes on
_DRAW = """
import sys
import mxnet, numpy
arrays = []
for draw in ("uniform(-0.07, 0.07", "normal(0, 0.01"):
    mxnet.random.seed(3)
    for size in {sizes}:
        arrays.append(eval("mxnet.nd.random." + draw + ", shape=(%d,))" % size).asnumpy())
numpy.savez(sys.argv[1], *arrays)
"""


@pytest.fixture(scope="module")
def mxnet_arrays(mxnet_python: Path, tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    path = tmp_path_factory.mktemp("mxnet") / "arrays.npz"
    subprocess.run([mxnet_python, "-c", _DRAW.format(sizes=SIZES), path], check=True, capture_output=True)
    with np.load(path) as arrays:
        return [arrays[name] for name in arrays.files]


def test_uniform_numbers_are_mxnets_to_the_last_bit(mxnet_arrays):
    random = MXNetRandom(3)
    for size, theirs in zip(SIZES, mxnet_arrays, strict=False):
        assert random.uniform(size, 0.07).tobytes() == theirs.tobytes(), size


def test_normal_numbers_are_mxnets_but_for_the_last_bit(mxnet_arrays):
    """The logarithms of two libraries differ in their last bit."""
    random = MXNetRandom(3)
    for size, theirs in zip(SIZES, mxnet_arrays[len(SIZES) :], strict=True):
        assert random.normal(size, 0.01) == pytest.approx(theirs, rel=3e-6, abs=1e-9), size


def test_models_are_drawn_in_string_order_of_their_names():
    settings = read_settings({"predictor_type": "regressor", "compatibility": "aws"})
    weights = service_weights(settings, 5, 12)
    random = MXNetRandom(0)
    for model in (0, 10, 11, 1, 2, 3, 4, 5, 6, 7, 8, 9):
        assert (weights[:, model] == random.uniform(5, 0.07)).all(), model


def test_the_first_numbers_are_std_mt19937s():
    """5489 is the default seed of C++, whose first number the standard's authors publish."""
    assert np.random.RandomState(5489).randint(0, 2**32, dtype=np.uint64) == 3499211612
