"""Odd data and odd wishes: what is refused, what is said, and that no model is ever NaN."""

import numpy as np
import pytest
from scipy.sparse import csr_array, random_array

from eigenline.algorithms.batch import Batch
from eigenline.algorithms.errors import DataError, UserError
from eigenline.algorithms.linear_learner.reports import PassReport
from eigenline.algorithms.linear_learner.settings import read_settings
from tests.algorithms.linear_learner import training_runs as runs

BINARY = {"predictor_type": "binary_classifier"}


def told(X, y, **hyperparameters):
    settings = read_settings(hyperparameters)
    reports = list(runs.train(settings, {"train": runs.held(X, y)}))
    return runs.notices(reports), reports[-1], runs.epochs(reports)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 2], r"record 3 has label 2.0, expected 0 or 1"),
        ([-1, 1, 1], r"record 1 has label -1.0, .*labels -1 and 1 must be sent as 0 and 1"),
        ([0, 0.5, 1], r"record 2 has label 0.5"),
        ([0, np.nan, 1], r"record 2 has label nan"),
    ],
)
def test_impossible_binary_labels(labels, message):
    with pytest.raises(DataError, match=message):
        runs.run(np.eye(3), np.array(labels, float), **BINARY)


def test_multiclass_labels_count_from_zero():
    with pytest.raises(DataError, match=r"label 3.0, expected a whole number from 0 to 2.*count from 0"):
        runs.run(np.eye(3), np.array([1.0, 2, 3]), predictor_type="multiclass_classifier", num_classes="3")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("make", [np.asarray, csr_array])
def test_values_that_are_not_finite_are_named_with_their_place(value, make):
    X = np.ones((5, 3))
    X[3, 1] = value
    channel = [Batch(make(X), np.ones(5), None, ("a", "b", "c"))]
    with pytest.raises(DataError, match=r"train: record 4, feature 2 \('b'\) is (nan|inf)"):
        list(runs.train(read_settings({"predictor_type": "regressor"}), {"train": channel}))


def test_the_wrong_width_is_named():
    with pytest.raises(DataError, match="have 3 features, but feature_dim is 2; is the label still among them"):
        runs.run(np.eye(3), np.ones(3), **BINARY, feature_dim="2")


def test_values_whose_sum_overflows_are_fine():
    X = np.full((80, 4), 3e38, np.float32)
    X[::2] = -3e38
    trained = runs.run(X, (X[:, 0] > 0).astype(np.float32), **BINARY)
    assert np.isfinite(trained.model.weights).all()


def test_a_single_class_trains_with_a_warning(rng):
    text, trained, _ = told(rng.normal(size=(200, 3)), np.ones(200), **BINARY)
    assert "All training labels are 1" in text
    assert (trained.model.predict(rng.normal(size=(50, 3))).predicted_label == 1).all()


@pytest.mark.parametrize("compatibility", ["best", "aws"])
def test_constant_columns_get_weight_zero(rng, compatibility):
    X = rng.normal(size=(300, 3))
    X[:, 1] = 7
    text, trained, _ = told(X, (X[:, 0] > 0) * 1.0, **BINARY, compatibility=compatibility, mini_batch_size="50")
    assert "1 of 3 features are constant" in text
    assert trained.weights[1, 0] == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_columns_of_a_billion_beside_a_billionth(rng, dtype):
    X = rng.normal(size=(20_000, 4)) * [1e9, 1e-9, 1, 1] + [1e10, 0, 0, 1e5]
    X = X.astype(dtype)
    score = X[:, 0] / 1e9 - 10 + X[:, 1] * 1e9 + X[:, 2]
    trained = runs.run(X, (score > 0).astype(dtype), **BINARY)
    assert (trained.model.predict(X).predicted_label == (score > 0)).mean() > 0.99


def test_label_sorted_records_are_shuffled_with_a_warning(rng):
    X = rng.normal(size=(4000, 3)).astype(np.float32)
    y = (X[:, 0] + 0.3 * rng.normal(size=4000) > 0).astype(np.float32)
    order = np.argsort(y, kind="stable")
    text, trained, _ = told(X[order], y[order], **BINARY)
    assert "look sorted by label" in text
    assert (trained.model.predict(X).predicted_label == y).mean() > 0.88
    assert "look sorted" not in told(X, y, **BINARY)[0]


def test_fewer_records_than_a_mini_batch(rng):
    X = rng.normal(size=(30, 2))
    text, trained, _ = told(X, (X[:, 0] > 0) * 1.0, **BINARY)
    assert "fewer than mini_batch_size 1000" in text
    assert (trained.model.predict(X).predicted_label == (X[:, 0] > 0)).mean() > 0.9


def test_a_job_whose_models_all_diverge_says_so(rng):
    X = rng.normal(size=(500, 3))
    y = X @ [1.0, 2.0, 3.0]
    settings = {"predictor_type": "regressor", "optimizer": "sgd", "mini_batch_size": "10", "epochs": "5"}
    with pytest.raises(UserError, match=r"every model diverged.*smaller learning_rate"):
        told(X, y, **settings, learning_rate="1000")


def test_diverged_models_are_dropped_and_do_not_harm_their_neighbours(rng):
    # Of the grid's two learning rates, the larger one is too large for features of this scale, the smaller is not.
    X = 10 * rng.normal(size=(1000, 3))
    y = X @ [1.0, 2.0, 3.0]
    text, trained, epochs = told(
        X,
        y,
        predictor_type="regressor",
        compatibility="aws",
        optimizer="sgd",
        mini_batch_size="10",
        normalize_data="false",
        normalize_label="false",
        epochs="15",
        early_stopping_patience="15",
    )
    assert np.isfinite(epochs[-1].train_loss).sum() == 16
    assert "16 of 32 models diverged and were dropped" in text
    np.testing.assert_allclose(trained.model.weights[:, 0], [1, 2, 3], atol=1e-3)


@pytest.mark.slow
def test_a_million_sparse_features(rng):
    X = csr_array(random_array((3000, 1_000_000), density=3e-5, rng=rng, dtype=np.float32))
    signal = csr_array(rng.integers(0, 2, (3000, 1)).astype(np.float32))
    from scipy.sparse import hstack

    X = csr_array(hstack([signal, X], format="csr"))
    y = signal.toarray()[:, 0]
    trained = runs.run(X, y, **BINARY, num_models="2")
    assert (trained.model.predict(X).predicted_label == y).mean() > 0.99


def test_memory_is_stated_before_training(rng):
    text, _, _ = told(rng.normal(size=(100, 4)), rng.integers(0, 2, 100) * 1.0, **BINARY)
    assert "Training 8 models of 4 features in parallel takes about" in text


@pytest.mark.parametrize("criterion", ["accuracy", "f_beta", "loss_function", "recall_at_target_precision"])
@pytest.mark.parametrize("weight", ["1.0", "balanced", "auto", "20"])
def test_imbalanced_data_with_every_weight_and_criterion(rng, criterion, weight):
    X = rng.normal(size=(3000, 3))
    y = (X[:, 0] + 0.5 * rng.normal(size=3000) > 2.2) * 1.0
    trained = runs.run(
        X,
        y,
        **BINARY,
        positive_example_weight_mult=weight,
        binary_classifier_model_selection_criteria=criterion,
        target_precision="0.5",
    )
    called = trained.model.predict(X).predicted_label == 1
    precision, recall = np.mean(y[called]), np.mean(called[y == 1])
    # One record in fifty is positive: whoever calls at random has that precision at any recall.
    assert precision > 0.15
    assert recall > 0.3
    if criterion == "recall_at_target_precision":
        assert precision >= 0.5
    if weight == "1.0" and criterion == "accuracy":
        assert np.mean(called == y) > np.mean(y == 0)  # better than never to call
    balanced = (y == 0).sum() / (y == 1).sum()
    allowed = {"1.0": [1], "20": [20], "balanced": [balanced], "auto": [1, balanced, balanced**0.5]}[weight]
    assert any(trained.winner.hyperparameters["positive_example_weight"] == pytest.approx(a) for a in allowed)


def test_balanced_classes_raise_the_recall_of_rare_ones(rng):
    X = rng.normal(size=(4000, 2))
    y = np.digitize(X[:, 0] + 0.7 * rng.normal(size=4000), [1.0, 2.2]).astype(float)
    task = {"predictor_type": "multiclass_classifier", "num_classes": "3"}
    plain, balanced = (
        runs.run(X, y, **task, balance_multiclass_weights=flag).model.predict(X).predicted_label
        for flag in ("false", "true")
    )
    rare = y == 2
    assert (balanced[rare] == 2).mean() > (plain[rare] == 2).mean() + 0.1


@pytest.mark.parametrize("task", [BINARY, {"predictor_type": "regressor"}])
def test_naming_the_default_number_of_epochs_changes_nothing(rng, task):
    X = rng.normal(size=(6000, 3))
    y = (X[:, 0] + 0.5 * rng.normal(size=6000) > 0) * 1.0
    named, unnamed = runs.run(X, y, **task, epochs="15"), runs.run(X, y, **task)
    assert named.weights.tobytes() == unnamed.weights.tobytes()
    assert named.model.threshold == unnamed.model.threshold


def test_fewer_epochs_shorten_every_stage(rng):
    X = rng.normal(size=(6000, 3)).astype(np.float32)
    y = (np.abs(X[:, 0] + rng.normal(size=6000)) > 0.8) * 1.0
    limits = {}
    for epochs in ("3", "15", "100"):
        reports = list(runs.train(read_settings({**BINARY, "epochs": epochs}), {"train": runs.held(X, y)}))
        limits[epochs] = {r.stage: r.limit for r in reports if isinstance(r, PassReport)}
        assert all(r.passes <= r.limit for r in reports if isinstance(r, PassReport))
    assert limits["100"] == limits["15"]
    assert limits["3"]["path"] == limits["15"]["path"] / 5
    assert limits["3"]["refit"] == limits["15"]["refit"] / 5


def test_a_single_epoch_is_a_single_epoch(rng):
    X = rng.normal(size=(6000, 3))
    y = (X[:, 0] > 0) * 1.0
    _, trained, epochs = told(X, y, **BINARY, epochs="1")
    assert len(epochs) == 1
    assert {record.stage for record in trained.records} == {"parallel"}
