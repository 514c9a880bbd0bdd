"""The same bytes of a model however many parts the records are in, and whatever number of threads adds them up."""

import pickle
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array, random_array

from eigenline.algorithms.batch import Batch
from eigenline.algorithms.blas_threads import blas_out_of_the_way
from eigenline.algorithms.pca import training
from eigenline.algorithms.pca.explained import ExplainedWork
from eigenline.algorithms.pca.settings import read_settings
from eigenline.algorithms.pca.training import TrainedPCA, train
from eigenline.algorithms.records import RecordsHere, Work
from tests.algorithms.pca.solvers import PLAN, SOLVERS, cut


@pytest.fixture(autouse=True)
def _small_products_on_one_thread() -> Iterator[None]:
    """Threads of BLAS spin between products as small as these, beside the threads of the test."""
    with blas_out_of_the_way():
        yield


class RecordsInParts:
    """Records in several places: the work travels to each, and its sums travel back, all of them as bytes."""

    def __init__(self, batches: list[Batch], parts: int, threads: int = 1) -> None:
        self.count: int | None = None
        # Uneven parts, as files are.
        cuts = sorted({len(batches) * i * i // (parts * parts) for i in range(parts + 1)})
        starts = np.cumsum([0, *map(len, batches)]).tolist()
        self._parts = [
            RecordsHere(batches[start:stop], threads=threads, first=starts[start])
            for start, stop in pairwise(cuts)
        ]

    def head(self) -> Batch | None:
        return self._parts[0].head()

    def sample(self, count: int) -> Batch:
        raise NotImplementedError("PCA takes no sample")

    def release(self) -> None:
        for part in self._parts:
            part.release()

    def total(self, work: Work[Any], *, exact: bool = True, block_bytes: int | None = None) -> Any:
        state = work.begin()
        for part in self._parts:
            there = pickle.loads(pickle.dumps(work))
            state = work.merge(state, pickle.loads(pickle.dumps(part.total(there))))
        self.count = sum(part.count or 0 for part in self._parts)
        return state


def heavy_tailed(rng: np.random.Generator, d: int, kind: str) -> list[Batch]:
    """Records whose sums round differently in every grouping."""
    if kind == "sparse":
        return cut(
            csr_array(random_array((3_000, d), density=0.02, rng=rng, data_sampler=rng.standard_cauchy)), 250
        )
    features = rng.standard_cauchy((3_000, d)) * 10.0 ** rng.integers(-3, 3, (3_000, 1))
    features = features + 1e6 if kind == "far" else features
    dense = cut(features.astype(np.float32) if kind == "float32" else features, 250)
    if kind == "mixed":
        return [Batch(csr_array(batch.features)) if i % 3 == 1 else batch for i, batch in enumerate(dense)]
    return dense


def assert_same_bytes(one: TrainedPCA, other: TrainedPCA) -> None:
    for name in ("singular_values", "components", "mean"):
        ours, theirs = getattr(one.model, name), getattr(other.model, name)
        assert (ours is None) == (theirs is None)
        assert ours is None or ours.tobytes() == theirs.tobytes(), name
    assert one.total_variance == other.total_variance
    assert (one.passes, one.num_records, one.method) == (other.passes, other.num_records, other.method)


@pytest.mark.parametrize("centred", ["true", "false"])
@pytest.mark.parametrize("mode", ["regular", "randomized"])
@pytest.mark.parametrize("kind", ["float32", "float64", "far", "sparse", "mixed"])
def test_few_features(rng: np.random.Generator, kind: str, mode: str, centred: str) -> None:
    check_training(heavy_tailed(rng, 90, kind), mode, centred)


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("centred", ["true", "false"])
@pytest.mark.parametrize("kind", ["float32", "far", "sparse", "mixed"])
def test_many_features(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, kind: str, centred: str, held: bool
) -> None:
    if not held:
        monkeypatch.setattr("eigenline.algorithms.pca.solver_choice._HELD_BYTES", 300_000)
    check_training([batch.rows(0, 80) for batch in heavy_tailed(rng, 1_100, kind)], "randomized", centred)


def check_training(batches: list[Batch], mode: str, centred: str) -> None:
    given = {"feature_dim": 1, "mini_batch_size": 100, "num_components": 4}
    settings = read_settings({**given, "algorithm_mode": mode, "subtract_mean": centred})
    whole = train(settings, RecordsHere(batches), np.random.default_rng(0))
    for parts, threads in [(2, 1), (3, 3), (5, 2)]:
        records = RecordsInParts(batches, parts, threads)
        assert_same_bytes(train(settings, records, np.random.default_rng(0), threads=threads), whole)
        assert records.count == whole.num_records


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("kind", ["float64", "sparse"])
def test_every_solver(rng: np.random.Generator, solver: str, kind: str) -> None:
    batches = heavy_tailed(rng, 60, kind)
    plan = replace(PLAN, **SOLVERS[solver])
    whole = training.solve(RecordsHere(batches), plan, np.random.default_rng(0)).decomposition
    for parts in (2, 5):
        found = training.solve(RecordsInParts(batches, parts), plan, np.random.default_rng(0)).decomposition
        np.testing.assert_allclose(found.eigenvalues, whole.eigenvalues, rtol=1e-12)
        np.testing.assert_array_equal(found.components.astype(np.float32), whole.components.astype(np.float32))


@pytest.mark.parametrize("kind", ["float32", "far", "sparse"])
def test_what_is_explained(rng: np.random.Generator, kind: str) -> None:
    batches = heavy_tailed(rng, 40, kind)
    given = {"feature_dim": 1, "mini_batch_size": 100, "num_components": 4}
    work = ExplainedWork(train(read_settings(given), RecordsHere(batches), np.random.default_rng(0)).model)
    whole = work.finish(RecordsHere(batches).total(work))
    for parts, threads in [(1, 3), (2, 1), (3, 3), (5, 2)]:
        found = work.finish(RecordsInParts(batches, parts, threads).total(work))
        assert found.total == whole.total
        np.testing.assert_array_equal(found.captured, whole.captured)
