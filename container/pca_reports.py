"""PCA's readable files beside the artifact: explained variance, components, and the report of the job."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.hyperparameters import declarations
from eigenline.algorithms.pca import explained
from eigenline.algorithms.pca.explained import Explained
from eigenline.algorithms.pca.settings import PCASettings
from eigenline.algorithms.pca.training import TrainedPCA

# Above this number of values a text file is of no use to a reader and would take longer than training.
_READABLE_VALUES = 2_000_000


def summary(trained: TrainedPCA, on_test: Explained | None) -> list[str]:
    """Return sentences on what the components explain."""
    on_train = explained.of_training(trained)
    k = trained.model.num_components
    sentences = [
        f"{trained.num_records:,} records of {trained.model.feature_dim:,} features; {trained.passes} pass(es) "
        f"over the data; method: {trained.method}.",
        _captured(f"{k} component(s) explain", on_train) + " of the train channel's total variance.",
    ]
    for share, count in explained.components_needed(trained).items():
        needs = f"more than the {k} that were kept" if count is None else f"{count:,}"
        sentences.append(f"Components needed for {share:.0%} of the variance: {needs}.")
    sentences.append(_error("train", on_train))
    if on_test is not None:
        sentences.append(_captured("On the test channel they explain", on_test) + " of the variance.")
        sentences.append(_error("test", on_test))
    return sentences + list(trained.notes)


def _captured(beginning: str, measured: Explained) -> str:
    return f"{beginning} {100 * float(measured.cumulative[-1]):.4f} %"


def _error(channel: str, measured: Explained) -> str:
    return (
        f"Reconstruction error, {channel}: {measured.reconstruction_error:.6g} per record (mean squared "
        f"distance), {measured.reconstruction_rmse:.6g} per value (root mean square)."
    )


def reports(
    settings: PCASettings,
    trained: TrainedPCA,
    on_test: Explained | None,
    sentences: Sequence[str],
    seconds: Mapping[str, float],
    names: Sequence[str] | None = None,
) -> dict[str, bytes]:
    """Return file name -> content of all readable files; `names` are the features', where the data had them."""
    files = {
        "report.json": _report(settings, trained, on_test, sentences, seconds, names),
        "explained_variance.csv": _explained_variance_csv(trained, on_test),
    }
    components = trained.model.components
    if components.size <= _READABLE_VALUES:
        files["components.csv"] = _components_csv(trained, names)
    return files


def _report(
    settings: PCASettings,
    trained: TrainedPCA,
    on_test: Explained | None,
    sentences: Sequence[str],
    seconds: Mapping[str, float],
    names: Sequence[str] | None,
) -> bytes:
    resolved = {name: getattr(settings, name) for name in declarations(PCASettings)}
    on_train = explained.of_training(trained)
    needed = explained.components_needed(trained)
    document = {
        "algorithm": "pca",
        "hyperparameters": resolved,
        "given": {name: value for name, value in resolved.items() if name in settings.given},
        "metrics": _metrics("train", on_train) | ({} if on_test is None else _metrics("test", on_test)),
        "summary": list(sentences),
        "num_records": trained.num_records,
        "feature_dim": trained.model.feature_dim,
        "method": trained.method,
        "passes": trained.passes,
        "component_order": "ascending" if settings.algorithm_mode == "regular" else "descending",
        "explained_variance_ratio": on_train.ratios.tolist(),
        "cumulative_explained_variance_ratio": on_train.cumulative.tolist(),
        "components_needed": {f"{share:g}": count for share, count in needed.items()},
        "seconds": {name: value for name, value in seconds.items() if name != "began"},
    }
    if names is not None:
        document["feature_names"] = list(names)
    if on_test is not None:
        document["test_explained_variance_ratio"] = on_test.ratios.tolist()
    return (json.dumps(document, indent=2) + "\n").encode()


def _metrics(channel: str, measured: Explained) -> dict[str, float]:
    return {
        f"{channel}:explained_variance_ratio": float(measured.cumulative[-1]),
        f"{channel}:reconstruction_error": measured.reconstruction_error,
        f"{channel}:reconstruction_rmse": measured.reconstruction_rmse,
    }


def _explained_variance_csv(trained: TrainedPCA, on_test: Explained | None) -> bytes:
    """One line per component, strongest first; ``column`` is its place in the artifact, counted from 0."""
    on_train = explained.of_training(trained)
    order = _strongest_first(trained)
    columns: dict[str, NDArray[np.generic]] = {
        "component": np.arange(1, len(order) + 1),
        "column": order,
        "singular_value": np.sqrt(on_train.captured),
        "explained_variance": on_train.captured / max(1, trained.num_records - 1),
        "explained_variance_ratio": on_train.ratios,
        "cumulative_ratio": on_train.cumulative,
    }
    if on_test is not None:
        columns |= {"test_ratio": on_test.ratios, "test_cumulative_ratio": on_test.cumulative}
    lines = [",".join(columns)]
    lines += [
        ",".join(map(repr, values))
        for values in zip(*(column.tolist() for column in columns.values()), strict=True)
    ]
    return ("\n".join(lines) + "\n").encode()


def _components_csv(trained: TrainedPCA, names: Sequence[str] | None) -> bytes:
    """One line per feature: its name or number from 1, its mean, its loading per component, strongest first."""
    model = trained.model
    d, k = model.components.shape
    mean = np.zeros(d, np.float32) if model.mean is None else model.mean
    header = ",".join(["feature", "mean", *(f"component_{i}" for i in range(1, k + 1))])
    table = np.column_stack([mean, model.components[:, _strongest_first(trained)]])
    line = ",%.9g" * (k + 1) + "\n"  # nine digits give every float32 back exactly
    first = [str(number) for number in range(1, d + 1)] if names is None else [_cell(name) for name in names]
    # One format call for the whole table: ten times faster than formatting value by value.
    text: str = "".join(name.replace("%", "%%") + line for name in first) % tuple(table.ravel().tolist())
    return f"{header}\n{text}".encode()


def _cell(text: str) -> str:
    """Write a text as a cell of CSV."""
    return '"' + text.replace('"', '""') + '"' if any(sign in text for sign in ',"\r\n') else text


def _strongest_first(trained: TrainedPCA) -> NDArray[np.intp]:
    return np.argsort(-trained.eigenvalues, kind="stable")
