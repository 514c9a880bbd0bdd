"""Which threshold and which model is best by the user's criterion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.linear_learner.settings import Settings

SERVICE_THRESHOLDS = 500


@dataclass(frozen=True, eq=False)
class ThresholdCurve:
    """What a binary model does at each threshold that changes anything, from strict to lenient.

    Attributes
    ----------
    thresholds
        Shape (k,), the distinct scores in descending order: records with at least this score are positive.
    true_positives, false_positives
        Shape (k,), in total weight.
    positives, negatives
        Total weights of the two classes.
    """

    thresholds: NDArray[Any]
    true_positives: NDArray[np.float64]
    false_positives: NDArray[np.float64]
    positives: float
    negatives: float

    @property
    def precision(self) -> NDArray[np.float64]:
        """Share of true ones among the records called positive."""
        return self.true_positives / np.maximum(self.true_positives + self.false_positives, 1e-300)

    @property
    def recall(self) -> NDArray[np.float64]:
        """Share of the positives that are found; 0 where there is no positive."""
        return self.true_positives / max(self.positives, 1e-300)

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """Share of records that are labelled right."""
        correct = self.true_positives + self.negatives - self.false_positives
        return np.asarray(correct / (self.positives + self.negatives))

    def f_score(self, beta: float) -> NDArray[np.float64]:
        """``(1 + b^2) P R / (b^2 P + R)``, in counts: ``(1 + b^2) TP / ((1 + b^2) TP + b^2 FN + FP)``."""
        weighted = (1 + beta**2) * self.true_positives
        missed = beta**2 * (self.positives - self.true_positives)
        return np.asarray(weighted / np.maximum(weighted + missed + self.false_positives, 1e-300))

    @property
    def roc_auc(self) -> float:
        """Area under the ROC curve by trapezoids (ties count half); 0.5 with a single class."""
        if self.positives == 0 or self.negatives == 0:
            return 0.5
        hits = np.concatenate([[0.0], self.true_positives])
        alarms = np.concatenate([[0.0], self.false_positives])
        area = np.sum(np.diff(alarms) * (hits[1:] + hits[:-1]) / 2)
        return float(area / (self.positives * self.negatives))


def threshold_curve(
    scores: NDArray[Any], labels: NDArray[Any], weights: NDArray[Any] | None = None
) -> ThresholdCurve:
    """Sort scores (n,) with labels 0/1 (n,) and count what every threshold would do."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    weight = np.ones(len(scores)) if weights is None else weights[order].astype(np.float64)
    positive = labels[order] > 0
    last_of_ties = np.append(ordered[1:] != ordered[:-1], True)
    true = np.cumsum(np.where(positive, weight, 0))
    false = np.cumsum(np.where(positive, 0, weight))
    return ThresholdCurve(
        ordered[last_of_ties],
        true[last_of_ties],
        false[last_of_ties],
        float(true[-1]) if len(true) else 0.0,
        float(false[-1]) if len(false) else 0.0,
    )


def criterion_values(curve: ThresholdCurve, settings: Settings) -> NDArray[np.float64]:
    """Return the user's criterion at every threshold; what misses its target is ranked below all that reach it.

    Where no threshold reaches the target, the nearest one is best.
    """
    name = settings.binary_classifier_model_selection_criteria
    if name == "f_beta":
        return curve.f_score(settings.f_beta)
    if name == "precision_at_target_recall":
        return _aimed(curve.precision, curve.recall, settings.target_recall)
    if name == "recall_at_target_precision":
        return _aimed(curve.recall, curve.precision, settings.target_precision)
    return curve.accuracy


def _aimed(value: NDArray[np.float64], constrained: NDArray[np.float64], target: float) -> NDArray[np.float64]:
    return np.where(constrained >= target - 1e-12, value, constrained - target - 1)


@dataclass(frozen=True)
class Choice:
    """A threshold, and the criterion's value there (below -0 where the target cannot be reached)."""

    threshold: float
    value: float


def choose_threshold(curve: ThresholdCurve, settings: Settings, natural: float) -> Choice:
    """Return the threshold that is best by the criterion.

    Parameters
    ----------
    natural
        The threshold that needs no calibration: 0.5.

    Notes
    -----
    `aws`: the best of 500 evenly spaced scores, the lowest of equals. Chosen: that gives the threshold
    of a public artifact to ten digits; the service does not take the best score of all.
    `loss_function` keeps the natural threshold in `best`.

    Chosen, for `best`: of all thresholds whose accuracy is within one standard error of the highest, the one
    nearest to the natural threshold. The highest accuracy of a finite sample is partly luck, and a threshold that
    moved after it does worse on new data. The best F score lies far from the natural threshold where positives are
    rare, so there the highest value decides. A threshold lies halfway between two scores.
    """
    values = criterion_values(curve, settings)
    best = int(np.argmax(values))
    name = settings.binary_classifier_model_selection_criteria
    if settings.as_aws:
        spaced = _evenly_spaced(curve, SERVICE_THRESHOLDS)
        best = int(spaced[np.argmax(values[spaced])])
        return Choice(float(curve.thresholds[best]), float(values[best]))
    if name == "loss_function":
        return Choice(natural, float(_value_at(curve, values, natural)))
    if name == "accuracy":
        count = curve.positives + curve.negatives
        errors = (1 - curve.accuracy[best]) * count
        margin = np.sqrt(max(errors, 1.0)) / count
        if _value_at(curve, values, natural) >= values[best] - margin:
            return Choice(natural, float(_value_at(curve, values, natural)))
        close = np.flatnonzero(values >= values[best] - margin)
        best = int(close[np.argmin(np.abs(curve.thresholds[close] - natural))])
    return Choice(_between(curve, best), float(values[best]))


def _evenly_spaced(curve: ThresholdCurve, count: int) -> NDArray[np.intp]:
    """Return the positions of the ascending scores ``floor(k n / count)`` of n, k = 0 to count - 1."""
    ranks = curve.true_positives + curve.false_positives  # records with at least this score
    ascending = np.floor(np.arange(count) * ranks[-1] / count)
    return np.asarray(np.searchsorted(ranks, ranks[-1] - ascending))


def _between(curve: ThresholdCurve, position: int) -> float:
    """Return a threshold that separates this score from the next lower one: halfway.

    A score that is computed once more may differ in its last bit; a record at the threshold must not.
    """
    here = float(curve.thresholds[position])
    if position + 1 == len(curve.thresholds):
        return here
    return (here + float(curve.thresholds[position + 1])) / 2


def _value_at(curve: ThresholdCurve, values: NDArray[np.float64], threshold: float) -> float:
    """Return the criterion with every record of at least this score called positive."""
    position = int(np.searchsorted(-curve.thresholds, -np.float64(threshold), side="right")) - 1
    return float(values[position]) if position >= 0 else -2.0
