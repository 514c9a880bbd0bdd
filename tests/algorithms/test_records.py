"""One pass over records: the same sum for any number of threads and parts, a stop, a sample."""

from dataclasses import dataclass

import numpy as np
import pytest

from eigenline.algorithms.batch import Batch, HeldBatches
from eigenline.algorithms.records import PairSum, PassProgress, RecordsHere, Stopped, uniform


@dataclass(frozen=True)
class Products:
    """``X' y`` and the sum of all positions."""

    feature_dim: int

    def begin(self) -> PairSum:
        return PairSum.zeros(self.feature_dim + 1)

    def update(self, state: PairSum, batch: Batch, first: int) -> PairSum:
        assert batch.labels is not None
        positions = np.arange(first, first + len(batch)).sum()
        state.add(np.append(batch.features.T @ batch.labels, positions))
        return state

    def merge(self, first: PairSum, second: PairSum) -> PairSum:
        first.merge(second)
        return first


def heavy_tailed(rng: np.random.Generator, rows: int = 60_000) -> list[Batch]:
    X = rng.standard_cauchy((rows, 30)) * 10.0 ** rng.integers(-8, 8, (rows, 1))
    y = rng.normal(size=rows)
    return [Batch(X[i : i + 5_000], y[i : i + 5_000]) for i in range(0, rows, 5_000)]


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_the_number_of_threads_changes_no_bit(rng: np.random.Generator, threads: int) -> None:
    batches = HeldBatches(heavy_tailed(rng))
    one = RecordsHere(batches).total(Products(30)).value
    np.testing.assert_array_equal(RecordsHere(batches, threads=threads).total(Products(30)).value, one)


@pytest.mark.parametrize("cuts", [(6,), (1, 2, 11), (3, 6, 9), range(1, 12)])
def test_the_number_of_parts_changes_no_bit(rng: np.random.Generator, cuts: tuple[int, ...]) -> None:
    batches, work = heavy_tailed(rng), Products(30)
    whole = RecordsHere(HeldBatches(batches)).total(work).value
    state = work.begin()
    for start, stop in zip([0, *cuts], [*cuts, len(batches)], strict=True):
        part = RecordsHere(HeldBatches(batches[start:stop]), first=5_000 * start)
        state = work.merge(state, part.total(work))
    np.testing.assert_array_equal(state.value, whole)
    assert whole[-1] == 60_000 * 59_999 // 2


def test_a_pair_sum_keeps_what_float64_drops() -> None:
    total = PairSum.zeros(())
    for term in (1e16, 1.0, 1.0, 1.0, -1e16):
        total.add(np.array(term))
    assert total.value == 3.0


def test_a_stop_ends_the_pass_at_the_next_block(rng: np.random.Generator) -> None:
    seen: list[PassProgress] = []
    records = RecordsHere(HeldBatches(heavy_tailed(rng)), stopping=lambda: len(seen) == 3, observe=seen.append)
    with pytest.raises(Stopped):
        records.total(Products(30))
    assert len(seen) == 3
    assert records.count is None


def test_a_sample_does_not_depend_on_how_records_are_stored(rng: np.random.Generator) -> None:
    batches = heavy_tailed(rng)
    X = np.concatenate([b.features for b in batches])  # type: ignore[arg-type]
    y = np.concatenate([b.labels for b in batches if b.labels is not None])
    whole = RecordsHere([Batch(X, y)]).sample(6_000)
    parts = RecordsHere(HeldBatches(batches), threads=2).sample(6_000)
    np.testing.assert_array_equal(whole.features, parts.features)
    np.testing.assert_array_equal(whole.labels, parts.labels)
    assert 5_700 < len(whole) < 6_300
    assert len(RecordsHere(HeldBatches(batches)).sample(100_000)) == 60_000


def test_numbers_of_positions_are_uniform_and_differ_by_seed() -> None:
    values = uniform(np.arange(100_000), 1)
    counts = np.histogram(values, 10, (0, 1))[0]
    assert abs(counts - 10_000).max() < 400
    assert abs(np.corrcoef(values, uniform(np.arange(100_000), 2))[0, 1]) < 0.02
