"""Explained variance against the total, components needed, and the error of reconstructions."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn import decomposition
from sklearn.datasets import load_digits

from eigenline.algorithms.batch import Batch
from eigenline.algorithms.pca import explained
from eigenline.algorithms.pca.explained import Explained, ExplainedWork
from eigenline.algorithms.pca.model import PCAModel
from eigenline.algorithms.pca.training import TrainedPCA
from eigenline.algorithms.records import RecordsHere

Fit = Callable[..., TrainedPCA]
DIGITS = np.asarray(load_digits().data, np.float32)


def measured(model: PCAModel, parts: list[Any]) -> Explained:
    work = ExplainedWork(model)
    return work.finish(RecordsHere([Batch(part) for part in parts]).total(work))


@pytest.mark.parametrize("mode", ["regular", "randomized"])
def test_ratios_are_shares_of_the_total_strongest_first(fit: Fit, mode: str) -> None:
    on_train = explained.of_training(fit(DIGITS, 10, algorithm_mode=mode))
    reference = decomposition.PCA(10, svd_solver="full").fit(DIGITS.astype(np.float64))
    np.testing.assert_allclose(on_train.ratios, reference.explained_variance_ratio_, rtol=1e-5)
    np.testing.assert_allclose(on_train.cumulative, np.cumsum(reference.explained_variance_ratio_), rtol=1e-5)
    assert on_train.cumulative[-1] < 0.8  # the share of what was *kept* would be 1


def test_components_needed_are_known_beyond_those_kept(fit: Fit) -> None:
    needed = explained.components_needed(fit(DIGITS, 2))
    cumulative = np.cumsum(
        decomposition.PCA(svd_solver="full").fit(DIGITS.astype(np.float64)).explained_variance_ratio_
    )
    assert needed == {share: int(np.searchsorted(cumulative, share)) + 1 for share in (0.9, 0.95, 0.99)}


def test_components_needed_are_unknown_where_only_the_kept_ones_were_found(
    fit: Fit, rng: np.random.Generator
) -> None:
    trained = fit(rng.standard_normal((1500, 1100)) * 0.8 ** np.arange(1100), 4, algorithm_mode="randomized")
    assert trained.spectrum is None
    assert explained.components_needed(trained, (0.5, 0.99)) == {0.5: 2, 0.99: None}


@pytest.mark.parametrize("offset", [0.0, 1000.0])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("mode", ["regular", "randomized"])
def test_a_test_channel_is_measured_by_what_its_reconstruction_misses(
    fit: Fit, sparse: bool, mode: str, offset: float
) -> None:
    train, test = DIGITS[:1000] + np.float32(offset), DIGITS[1000:] + np.float32(offset)
    model = fit(train, 5, algorithm_mode=mode).model
    parts = np.split(test, [100, 350])
    state = measured(model, [csr_array(part) if sparse else part for part in parts])
    reconstructed = model.reconstruct(model.project(test)).astype(np.float64)
    error = ((test - reconstructed) ** 2).sum(axis=1).mean()
    assert state.num_records == len(test)
    rtol = 1e-4 if offset == 0 else 2e-3  # the float32 reconstruction itself, at 1000
    assert state.reconstruction_error == pytest.approx(error, rel=rtol)
    assert state.reconstruction_rmse == pytest.approx((error / 64) ** 0.5, rel=rtol)
    total = ((test - model.mean.astype(np.float64)) ** 2).sum()  # type: ignore[union-attr]
    assert state.total == pytest.approx(total, rel=rtol)
    assert state.cumulative[-1] == pytest.approx(1 - error * len(test) / total, rel=rtol)


def test_the_training_data_measured_again_explain_what_training_said(fit: Fit) -> None:
    trained = fit(DIGITS, 7)
    again = measured(trained.model, [DIGITS])
    first = explained.of_training(trained)
    np.testing.assert_allclose(again.captured, first.captured, rtol=1e-5)
    assert again.reconstruction_error == pytest.approx(first.reconstruction_error, rel=1e-5)


def test_states_merge(fit: Fit) -> None:
    model = fit(DIGITS, 3).model
    work = ExplainedWork(model)
    parts = [work.update(work.begin(), Batch(part), 0) for part in np.split(DIGITS, [10, 900])]
    merged = work.finish(work.merge(parts[2], work.merge(parts[1], parts[0])))
    whole = measured(model, [DIGITS])
    assert merged.num_records == whole.num_records
    np.testing.assert_allclose(merged.captured, whole.captured, rtol=1e-6)
    assert merged.total == pytest.approx(whole.total)


def test_data_without_variance_explain_nothing_and_miss_nothing(fit: Fit) -> None:
    trained = fit(np.full((20, 4), 3.0, np.float32), 2)
    on_train = explained.of_training(trained)
    assert on_train.ratios.tolist() == [0, 0]
    assert on_train.reconstruction_error == 0
    assert explained.components_needed(trained) == {0.9: 0, 0.95: 0, 0.99: 0}
