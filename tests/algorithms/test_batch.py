"""Batches: cutting a pass to size loses nothing, and holding a data set obeys its limit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from eigenline.algorithms.batch import Batch, HeldBatches, concatenate, rebatch

sizes = st.lists(st.integers(0, 7), max_size=8)


def cut(sizes: list[int], sparse: bool) -> list[Batch]:
    total = sum(sizes)
    values = np.arange(total * 3, dtype=np.float32).reshape(total, 3)
    ends = np.cumsum(sizes)
    return [
        Batch(
            csr_array(values[end - size : end]) if sparse else values[end - size : end],
            np.arange(end - size, end, dtype=np.float32),
        )
        for size, end in zip(sizes, ends, strict=True)
    ]


@given(sizes, st.integers(1, 9), st.booleans())
def test_rebatch_keeps_every_record_in_order(sizes: list[int], size: int, sparse: bool) -> None:
    batches = cut(sizes, sparse)
    result = list(rebatch(batches, size))
    assert [len(batch) for batch in result[:-1]] == [size] * (len(result) - 1)
    assert sum(map(len, result)) == sum(sizes)
    if result:
        joined, expected = concatenate(result), concatenate(batches)
        assert joined.labels is not None
        np.testing.assert_array_equal(joined.labels, np.arange(sum(sizes)))
        dense = [b.features.toarray() if sparse else b.features for b in (joined, expected)]
        np.testing.assert_array_equal(dense[0], dense[1])


def test_a_piece_of_one_batch_is_a_view() -> None:
    [batch] = cut([6], sparse=False)
    assert all(np.shares_memory(piece.features, batch.features) for piece in rebatch([batch], 2))


class CountedSource:
    def __init__(self) -> None:
        self.passes = 0

    def __iter__(self):
        self.passes += 1
        yield from cut([2, 3], sparse=False)


@pytest.mark.parametrize(("limit", "passes"), [(1e9, 1), (10, 3)])
def test_holding_reads_the_source_once_or_every_time(limit: float, passes: int) -> None:
    source = CountedSource()
    data = HeldBatches(source, limit)
    assert [sum(map(len, data)) for _ in range(3)] == [5, 5, 5]
    assert source.passes == passes
    assert (data.held is not None) == (passes == 1)


def test_a_pass_that_was_broken_off_is_not_taken_for_the_whole() -> None:
    data = HeldBatches(CountedSource())
    next(iter(data))
    assert data.held is None
    assert sum(map(len, data)) == 5


def test_what_is_held_is_contiguous_and_aligned() -> None:
    frames = np.arange(7 * 10, dtype=np.float32).reshape(7, 10)  # as recordIO lies in a file: other bytes between
    unaligned = np.frombuffer(b"x" + frames.tobytes(), np.uint8)[1:].view(np.float32).reshape(7, 10)
    source = [Batch(frames[:, 2:8], frames[:, 0]), Batch(unaligned, unaligned[:, 0])]
    data = HeldBatches(source)
    list(data)
    assert data.held is not None
    for held, read in zip(data.held, source, strict=True):
        assert held.features.flags.c_contiguous
        assert held.features.flags.aligned
        assert not np.shares_memory(held.features, read.features)
        np.testing.assert_array_equal(held.features, read.features)
        np.testing.assert_array_equal(held.labels, read.labels)


def test_contiguous_batches_are_held_as_they_are() -> None:
    [batch] = cut([6], sparse=False)
    data = HeldBatches([batch])
    list(data)
    assert data.held == [batch]
