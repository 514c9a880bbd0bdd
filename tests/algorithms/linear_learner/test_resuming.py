"""A training that is resumed from any pass of its finish ends with the bytes of one that ran through."""

import numpy as np
import pytest
from scipy.sparse import csr_array, random_array

from eigenline.algorithms.linear_learner.reports import PassReport, Trained
from eigenline.algorithms.linear_learner.settings import read_settings
from tests.algorithms.linear_learner import training_runs as runs

BINARY = {"predictor_type": "binary_classifier"}
REGRESSOR = {"predictor_type": "regressor"}


def table(rng):
    X = rng.normal(size=(1200, 5))
    return X, X[:, 0] - X[:, 1] + 0.5 * rng.normal(size=1200)


def outliers(rng):
    """Return labels that a plane explains, but for a few records far on the wrong side of it."""
    X = rng.normal(size=(13_000, 5))
    y = (X[:, 0] + 0.1 * rng.normal(size=13_000) > 0) * 1.0
    wrong = rng.choice(13_000, 400, replace=False)
    X[wrong, 0], X[wrong, 1] = -30 * (y[wrong] - 0.5), 20
    return X.astype(np.float32), y


def wide(rng):
    X = csr_array(random_array((300, 25_000), density=1e-3, rng=rng, dtype=np.float32))
    return X, (X @ rng.normal(size=25_000) > 0) * 1.0


JOBS = {
    "squared loss": (table, REGRESSOR, {"path", "refit"}),
    "L1": (table, {**REGRESSOR, "l1": "0.05"}, {"path", "refit"}),
    "a loss with corners": (table, {**REGRESSOR, "loss": "absolute_loss"}, {"path", "refit"}),
    "a user's optimizer": (outliers, {**BINARY, "optimizer": "sgd", "epochs": "3"}, {"alone"}),
    "generalised cross entropy": (outliers, BINARY, {"start", "path", "robust", "robust refit"}),
    "many features": (wide, BINARY, {"path", "refit"}),
}


def finish_states(settings, channel, resume=None):
    """Train; return a copy of the state at every pass of the finish, the stages' names, and the result."""
    states, stages = [], []
    for report in runs.train(settings, channel, resume=resume):
        if isinstance(report, PassReport):
            states.append({name: np.array(array) for name, array in report.state().items()})
            stages.append(report.stage)
        elif isinstance(report, Trained):
            return states, stages, report
    raise AssertionError("training ends with its result")


@pytest.mark.parametrize("name", JOBS)
def test_every_pass_of_the_finish_can_be_resumed(rng, name):
    make, hyperparameters, expected = JOBS[name]
    X, y = make(rng)
    settings, channel = read_settings(hyperparameters), {"train": runs.held(X, y)}
    states, stages, whole = finish_states(settings, channel)
    assert set(stages) == expected
    changes = [i for i in range(1, len(stages)) if stages[i] != stages[i - 1]]
    for position in {0, 1, *(i - 1 for i in changes), *changes, len(stages) // 3, len(stages) - 1}:
        later, _, resumed = finish_states(settings, channel, states[position])
        assert resumed.weights.tobytes() == whole.weights.tobytes(), position
        assert resumed.bias.tobytes() == whole.bias.tobytes()
        assert resumed.model.threshold == whole.model.threshold
        # one pass of each stage, and of each round of the path, to find where that is
        over = {stage.rpartition(".")[0] for stage in states[-1] if "." in stage}
        assert len(later) <= len(states) - position + len(over) - 1


def test_a_stage_that_is_over_keeps_its_result_only(rng):
    """The pairs of L-BFGS are most of a state; only the stage that is under way has any."""
    X, y = table(rng)
    states, stages, _ = finish_states(read_settings(REGRESSOR), {"train": runs.held(X, y)})
    assert any(name.startswith("path") and name.endswith(".steps") for name in states[stages.index("refit") - 1])
    assert not any(name.startswith("path") and name.endswith(".steps") for name in states[-1])
