"""What must not change the result: how records are stored, weighted, scaled, and who is trained beside."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from eigenline.algorithms.linear_learner.hyperparameter_grid import make_grid
from eigenline.algorithms.linear_learner.losses import make_loss
from eigenline.algorithms.linear_learner.minibatches import shuffled_minibatches
from eigenline.algorithms.linear_learner.settings import read_settings
from eigenline.algorithms.linear_learner.sgd import make_models
from eigenline.algorithms.linear_learner.training_data import prepare
from tests.algorithms.linear_learner import training_runs as runs

TASKS = {
    "binary": {"predictor_type": "binary_classifier"},
    "regression": {"predictor_type": "regressor"},
    "multiclass": {"predictor_type": "multiclass_classifier", "num_classes": "3"},
}


def data(rng, task, n=400):
    X = rng.normal(size=(n, 4))
    score = X[:, 0] - X[:, 1] + 0.3 * rng.normal(size=n)
    if task == "binary":
        return X, (score > 0).astype(float)
    return X, score if task == "regression" else np.digitize(score, [-0.5, 0.5]).astype(float)


@pytest.mark.parametrize("task", TASKS)
def test_integer_weights_are_duplicated_records(rng, task):
    X, y = data(rng, task)
    weights = rng.integers(1, 4, len(X))
    fixed = {**TASKS[task], "wd": "0.01", "binary_classifier_model_selection_criteria": "loss_function"}
    weighted = runs.run(X, y, weights.astype(float), **fixed)
    repeated = runs.run(np.repeat(X, weights, axis=0), np.repeat(y, weights), **fixed)
    assert weighted.weights == pytest.approx(repeated.weights, rel=1e-5, abs=1e-7)
    assert weighted.bias == pytest.approx(repeated.bias, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("compatibility", ["best", "aws"])
@pytest.mark.parametrize("task", TASKS)
def test_sparse_records_are_dense_records(rng, task, compatibility):
    X, y = data(rng, task)
    X[rng.random(X.shape) < 0.6] = 0
    fixed = {**TASKS[task], "unbias_data": "false", "compatibility": compatibility, "mini_batch_size": "50"}
    dense, sparse = runs.run(X, y, **fixed), runs.run(csr_array(X), y, **fixed)
    assert sparse.weights == pytest.approx(dense.weights, rel=1e-5, abs=1e-6)
    assert sparse.model.threshold == pytest.approx(dense.model.threshold, abs=1e-5)


@pytest.mark.parametrize("compatibility", ["best", "aws"])
def test_the_units_of_a_column_do_not_matter(rng, compatibility):
    X, y = data(rng, "binary")
    units = np.array([1e-6, 1e4, 1.0, 1e3])
    settings = {**TASKS["binary"], "compatibility": compatibility, "mini_batch_size": "100"}
    plain, scaled = runs.run(X, y, **settings), runs.run(X * units, y, **settings)
    assert scaled.weights[:, 0] * units == pytest.approx(plain.weights[:, 0], rel=1e-4)


def test_batches_of_any_size_give_the_same_model(rng):
    X, y = data(rng, "binary", 3000)
    settings = read_settings(TASKS["binary"])
    results = [list(runs.train(settings, {"train": runs.held(X, y, pieces=pieces)}))[-1] for pieces in (1, 7)]
    assert results[0].weights == pytest.approx(results[1].weights, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
@pytest.mark.parametrize("task", TASKS)
def test_models_at_once_are_each_alone(rng, task, optimizer):
    X, y = data(rng, task)
    settings = read_settings({**TASKS[task], "num_models": "6", "optimizer": optimizer, "l1": "0.001"})
    training_data = prepare(settings, {"train": runs.held(X, y)}, lambda: False)
    candidates = make_grid(settings, 1.0, training_data.summary.feature_dim)
    together = make_models(settings, candidates, training_data.loss, 4, np.float64)
    losses = [together.run_epoch(shuffled_minibatches(training_data.rows, 50, epoch))[0] for epoch in range(3)][-1]
    for model in range(6):
        alone = make_models(
            settings, candidates.take([model]), training_data.loss, 4, np.float64, np.array([model])
        )
        own = [alone.run_epoch(shuffled_minibatches(training_data.rows, 50, epoch))[0] for epoch in range(3)][-1]
        assert own[0] == pytest.approx(losses[model], rel=1e-12)
        c = settings.num_outputs
        columns = slice(model * c, (model + 1) * c)
        assert alone.parameters == pytest.approx(together.parameters[:, columns], rel=1e-10, abs=1e-13)


def test_dropping_models_leaves_the_others_as_they_were(rng):
    X, y = data(rng, "multiclass")
    settings = read_settings({**TASKS["multiclass"], "num_models": "5"})
    training_data = prepare(settings, {"train": runs.held(X, y)}, lambda: False)
    ensembles = [
        make_models(settings, training_data.candidates, make_loss("softmax_loss"), 4, np.float64) for _ in range(2)
    ]
    for ensemble in ensembles:
        ensemble.run_epoch(shuffled_minibatches(training_data.rows, 64, 0))
    ensembles[1].keep(np.array([1, 4]))
    losses = [ensemble.run_epoch(shuffled_minibatches(training_data.rows, 64, 1))[0] for ensemble in ensembles]
    assert losses[1] == pytest.approx(losses[0][[1, 4]], rel=1e-12)
    assert ensembles[1].alive.tolist() == [1, 4]


def test_the_same_seed_gives_the_same_bytes(rng):
    X, y = data(rng, "binary", 2000)
    first, second = (runs.run(X, y, **TASKS["binary"], seed="3") for _ in range(2))
    assert first.weights.tobytes() == second.weights.tobytes()
    assert first.model.threshold == second.model.threshold
