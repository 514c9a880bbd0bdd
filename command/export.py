"""`eigenline export`: a model as numpy arrays, JSON, CSV, scikit-learn or ONNX, for use without this package."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.errors import UserError
from eigenline.command.models import OpenedModel, open_model

_SUFFIXES: Final = {"npz": ".npz", "json": ".json", "csv": ".csv", "sklearn": ".py", "onnx": ".onnx"}
FORMATS: Final = tuple(_SUFFIXES)


def export_model(place: str, form: str, output: str | None) -> list[str]:
    """Write a model in another form; return sentences that say what was written.

    Raises
    ------
    UserError
        If the model is none, the form needs a package that is not installed, or the file cannot be written.
    """
    opened = open_model(place)
    path = Path(output or f"{_stem(place)}-model{_SUFFIXES[form]}")
    writers: Mapping[str, Callable[[OpenedModel, Path], dict[Path, bytes]]] = {
        "npz": lambda model, file: {file: _npz(arrays_of(model))},
        "json": lambda model, file: {file: _json(arrays_of(model))},
        "csv": lambda model, file: {file: _csv(model)},
        "sklearn": _sklearn,
        "onnx": _onnx,
    }
    files = writers[form](opened, path)
    there = [str(name) for name in files if name.exists()]
    if output is None and there:
        raise UserError(f"{there[0]} is there already. Say -o FILE to write it anew, or to name another.")
    for name, content in files.items():
        try:
            name.write_bytes(content)
        except OSError as error:
            raise UserError(f"{name} cannot be written: {error.strerror}.") from None
    said = [f"Written: {', '.join(map(str, files))}."]
    if opened.preparation.changes_values:
        said.append(
            f"It takes the model's {opened.feature_dim} features: gaps filled and categories spread out as "
            f"{opened.place}/preparation.json says. `eigenline predict` does that by itself."
        )
    return said


def _stem(place: str) -> str:
    name = Path(place).resolve().name
    return name.removesuffix(".tar.gz").removesuffix(".tgz") or "model"


def arrays_of(opened: OpenedModel) -> dict[str, Any]:
    """Return a model as named arrays and texts; components come strongest first, one a row.

    ``score = features @ weights + bias``; of a binary classifier with loss ``logistic`` the sigmoid of that, of a
    multiclass classifier the softmax. ``projection = (features - mean) @ components.T``.
    """
    found: dict[str, Any] = {"feature_names": list(opened.preparation.feature_names)}
    if opened.pca is not None:
        order = opened.strongest_first
        mean = opened.pca.mean
        found["components"] = np.ascontiguousarray(opened.pca.components[:, order].T)
        found["singular_values"] = opened.pca.singular_values[order]
        found["mean"] = np.zeros(opened.feature_dim, np.float32) if mean is None else mean
    if opened.linear is not None:
        weights = opened.linear.weights
        # A chain's second part was trained on the components in the order in which they are stored.
        found["weights"] = weights if opened.pca is None else weights[opened.strongest_first]
        found["bias"] = opened.linear.bias
        found["predictor_type"], found["loss"] = opened.linear.predictor_type, opened.linear.loss
        if opened.classes:
            found["classes"] = list(opened.classes)
        if opened.linear.predictor_type == "binary_classifier":
            found["threshold"] = opened.linear.threshold
    return found


def _npz(found: Mapping[str, Any]) -> bytes:
    file = io.BytesIO()
    arrays: dict[str, Any] = {name: np.asarray(value) for name, value in found.items()}
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def _json(found: Mapping[str, Any]) -> bytes:
    def plain(value: Any) -> Any:
        return value.astype(np.float64).tolist() if isinstance(value, np.ndarray) else value

    return (json.dumps({name: plain(value) for name, value in found.items()}, ensure_ascii=False) + "\n").encode()


def _csv(opened: OpenedModel) -> bytes:
    """One line a feature: its coefficient a class, or its mean and its loading a component."""
    found = arrays_of(opened)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = found["feature_names"]
    if opened.pca is not None:
        writer.writerow(["feature", "mean", *(f"component_{i + 1}" for i in range(len(found["components"])))])
        writer.writerows(_rows(names, np.column_stack([found["mean"], found["components"].T])))
        if opened.linear is None:
            return text.getvalue().encode()
        names = [f"component_{number + 1}" for number in range(len(found["weights"]))]
    labels = (
        [f"coefficient_{name}" for name in opened.classes] if found["weights"].shape[1] > 1 else ["coefficient"]
    )
    writer.writerow(["feature", *labels])
    writer.writerows(_rows(["(intercept)"], found["bias"][None, :]))
    writer.writerows(_rows(names, found["weights"]))
    return text.getvalue().encode()


def _rows(names: list[str], table: NDArray[Any]) -> list[list[object]]:
    return [[name, *(f"{value:.9g}" for value in row)] for name, row in zip(names, table.tolist(), strict=True)]


_SCRIPT: Final = '''\
"""A model of eigenline as scikit-learn objects; `load()` returns it. Needs numpy and scikit-learn 1.6 or later.

    from {module} import load
    load().predict(X)

The arrays lie beside this file, in {arrays}. No pickle: nothing is run but what stands here.
"""

from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import make_pipeline


def load():
    """Return a fitted PCA, LinearRegression or classifier, or the pipeline of the first and one of the others."""
    with np.load(Path(__file__).with_name("{arrays}"), allow_pickle=False) as file:
        found = dict(file)
    parts = []
    if "components" in found:
        parts.append(_pca(found))
    if "weights" in found:
        parts.append(_linear(found))
    return parts[0] if len(parts) == 1 else make_pipeline(*parts)


def _pca(found):
    pca = PCA(n_components=len(found["components"]))
    pca.components_, pca.mean_ = found["components"], found["mean"]
    pca.singular_values_ = found["singular_values"]
    pca.explained_variance_ = found["singular_values"] ** 2  # but for 1 / (records - 1): artifacts do not hold it
    pca.n_components_, pca.n_features_in_ = found["components"].shape
    return pca


def _linear(found):
    kind, weights, bias = str(found["predictor_type"]), found["weights"].astype(float), found["bias"].astype(float)
    if kind == "regressor":
        model = LinearRegression()
        model.coef_, model.intercept_ = weights[:, 0], bias[0]
        model.n_features_in_ = len(weights)
        return model
    plain = kind == "binary_classifier" and str(found["loss"]) != "logistic"  # its score is no probability
    model = SGDClassifier(loss="hinge") if plain else LogisticRegression()
    model.coef_, model.intercept_, model.classes_ = weights.T, bias, found["classes"]
    model.n_features_in_ = len(weights)
    if kind == "multiclass_classifier":
        return model
    method = "decision_function" if plain else "predict_proba"
    least = float(found["threshold"])
    cut = FixedThresholdClassifier(FrozenEstimator(model), threshold=least, response_method=method)
    return cut.fit(np.zeros((2, len(weights))), model.classes_)  # fits nothing: the model is frozen
'''


def _sklearn(opened: OpenedModel, path: Path) -> dict[Path, bytes]:
    """A Python file that builds the objects, and their arrays beside it.

    Chosen: joblib and pickle would run whatever a file says; skops is one more package for whoever loads it.
    """
    arrays = path.with_name(f"{path.stem}-arrays.npz")
    script = _SCRIPT.format(module=path.stem, arrays=arrays.name)
    return {arrays: _npz(arrays_of(opened)), path: script.encode()}


def _onnx(opened: OpenedModel, path: Path) -> dict[Path, bytes]:
    from eigenline.command.onnx_graph import write_onnx

    return {path: write_onnx(arrays_of(opened))}
