"""Streamed moments: the same for any batches, order, grouping, sparsity and distance from zero."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array

from eigenline.algorithms.batch import Batch
from eigenline.algorithms.pca.blocks import pilot_origin
from eigenline.algorithms.pca.moments import Moments, MomentSums, MomentsWork


def added(work: MomentsWork, parts: list[Any]) -> MomentSums:
    state, first = work.begin(), 0
    for part in parts:
        state = work.update(state, Batch(part), first)
        first += part.shape[0]
    return state


def streamed(parts: list[Any], precision: Any = np.float64, with_products: bool = True) -> Moments:
    work = MomentsWork(pilot_origin(parts[0]), precision, with_products)
    return work.finish(added(work, parts))


def assert_agrees(state: Moments, features: NDArray[np.float64], rtol: float = 1e-10) -> None:
    mean = features.mean(axis=0)
    centred = features - mean
    scale = np.abs(centred.T @ centred).max() + 1e-300
    assert state.count == len(features)
    np.testing.assert_allclose(state.mean, mean, rtol=rtol, atol=rtol * np.abs(features).max())
    np.testing.assert_allclose(state.scatter() / scale, centred.T @ centred / scale, atol=rtol)
    np.testing.assert_allclose(state.total(), (centred**2).sum(), rtol=rtol)
    np.testing.assert_allclose(state.scatter(False), features.T @ features, rtol=rtol, atol=rtol * scale)
    np.testing.assert_allclose(state.total(False), (features**2).sum(), rtol=rtol)


@given(
    cuts=st.lists(st.integers(1, 59), max_size=6, unique=True),
    seed=st.integers(0, 1000),
    offset=st.sampled_from([0.0, 3.0, 1e4]),
    sparse=st.lists(st.booleans(), min_size=7, max_size=7),
)
def test_any_batches_sparse_or_dense_give_the_same_moments(
    cuts: list[int], seed: int, offset: float, sparse: list[bool]
) -> None:
    features = np.random.default_rng(seed).standard_normal((60, 4)) + offset
    parts = [
        csr_array(part) if is_sparse else part
        for part, is_sparse in zip(np.split(features, sorted(cuts)), sparse, strict=False)
    ]
    # Sparse records cannot be moved near zero before they are multiplied, which costs digits far from it.
    assert_agrees(streamed(parts), features, rtol=1e-9 + 1e-14 * offset**2)


@given(order=st.permutations(range(5)), first=st.integers(1, 4), seed=st.integers(0, 1000))
def test_states_merge_in_any_grouping_and_order(order: list[int], first: int, seed: int) -> None:
    features = np.random.default_rng(seed).standard_normal((50, 3)) * [1, 10, 0.1] + [100, 0, -5]
    work = MomentsWork(pilot_origin(features), np.float64, with_products=True)
    states = [added(work, [part]) for part in np.split(features, 5)]
    left = states[order[0]]
    for index in order[1:first]:
        left = work.merge(left, states[index])
    right = states[order[first]]
    for index in order[first + 1 :]:
        right = work.merge(right, states[index])
    assert_agrees(work.finish(work.merge(left, right)), features)


def test_merging_with_an_empty_state_changes_nothing(rng: np.random.Generator) -> None:
    features = rng.standard_normal((20, 3)) + 7
    work = MomentsWork(pilot_origin(features + 1), np.float64, with_products=True)
    assert_agrees(work.finish(work.merge(added(work, [features]), work.begin())), features)
    assert_agrees(work.finish(work.merge(work.begin(), added(work, [features]))), features)


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e6])
def test_float32_products_keep_their_digits_far_from_zero(rng: np.random.Generator, offset: float) -> None:
    features = rng.standard_normal((20_000, 5)) + offset
    state = streamed([features[:300], features[300:]], precision=np.float32)
    centred = features - features.mean(axis=0)
    scale = len(features)
    np.testing.assert_allclose(state.scatter() / scale, centred.T @ centred / scale, atol=2e-6)
    np.testing.assert_allclose(state.mean, features.mean(axis=0), rtol=1e-7, atol=1e-6)


def test_a_million_float32_values_lose_nothing_to_the_length_of_the_sum() -> None:
    features = np.full((1_000_000, 1), 0.1, np.float32)
    state = streamed([features], precision=np.float32, with_products=False)
    assert state.mean[0] == pytest.approx(float(np.float32(0.1)), rel=1e-7)
