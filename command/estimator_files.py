"""`eigenline.save` and `eigenline.load`: estimators in SageMaker's layout, and AWS's artifacts as estimators.

Functions rather than methods of the estimators: the maths touches no files, and a file may hold any of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from eigenline.algorithms.errors import DataError
from eigenline.algorithms.linear_learner.estimators import LinearLearnerClassifier, LinearLearnerRegressor
from eigenline.algorithms.linear_learner.model import LinearLearnerModel
from eigenline.algorithms.pca.estimator import PCA
from eigenline.algorithms.pca.model import PCAModel
from eigenline.command.models import OpenedModel, open_model
from eigenline.command.training import refuse_foreign_folder
from eigenline.formats.artifact.model_file import write_artifact
from eigenline.formats.preparation import FILE, Preparation

Estimator: TypeAlias = PCA | LinearLearnerClassifier | LinearLearnerRegressor
ESTIMATOR_FILE: Final = "estimator.json"
ARTIFACT: Final = "model_algo-1"


class LoadedPCA(PCA):
    """A PCA that came from an artifact: `model_` is the artifact's own until it is fitted anew."""

    loaded_model_: PCAModel | None = None

    @property
    def model_(self) -> PCAModel:
        """The model as the artifact stores it."""
        return super().model_ if self.loaded_model_ is None else self.loaded_model_

    def fit(self, X: Any, y: Any = None) -> PCA:
        """Fit anew, as `PCA.fit`."""
        self.loaded_model_ = None
        return super().fit(X, y)

    def partial_fit(self, X: Any, y: Any = None) -> PCA:
        """Begin anew with these records, as `PCA.partial_fit`: an artifact holds no sums to go on from."""
        self.loaded_model_ = None
        return super().partial_fit(X, y)


def save(estimator: Estimator, folder: str | Path) -> None:
    """Write a fitted estimator as a model folder, which `eigenline serve`, SageMaker and `load` read.

    Parameters
    ----------
    estimator
        A fitted `PCA`, `LinearLearnerClassifier` or `LinearLearnerRegressor`.
    folder
        Made where it does not exist; a folder with other files and no model is refused.

    Raises
    ------
    UserError
        If the folder holds other files, or cannot be written.
    sklearn.exceptions.NotFittedError
        If the estimator was not fitted.

    Notes
    -----
    The artifact holds float32, as SageMaker's do: predictions of what was loaded differ in the seventh digit.
    """
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(estimator)
    into = Path(folder)
    refuse_foreign_folder(into)
    into.mkdir(parents=True, exist_ok=True)
    model: PCAModel | LinearLearnerModel = estimator.model_
    names = getattr(estimator, "feature_names_in_", None)
    plain = Preparation.plain(model.feature_dim, None if names is None else list(map(str, names)))
    classes = getattr(estimator, "classes_", None)
    texts = None if classes is None else tuple(map(str, classes.tolist()))
    kept = Preparation(plain.inputs, plain.named, plain.width, classes=texts)
    parameters = {name: _plain(value) for name, value in estimator.get_params().items()}
    document = {"parameters": parameters, "classes": None if classes is None else classes.tolist()}
    for stale in ("report.json", "coefficients.csv", "held_out.csv", "standard_errors.csv"):
        (into / stale).unlink(missing_ok=True)
    (into / FILE).write_bytes(kept.to_json())
    (into / ESTIMATOR_FILE).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (into / ARTIFACT).write_bytes(write_artifact(model))


def load(place: str | Path) -> Estimator:
    """Read a model as a fitted estimator: a folder, a model.tar.gz or a model_algo-1, from here or from AWS.

    Parameters
    ----------
    place
        What `save` or `eigenline train` wrote, or an artifact that AWS trained.

    Returns
    -------
    Fitted, with components strongest first. Classes have their names where those are known; numbers otherwise.
    What an artifact does not hold (`explained_variance_ratio_`, `models_`) is not there.

    Raises
    ------
    UserError
        If there is no such model, or it is a chain of two.
    """
    opened = open_model(place)
    if opened.pca is not None and opened.linear is not None:
        raise DataError(f"{place} is a chain of two models; load their folders one by one.")
    found = _pca(opened) if opened.linear is None else _linear(opened, opened.linear)
    found.n_features_in_ = opened.feature_dim
    if opened.preparation.named:
        found.feature_names_in_ = np.array(opened.preparation.feature_names, dtype=object)
    return found


def from_artifact(place: str | Path) -> Estimator:
    """Read a model.tar.gz or model_algo-1, from AWS or from here, as a fitted estimator: `load` by its other name.

    Parameters
    ----------
    place
        The archive, the artifact in it, or the folder that it was unpacked into.

    Raises
    ------
    UserError
        If there is no such model, or it is a chain of two.
    """
    return load(place)


def _pca(opened: OpenedModel) -> PCA:
    model = opened.pca
    assert model is not None
    order = opened.strongest_first
    ascending = len(order) > 1 and order[0] == len(order) - 1
    mode = "regular" if ascending or len(order) == 1 else "randomized"
    given: dict[str, Any] = {
        "num_components": len(order),
        "algorithm_mode": mode,
        "subtract_mean": model.mean is not None,
    }
    found = LoadedPCA(**(given | _known(opened, PCA)))
    found.loaded_model_ = model
    found.components_ = np.ascontiguousarray(model.components[:, order].T)
    found.singular_values_ = model.singular_values[order]
    found.mean_ = np.zeros(opened.feature_dim, np.float32) if model.mean is None else model.mean
    found.n_components_ = len(order)
    ratios = opened.report.get("explained_variance_ratio")
    if isinstance(ratios, list) and len(ratios) == len(order):
        found.explained_variance_ratio_ = np.array(ratios, np.float64)
    return found


def _linear(opened: OpenedModel, model: LinearLearnerModel) -> LinearLearnerClassifier | LinearLearnerRegressor:
    weights, bias = model.weights.astype(np.float64), model.bias.astype(np.float64)
    found: LinearLearnerClassifier | LinearLearnerRegressor
    if model.predictor_type == "regressor":
        found = LinearLearnerRegressor(**({"loss": model.loss} | _known(opened, LinearLearnerRegressor)))
        found.coef_, found.intercept_ = weights[:, 0], float(bias[0])
    else:
        loss = {"loss": model.loss} if model.predictor_type == "binary_classifier" else {}
        found = LinearLearnerClassifier(**(loss | _known(opened, LinearLearnerClassifier)))
        found.coef_, found.intercept_ = np.ascontiguousarray(weights.T), bias
        found.threshold_ = model.threshold
        found.classes_ = _classes(opened)
    found.model_ = model
    return found


def _classes(opened: OpenedModel) -> Any:
    """Return the classes as they were fitted; of a command's model, whole numbers where all are."""
    saved = _document(opened).get("classes")
    if isinstance(saved, list) and len(saved) == len(opened.classes):
        return np.array(saved)
    if all(name.lstrip("-").isdigit() for name in opened.classes):
        return np.array([int(name) for name in opened.classes])
    return np.array(opened.classes)


def _known(opened: OpenedModel, kind: type) -> dict[str, Any]:
    """Return the parameters that `save` kept, as far as the estimator has them."""
    parameters = _document(opened).get("parameters")
    own = kind().get_params()
    return (
        {name: value for name, value in parameters.items() if name in own} if isinstance(parameters, dict) else {}
    )


def _document(opened: OpenedModel) -> dict[str, Any]:
    try:
        document = json.loads(opened.files.get(ESTIMATOR_FILE, b"{}"))
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
