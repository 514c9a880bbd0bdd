"""Work on threads comes back in order, is bounded, and leaves BLAS as it was."""

import threading
import time

import numpy as np
import pytest
from scipy.sparse import csr_array

from eigenline.algorithms.blas_threads import blas_out_of_the_way, blas_threads, in_order
from eigenline.algorithms.linear_learner.hyperparameter_grid import make_grid
from eigenline.algorithms.linear_learner.losses import make_loss
from eigenline.algorithms.linear_learner.objective import Objective
from eigenline.algorithms.linear_learner.rows import Preparation
from eigenline.algorithms.linear_learner.scaling import Scaler
from eigenline.algorithms.linear_learner.settings import read_settings
from eigenline.algorithms.records import RecordsHere
from tests.algorithms.linear_learner import training_runs as runs


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(threads):
    def work(item):
        time.sleep(0.01 if item % 3 == 0 else 0)  # later items are done earlier
        return item * item

    assert list(in_order(work, iter(range(40)), threads)) == [item * item for item in range(40)]


def test_no_more_items_are_taken_than_threads_can_hold():
    taken, release = [], threading.Event()

    def items():
        for item in range(100):
            taken.append(item)
            yield item

    results = in_order(lambda item: release.wait(5) and item, items(), 2)
    threading.Timer(0.2, release.set).start()
    assert next(results) == 0
    assert len(taken) <= 5
    results.close()
    assert len(taken) <= 5


def test_a_mistake_in_the_work_or_in_the_items_comes_out():
    with pytest.raises(ZeroDivisionError):
        list(in_order(lambda item: 1 // item, [3, 0, 1], 2))

    def items():
        yield 1
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        list(in_order(lambda item: item, items(), 2))


def test_blas_has_its_threads_again_afterwards():
    before = blas_threads()
    with blas_out_of_the_way():
        assert blas_threads() == 1
    assert blas_threads() == before


@pytest.mark.parametrize("make", [np.asarray, csr_array])
def test_the_number_of_threads_changes_no_bit_of_a_pass(rng, make):
    X = rng.normal(size=(30_000, 40)).astype(np.float32)
    y = (X[:, 0] > 0).astype(np.float32)
    settings = read_settings({"predictor_type": "binary_classifier"})
    channel = runs.held(make(X), y, pieces=7)
    preparation = Preparation(Scaler(np.zeros(40), np.ones(40)), np.float32, folds=4)
    candidates = make_grid(settings, 1.0, 20).take([0, 9, 18, 27])
    single, threaded = (
        Objective(
            RecordsHere(channel, threads=count), preparation, make_loss("logistic"), candidates, np.arange(4)
        )
        for count in (1, 3)
    )
    parameters = rng.normal(size=(41, 4))
    with blas_out_of_the_way():
        alone, together = single.evaluate(parameters), threaded.evaluate(parameters)
    for name in ("loss", "held_out_loss", "smooth", "gradient"):
        assert getattr(alone, name).tobytes() == getattr(together, name).tobytes(), name
