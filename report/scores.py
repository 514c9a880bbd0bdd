"""How good predictions are on rows that did not train: the scores people ask for, each with its spread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
_RESAMPLED_VALUES: Final = 1_000_000  # rows times repetitions: about a tenth of a second
_TINY: Final = 1e-15


@dataclass(frozen=True)
class Score:
    """One score.

    Attributes
    ----------
    name
        As people call it.
    value
        On all rows.
    spread
        Standard error: the deviation of the score over bootstrap resamples of the rows (Efron 1979).
    better
        ``higher`` or ``lower``.
    """

    name: str
    value: float
    spread: float
    better: str


def regression_scores(labels: Floats, predicted: Floats) -> list[Score]:
    """Return R2, RMSE and mean absolute error."""
    return _scores(
        {
            "R2": (
                lambda y, p: 1 - float(((y - p) ** 2).sum() / max(((y - y.mean()) ** 2).sum(), 1e-300)),
                "higher",
            ),
            "RMSE": (lambda y, p: float(np.sqrt(((y - p) ** 2).mean())), "lower"),
            "mean absolute error": (lambda y, p: float(np.abs(y - p).mean()), "lower"),
        },
        labels,
        predicted,
    )


def quantile_scores(labels: Floats, predicted: Floats, quantile: float) -> list[Score]:
    """Return the share of labels at or below the predicted quantile, and the pinball loss."""

    def pinball(y: Floats, p: Floats) -> float:
        return float(np.maximum(quantile * (y - p), (quantile - 1) * (y - p)).mean())

    coverage = (lambda y, p: float((y <= p).mean()), f"near {quantile:g}")
    return _scores(
        {f"coverage of the {quantile:g} quantile": coverage, "pinball loss": (pinball, "lower")}, labels, predicted
    )


def binary_scores(labels: Floats, scores: Floats, predicted: Floats, probabilities: bool) -> list[Score]:
    """Return accuracy, precision, recall, F1 and the area under the ROC curve; log loss of probabilities."""
    stacked = np.stack([scores, predicted], axis=1)
    measures: dict[str, tuple[Callable[[Any, Any], float], str]] = {
        "accuracy": (lambda y, p: float((y == p[:, 1]).mean()), "higher"),
        "precision": (lambda y, p: _ratio(y @ p[:, 1], p[:, 1].sum()), "higher"),
        "recall": (lambda y, p: _ratio(y @ p[:, 1], y.sum()), "higher"),
        "F1": (lambda y, p: _ratio(2 * (y @ p[:, 1]), y.sum() + p[:, 1].sum()), "higher"),
        "area under ROC": (lambda y, p: roc_auc(y, p[:, 0]), "higher"),
    }
    if probabilities:
        measures["log loss"] = (lambda y, p: _log_loss(np.where(y == 1, p[:, 0], 1 - p[:, 0])), "lower")
    return _scores(measures, labels, stacked)


def multiclass_scores(labels: Floats, probabilities: Floats) -> list[Score]:
    """Return accuracy, the mean recall of the classes, and log loss."""
    own = probabilities[np.arange(len(labels)), labels.astype(np.intp)]
    stacked = np.stack([probabilities.argmax(axis=1).astype(np.float64), own], axis=1)
    return _scores(
        {
            "accuracy": (lambda y, p: float((y == p[:, 0]).mean()), "higher"),
            "balanced accuracy": (lambda y, p: _mean_recall(y, p[:, 0]), "higher"),
            "log loss": (lambda y, p: _log_loss(p[:, 1]), "lower"),
        },
        labels,
        stacked,
    )


def roc_auc(labels: Floats, scores: Floats) -> float:
    """Return the chance that a positive scores above a negative, ties counted half (Mann and Whitney 1947)."""
    positives = labels == 1
    count = int(positives.sum())
    if count in (0, len(labels)):
        return float("nan")
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return float((ranks[positives].sum() - count * (count + 1) / 2) / (count * (len(labels) - count)))


def _scores(
    measures: Mapping[str, tuple[Callable[[Any, Any], float], str]], labels: Floats, predicted: Floats
) -> list[Score]:
    repetitions = int(np.clip(_RESAMPLED_VALUES // max(len(labels), 1), 20, 200))
    generator = np.random.default_rng(0)
    drawn: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(repetitions):
        rows = generator.integers(0, len(labels), len(labels))
        for name, (measure, _better) in measures.items():
            drawn[name].append(measure(labels[rows], predicted[rows]))
    return [
        Score(name, measure(labels, predicted), _deviation(drawn[name]), better)
        for name, (measure, better) in measures.items()
    ]


def _deviation(values: list[float]) -> float:
    finite = np.array([value for value in values if np.isfinite(value)])
    return float(finite.std(ddof=1)) if len(finite) > 1 else float("nan")


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else 0.0


def _log_loss(probabilities: Floats) -> float:
    return float(-np.log(np.maximum(probabilities, _TINY)).mean())


def _mean_recall(labels: Floats, predicted: Floats) -> float:
    classes = np.unique(labels)
    return float(np.mean([(predicted[labels == label] == label).mean() for label in classes]))
