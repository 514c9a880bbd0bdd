"""The same model to the byte, whatever number of parts the records lie in and however they were dealt out."""

from functools import cache
from typing import Any

import numpy as np
import pytest

from eigenline.algorithms.pca.blocks import BLOCK_BYTES
from tests.cluster import trainings
from tests.cluster.parts_here import records_in_parts

DEALT = [(1, "sharded"), (2, "replicated"), (3, "sharded"), (5, "unevenly")]
_linear_learner = cache(lambda name: trainings.linear_learner_data(name))
_pca = cache(lambda name: trainings.pca_data(name))


@cache
def _linear_learner_here(name: str) -> Any:
    return trainings.linear_learner_bytes(name, _linear_learner(name))


@cache
def _pca_here(name: str) -> Any:
    return trainings.pca_bytes(name, _pca(name))


@pytest.mark.parametrize(("parts", "dealt"), DEALT)
@pytest.mark.parametrize("name", ["logistic", "sparse", "squared", "scaler of the first"])
def test_linear_learner(name: str, parts: int, dealt: str) -> None:
    records = records_in_parts(_linear_learner(name), parts, dealt)
    trainings.assert_same_bytes(trainings.linear_learner_bytes(name, records), _linear_learner_here(name))


@pytest.mark.slow
@pytest.mark.parametrize(("parts", "dealt"), DEALT)
@pytest.mark.parametrize("name", sorted(set(trainings.LINEAR_LEARNER) - {"logistic", "sparse", "squared"}))
def test_linear_learner_of_every_kind(name: str, parts: int, dealt: str) -> None:
    test_linear_learner(name, parts, dealt)


@pytest.mark.parametrize(("parts", "dealt"), DEALT)
@pytest.mark.parametrize("name", trainings.PCA)
def test_pca(name: str, parts: int, dealt: str) -> None:
    records = records_in_parts(_pca(name), parts, dealt, block_bytes=BLOCK_BYTES)
    trainings.assert_same_bytes(trainings.pca_bytes(name, records), _pca_here(name))


def test_threads_of_the_parts_change_nothing() -> None:
    records = records_in_parts(_linear_learner("logistic"), 3, "sharded", threads=3)
    found = trainings.linear_learner_bytes("logistic", records)
    trainings.assert_same_bytes(found, _linear_learner_here("logistic"))


def test_a_validation_channel_in_parts() -> None:
    batches = _linear_learner("logistic")
    here = trainings.linear_learner_bytes("logistic", batches[4:], batches[:4])
    for parts, dealt in DEALT:
        train, validation = (records_in_parts(some, parts, dealt) for some in (batches[4:], batches[:4]))
        trainings.assert_same_bytes(trainings.linear_learner_bytes("logistic", train, validation), here)


def test_few_records_are_trained_where_they_are_gathered() -> None:
    batches = _linear_learner("logistic")[:6]
    here = trainings.linear_learner_bytes("logistic", batches)
    for parts, dealt in DEALT:
        found = trainings.linear_learner_bytes("logistic", records_in_parts(batches, parts, dealt))
        trainings.assert_same_bytes(found, here)


@pytest.mark.parametrize(("parts", "dealt"), [*DEALT, (4, "chunks")])
def test_a_sample(parts: int, dealt: str) -> None:
    batches = _linear_learner("logistic")[:8]
    whole = records_in_parts(batches, 1, "sharded").sample(3_000)
    found = records_in_parts(batches, parts, dealt).sample(3_000)
    np.testing.assert_array_equal(found.features, whole.features)
    np.testing.assert_array_equal(found.labels, whole.labels)
