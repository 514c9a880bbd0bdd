"""The parts that training is put together from: moments, folds, shuffling, thresholds, early stopping."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn import metrics as oracle

from eigenline.algorithms.batch import Batch
from eigenline.algorithms.linear_learner.data_summary import summarise
from eigenline.algorithms.linear_learner.minibatch_trainer import EarlyStopping
from eigenline.algorithms.linear_learner.minibatches import ordered_minibatches, shuffled_minibatches
from eigenline.algorithms.linear_learner.rows import TrainingRows, fold_of
from eigenline.algorithms.linear_learner.scaling import Moments, Scaler, make_scaler
from eigenline.algorithms.linear_learner.scoring import ScoreSample
from eigenline.algorithms.linear_learner.settings import read_settings
from eigenline.algorithms.linear_learner.thresholds import choose_threshold, threshold_curve
from tests.algorithms.linear_learner import training_runs as runs

BINARY = read_settings({"predictor_type": "binary_classifier"})


@pytest.mark.parametrize("make", [np.asarray, csr_array])
@pytest.mark.parametrize("weighted", [False, True])
def test_moments_of_any_cut_are_those_of_the_whole(rng, make, weighted):
    X = rng.normal(size=(1000, 3)) * [1, 1e5, 1e-5]
    X[rng.random(X.shape) < 0.3] = 0
    weights = rng.random(1000) if weighted else None
    moments = Moments()
    for start in (0, 1, 400):
        stop = {0: 1, 1: 400, 400: 1000}[start]
        moments.update(make(X[start:stop]), None if weights is None else weights[start:stop])
    mean = np.average(X, axis=0, weights=weights)
    assert moments.mean == pytest.approx(mean, rel=1e-10)
    assert moments.deviation == pytest.approx(
        np.sqrt(np.average((X - mean) ** 2, axis=0, weights=weights)), rel=1e-9
    )
    assert moments.reach == pytest.approx(np.abs(X - mean).max(axis=0), rel=1e-9)


def test_moments_of_a_large_offset_keep_the_spread(rng):
    X = (1e9 + 100 * rng.normal(size=(5000, 1))).astype(np.float64)
    moments = Moments()
    moments.update(X, None)
    assert moments.deviation == pytest.approx(X.std(axis=0), rel=1e-9)


def test_scaled_products_are_products_of_scaled_features(rng):
    X = rng.normal(size=(50, 4)) * [1, 10, 100, 1e-3] + 2
    scaler = Scaler(X.mean(axis=0), 1 / X.std(axis=0), 3.0, 2.0)
    parameters = rng.normal(size=(5, 3))
    expected = scaler.normalise(X, np.float64) @ parameters[:-1] + parameters[-1]
    folded = scaler.fold(parameters)
    assert X @ folded[:-1] + folded[-1] == pytest.approx(expected, abs=1e-9)
    weights, bias = scaler.raw_units(parameters)
    assert X @ weights + bias == pytest.approx(expected * 2 + 3, abs=1e-9)
    slopes = rng.normal(size=(50, 3))
    gradient = scaler.fold_gradient(X.T @ slopes, slopes.sum(axis=0))
    assert gradient[:-1] == pytest.approx(scaler.normalise(X, np.float64).T @ slopes, abs=1e-9)


def test_sparse_features_are_scaled_and_never_shifted(rng):
    X = rng.normal(size=(200, 3)) + 5
    settings = read_settings({"predictor_type": "regressor"})
    found = summarise(runs.held(csr_array(X), X[:, 0]), settings)
    assert not make_scaler(settings, found.moments, found.label_moments, sparse=found.sparse).shift.any()


@given(st.integers(1, 50), st.integers(0, 2**40), st.integers(0, 2**31))
def test_folds_do_not_depend_on_how_positions_are_cut(folds, first, seed):
    positions = np.arange(first, first + 100)
    whole = fold_of(positions, folds, seed)
    assert ((whole >= 0) & (whole < folds)).all()
    assert (
        np.concatenate([fold_of(positions[:37], folds, seed), fold_of(positions[37:], folds, seed)]) == whole
    ).all()


def test_folds_are_of_nearly_equal_size():
    counts = np.bincount(fold_of(np.arange(100_000), 10, 0))
    assert np.abs(counts - 10_000).max() < 500


@pytest.mark.parametrize("pieces", [1, 3, 40])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("make", [np.asarray, csr_array])
def test_an_epoch_has_every_record_once_but_those_left_out(pieces, stream, make):
    X = np.arange(1000.0)[:, None] + [[0.0, 0.5]]
    y = np.arange(1000.0)
    held = runs.held(make(X), y, pieces=pieces)
    batches = list(held) if stream else held
    rows = TrainingRows(batches, Scaler(np.zeros(2), np.ones(2)), np.float64, folds=5)
    epochs = []
    for epoch in (0, 1):
        blocks = list(shuffled_minibatches(rows, 30, epoch, left_out=2))
        features = [b.features.toarray() if make is csr_array else b.features for b in blocks]
        labels = np.concatenate([block.labels[:, 0] for block in blocks])
        assert (np.concatenate(features)[:, 0] == labels).all()
        epochs.append(labels)
    expected = np.flatnonzero(fold_of(np.arange(1000), 5, 0) != 2)
    assert (np.sort(epochs[0]) == expected).all()
    assert (epochs[0] != epochs[1]).any()
    assert (epochs[0] != np.sort(epochs[0])).any()


def test_in_order_mini_batches_are_whole():
    batches = [Batch(np.ones((7, 1)), np.arange(7.0)), Batch(np.ones((8, 1)), np.arange(7.0, 15))]
    rows = TrainingRows(batches, Scaler(np.zeros(1), np.ones(1)), np.float64)
    labels = [block.labels[:, 0].tolist() for block in ordered_minibatches(rows, 4)]
    assert labels == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_the_threshold_curve_is_scikit_learns(rng):
    scores = np.round(rng.random(500), 2).astype(np.float32)  # with many ties
    labels = (rng.random(500) < scores).astype(float)
    weights = rng.integers(1, 4, 500).astype(float)
    curve = threshold_curve(scores, labels, weights)
    assert curve.roc_auc == pytest.approx(oracle.roc_auc_score(labels, scores, sample_weight=weights))
    for i in (0, 10, 50):
        called = scores >= curve.thresholds[i]
        assert curve.accuracy[i] == pytest.approx(oracle.accuracy_score(labels, called, sample_weight=weights))
        assert curve.precision[i] == pytest.approx(oracle.precision_score(labels, called, sample_weight=weights))
        assert curve.f_score(2.0)[i] == pytest.approx(
            oracle.fbeta_score(labels, called, beta=2.0, sample_weight=weights)
        )


@pytest.mark.parametrize("compatibility", ["best", "aws"])
@pytest.mark.parametrize(
    ("criterion", "reached", "best"),
    [
        ("precision_at_target_recall", lambda p, r: r >= 0.8, lambda p, r: p),
        ("recall_at_target_precision", lambda p, r: p >= 0.8, lambda p, r: r),
    ],
)
def test_targets_are_met_by_the_best_threshold_that_meets_them(rng, compatibility, criterion, reached, best):
    scores = rng.random(400).astype(np.float32)
    labels = (rng.random(400) < scores).astype(float)
    settings = read_settings(
        {
            "predictor_type": "binary_classifier",
            "binary_classifier_model_selection_criteria": criterion,
            "compatibility": compatibility,
        }
    )
    choice = choose_threshold(threshold_curve(scores, labels), settings, 0.5)
    values = []
    for threshold in scores:
        called = scores >= threshold
        p, r = (labels[called]).mean(), called[labels == 1].mean()
        if reached(p, r):
            values.append(best(p, r))
    assert choice.value == pytest.approx(max(values))
    called = scores >= np.float32(choice.threshold)
    assert reached(labels[called].mean() + 1e-9, called[labels == 1].mean() + 1e-9)


def test_in_best_a_threshold_that_is_hardly_better_does_not_move_it():
    scores = np.linspace(0, 1, 100, dtype=np.float32)
    labels = (scores >= 0.5).astype(float)
    labels[48] = 1  # one record would be won by a threshold just below 0.5
    curve = threshold_curve(scores, labels)
    assert choose_threshold(curve, BINARY, 0.5).threshold == 0.5
    labels[20:50] = 1  # thirty of them are another matter
    assert choose_threshold(threshold_curve(scores, labels), BINARY, 0.5).threshold < 0.3


def test_a_target_out_of_reach_is_said_by_a_negative_value():
    settings = read_settings(
        {
            "predictor_type": "binary_classifier",
            "binary_classifier_model_selection_criteria": "recall_at_target_precision",
            "target_precision": "0.9",
        }
    )
    curve = threshold_curve(np.array([0.9, 0.1], np.float32), np.array([0.0, 1.0]))
    assert choose_threshold(curve, settings, 0.5).value < 0


@given(st.integers(2, 300), st.lists(st.integers(1, 80), min_size=1, max_size=12))
def test_a_score_sample_is_evenly_spaced_and_bounded(limit, sizes):
    sample = ScoreSample(limit)
    position = 0
    for size in sizes:
        scores = np.arange(position, position + size, dtype=float)[:, None]
        sample.update(scores, scores[:, 0], None)
        position += size
    kept = sample.arrays()[0][:, 0]
    stride = int(kept[1]) if len(kept) > 1 else position
    assert len(kept) <= limit
    assert (kept == np.arange(0, position, stride)).all()


def test_early_stopping_repeats_the_real_log():
    """Criteria of the epochs of a public job: improved through epoch 5, stopped after epoch 9."""
    values = [0.59623, 0.57512, 0.56122, 0.55672, 0.55515, 0.55455, 0.55430, 0.55418, 0.55410, 0.55404]
    stopper = EarlyStopping(patience=3, tolerance=0.001)
    improved = [(stopper.update(value), stopper.stop) for value in values]
    assert [first for first, _ in improved] == [True] * 6 + [False] * 4
    assert [second for _, second in improved] == [False] * 9 + [True]


def test_early_stopping_of_a_score_that_rises():
    stopper = EarlyStopping(patience=1, tolerance=0.01, higher_is_better=True)
    assert [stopper.update(value) for value in (0.5, 0.6, 0.601, 0.6)] == [True, True, False, False]
    assert stopper.stop
