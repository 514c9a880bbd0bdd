"""How good a Linear Learner is on rows that did not train: scores, errors, thresholds, calibration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eigenline.report import figures
from eigenline.report.scores import (
    Score,
    binary_scores,
    multiclass_scores,
    quantile_scores,
    regression_scores,
    roc_auc,
)
from eigenline.report.sections import Grid, Picture, Section
from eigenline.report.subject import Labelled, Subject

_MOST_ROWS: Final = 40
_MOST_CLASSES: Final = 30
_BINS: Final = 10
_GRID_CAPTION: Final = "Rows by true class (down) and predicted class (across); colours are shares of the row."
Floats = NDArray[np.float64]


def measured(subject: Subject, rows: Labelled) -> list[Score]:
    """Return the scores of a Linear Learner on labelled rows."""
    linear = subject.linear
    assert linear is not None
    if linear.predictor_type == "regressor":
        scores = regression_scores(rows.labels, rows.scores[:, 0])
        quantile: Any = linear.parameters.get("quantile")
        if linear.loss == "quantile_loss" and isinstance(quantile, int | float):
            return quantile_scores(rows.labels, rows.scores[:, 0], float(quantile)) + scores[1:]
        return scores
    if linear.predictor_type == "binary_classifier":
        score = rows.scores[:, 0]
        called = (score.astype(np.float32) >= np.float32(linear.threshold)).astype(np.float64)
        return binary_scores(rows.labels, score, called, probabilities=linear.loss == "logistic")
    return multiclass_scores(rows.labels, rows.scores)


def scores_section(rows: Labelled | None, scores: Sequence[Score], where: str, nothing: str) -> Section:
    """Return the table of scores; `nothing` is the sentence where there are no rows to measure on."""
    if rows is None:
        return Section("How good it is", [nothing])
    table = [(score.name, f"{score.value:.4g}", _spread(score), score.better) for score in scores]
    text = f"Measured {where}, {len(rows.labels):,} of them. ± is one standard error, over bootstrap resamples."
    return Section("How good it is", [text], header=("score", "value", "±", "better is"), rows=table)


def _spread(score: Score) -> str:
    return f"{score.spread:.2g}" if score.spread > 0 else ""


def quality(subject: Subject, rows: Labelled) -> Iterator[Section]:
    """Yield where the model errs, as pictures and tables."""
    linear = subject.linear
    assert linear is not None
    if linear.predictor_type == "regressor":
        yield _residuals(subject, rows)
    elif linear.predictor_type == "binary_classifier":
        yield from _binary(subject, rows)
    else:
        yield _multiclass(subject, rows)


def _residuals(subject: Subject, rows: Labelled) -> Section:
    predicted, true = rows.scores[:, 0], rows.labels
    name = subject.target or "label"
    drawn = [
        Picture(figures.scatter(predicted, true, f"predicted {name}", f"true {name}", "diagonal"),
                "Predicted and true values; a perfect model has every point on the dashed line."),
        Picture(figures.scatter(predicted, true - predicted, f"predicted {name}", "residual", "zero"),
                "Residuals (true less predicted): a bend or a funnel is what a linear model cannot follow."),
        Picture(figures.histogram(true - predicted, "residual"), "How often residuals of a size occur."),
    ]  # fmt: skip
    levels = (0.05, 0.25, 0.5, 0.75, 0.95)
    residuals = np.quantile(true - predicted, levels)
    table = [(f"{level:.0%}", f"{value:.5g}") for level, value in zip(levels, residuals, strict=True)]
    return Section("Where it errs", (), drawn, ("share of rows", "residual at most"), table)


def _binary(subject: Subject, rows: Labelled) -> Iterator[Section]:
    linear = subject.linear
    assert linear is not None
    score, true = rows.scores[:, 0], rows.labels == 1
    called = score.astype(np.float32) >= np.float32(linear.threshold)
    positive = subject.classes[1]
    table = np.array(
        [[(~true & ~called).sum(), (~true & called).sum()], [(true & ~called).sum(), (true & called).sum()]]
    )
    grid = Grid(subject.classes, table.astype(np.float64), _GRID_CAPTION)
    drawn = []
    points = threshold_points(score, true)
    drawn.append(
        Picture(
            figures.curve(
                points.false_rate, [("", points.recall)], "share of negatives called positive", "recall", True
            ),
            f"ROC curve; the area under it is {roc_auc(rows.labels, score):.4f} (0.5 is chance).",
        )
    )
    base = f"{true.mean():.3g}"
    drawn.append(
        Picture(
            figures.curve(points.recall[:-1], [("", points.precision[:-1])], "recall", "precision"),
            f"Precision and recall; calling every row {positive} has a precision of {base}.",
        )
    )
    yield Section("What it confuses", (), drawn, grid=grid)
    lines = [("precision", points.precision[:-1]), ("recall", points.recall[:-1]), ("F1", points.f1[:-1])]
    unit = linear.loss == "logistic"
    section = [
        Picture(
            figures.curve(points.threshold[:-1], lines, "threshold", "", mark=linear.threshold, unit=unit),
            f"What another threshold would do; the model's is {linear.threshold:.4g} (dotted).",
        )
    ]
    if unit and len(score) >= 2 * _BINS:
        predicted, observed, low, high = calibration_bins(score, true)
        section.append(
            Picture(
                figures.calibration(predicted, observed, low, high),
                "Calibration: of rows with a predicted probability, how many are positive (lines: 95 % "
                "intervals).",
            )
        )
    header = ("threshold", f"called {positive}", "of them right", "missed", "precision", "recall", "F1")
    sentences = [f"A row is called {positive} where its score is at least the threshold."]
    yield Section(
        "The threshold and its consequences", sentences, section, header, _threshold_rows(points, linear.threshold)
    )


@dataclass(frozen=True, eq=False)
class ThresholdPoints:
    """What every distinct score does as a threshold, the lowest first."""

    threshold: Floats
    true_positives: Floats
    called: Floats
    positives: int
    negatives: int

    @property
    def recall(self) -> Floats:
        """Share of the positives that are called so."""
        return self.true_positives / max(self.positives, 1)

    @property
    def precision(self) -> Floats:
        """Share of the called that are positive."""
        return self.true_positives / np.maximum(self.called, 1)

    @property
    def false_rate(self) -> Floats:
        """Share of the negatives that are called positive."""
        return (self.called - self.true_positives) / max(self.negatives, 1)

    @property
    def f1(self) -> Floats:
        """Harmonic mean of precision and recall."""
        return 2 * self.true_positives / np.maximum(self.positives + self.called, 1)


def threshold_points(score: Floats, true: NDArray[np.bool_]) -> ThresholdPoints:
    """Count, for at most 500 thresholds, how many rows are called positive and how many of them are."""
    order = np.argsort(score, kind="stable")
    ordered, hits = score[order], true[order].astype(np.float64)
    first = np.flatnonzero(np.concatenate([[True], np.diff(ordered) > 0]))
    total = hits.sum()
    before = np.concatenate([[0.0], np.cumsum(hits)])
    chosen = first[figures.thinned(len(first), 500)]
    thresholds = np.concatenate([ordered[chosen], [np.nextafter(ordered[-1], np.inf)]])
    true_positives = np.concatenate([total - before[chosen], [0.0]])
    called = np.concatenate([len(score) - chosen, [0]]).astype(np.float64)
    return ThresholdPoints(thresholds, true_positives, called, int(total), int(len(score) - total))


def _threshold_rows(points: ThresholdPoints, own: float) -> list[tuple[str, ...]]:
    levels = np.quantile(points.threshold[:-1], [0.05, 0.25, 0.5, 0.75, 0.95])
    rows: list[tuple[str, ...]] = []
    for level in sorted({*levels.tolist(), own}):
        place = min(int(np.searchsorted(points.threshold, level)), len(points.threshold) - 1)
        hit, called = points.true_positives[place], points.called[place]
        marked = " (the model's)" if level == own else ""
        rows.append(
            (f"{level:.4g}{marked}", f"{called:,.0f}", f"{hit:,.0f}", f"{points.positives - hit:,.0f}",
             f"{points.precision[place]:.3f}", f"{points.recall[place]:.3f}", f"{points.f1[place]:.3f}")
        )  # fmt: skip
    return rows


def calibration_bins(score: Floats, true: NDArray[np.bool_]) -> tuple[Floats, Floats, Floats, Floats]:
    """Return mean prediction, observed share and its 95 % interval of ten groups of equally many rows.

    The interval is Wilson's (1927).
    """
    groups = np.array_split(np.argsort(score, kind="stable"), _BINS)
    predicted = np.array([score[group].mean() for group in groups])
    share = np.array([true[group].mean() for group in groups])
    count, z = np.array([len(group) for group in groups]), 1.96
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return predicted, share, centre - half, centre + half


def _multiclass(subject: Subject, rows: Labelled) -> Section:
    classes = subject.classes
    labels, called = rows.labels.astype(np.intp), rows.scores.argmax(axis=1)
    table = np.zeros((len(classes), len(classes)))
    np.add.at(table, (labels, called), 1)
    drawn = []
    grid = Grid(classes, table, _GRID_CAPTION) if len(classes) <= _MOST_CLASSES else None
    if len(labels) >= 2 * _BINS:
        predicted, observed, low, high = calibration_bins(rows.scores.max(axis=1), labels == called)
        drawn.append(
            Picture(
                figures.calibration(predicted, observed, low, high),
                "Calibration of the class with the highest score: how often it is right (lines: 95 % intervals).",
            )
        )
    hits = np.diag(table)
    precision, recall = hits / np.maximum(table.sum(axis=0), 1), hits / np.maximum(table.sum(axis=1), 1)
    body = [
        (name, f"{table[k].sum():,.0f}", f"{precision[k]:.3f}", f"{recall[k]:.3f}")
        for k, name in enumerate(classes[:_MOST_ROWS])
    ]
    return Section("What it confuses", (), drawn, ("class", "rows", "precision", "recall"), body, grid=grid)
