from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.exceptions import NotFittedError

import eigenline
from eigenline.algorithms.errors import UserError
from eigenline.command.main import eigenline as command
from eigenline.serve.app import create_app
from tests.command.runs import people, write_csv


@pytest.mark.parametrize(
    ("estimator", "data"),
    [
        (eigenline.LinearLearnerClassifier(epochs=3), load_breast_cancer),
        (eigenline.LinearLearnerClassifier(loss="hinge_loss", epochs=3), load_breast_cancer),
        (eigenline.LinearLearnerClassifier(epochs=3), load_iris),
        (eigenline.LinearLearnerRegressor(loss="huber_loss", epochs=3), load_diabetes),
    ],
)
def test_linear_learner_there_and_back(tmp_path: Path, estimator: Any, data: Any) -> None:
    X, y = data(return_X_y=True)
    if not isinstance(estimator, eigenline.LinearLearnerRegressor):
        y = np.array([f"class {label}" for label in y])
    estimator = clone(estimator).fit(X, y)
    eigenline.save(estimator, tmp_path / "m")
    found = eigenline.load(tmp_path / "m")
    assert type(found) is type(estimator)
    assert found.get_params() == estimator.get_params()
    if isinstance(estimator, eigenline.LinearLearnerRegressor):
        assert found.predict(X) == pytest.approx(estimator.predict(X), rel=1e-5)
    else:
        assert np.mean(found.predict(X) == estimator.predict(X)) > 0.995
        assert found.decision_function(X) == pytest.approx(estimator.decision_function(X), rel=1e-4, abs=1e-4)
    clone(found).fit(X, y)
    assert create_app(tmp_path / "m").test_client().get("/ping").status_code == 200


def test_components_there_and_back(tmp_path: Path) -> None:
    X, _ = load_diabetes(return_X_y=True)
    for mode in ("regular", "randomized"):
        estimator = eigenline.PCA(4, algorithm_mode=mode).fit(X)
        eigenline.save(estimator, tmp_path / mode)
        found = eigenline.load(tmp_path / mode)
        assert found.transform(X) == pytest.approx(estimator.transform(X), abs=1e-6)
        assert found.inverse_transform(found.transform(X)).shape == X.shape
        eigenline.save(found, tmp_path / f"{mode}-again")
        again = (tmp_path / f"{mode}-again" / "model_algo-1").read_bytes()
        assert again == (tmp_path / mode / "model_algo-1").read_bytes()
        assert found.fit(X[:, :5]).model_.feature_dim == 5


def test_a_model_of_the_command_and_a_model_for_it(tmp_path: Path) -> None:
    names, rows = people(200)
    path = write_csv(tmp_path / "t.csv", [names[2], names[4]], [[row[2], row[4]] for row in rows])
    done = CliRunner().invoke(command, ["train", str(path), "--target", "bought", "-o", str(tmp_path / "m")])
    assert done.exit_code == 0, done.output
    found = eigenline.load(tmp_path / "m")
    assert isinstance(found, eigenline.LinearLearnerClassifier)
    assert found.classes_.tolist() == ["no", "yes"]
    assert found.feature_names_in_.tolist() == ["income"]
    done = CliRunner().invoke(command, ["inspect", str(tmp_path / "m")])
    assert done.exit_code == 0
    X = np.array([[row[2]] for row in rows])
    eigenline.save(eigenline.LinearLearnerClassifier(epochs=2).fit(X, [row[4] for row in rows]), tmp_path / "s")
    (tmp_path / "x.csv").write_text("\n".join(str(row[2]) for row in rows))
    done = CliRunner().invoke(command, ["predict", str(tmp_path / "s"), str(tmp_path / "x.csv")])
    assert done.exit_code == 0, done.output
    assert "\nyes," in done.output


def test_an_artifact_of_aws(aws_data: Path) -> None:
    found = eigenline.load(aws_data / "linear-binary" / "model_algo-1")
    assert isinstance(found, eigenline.LinearLearnerClassifier)
    X = np.zeros((3, found.n_features_in_))
    assert found.predict_proba(X)[:, 1] == pytest.approx(found.model_.predict(X).score, abs=1e-6)
    assert set(found.predict(X).tolist()) <= {0, 1}


def test_what_cannot_be_saved_or_loaded(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        eigenline.save(eigenline.PCA(2), tmp_path / "m")
    (tmp_path / "letters").write_text("mine")
    with pytest.raises(UserError, match="holds other files"):
        eigenline.save(eigenline.PCA(1).fit(np.eye(3)), tmp_path)
    with pytest.raises(UserError, match="There is no model"):
        eigenline.load(tmp_path / "nothing")


@pytest.mark.parametrize(("name", "hint"), [("random_state", "seed"), ("class_weight", "balanced"), ("C", "wd")])
def test_names_of_scikit_learn_are_explained(name: str, hint: str) -> None:
    with pytest.raises(TypeError, match=f"{name}'; here it is .*{hint}"):
        eigenline.LinearLearnerClassifier(**{name: 1})
