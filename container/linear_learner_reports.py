"""Linear Learner's results for people: the summary in sentences, and the readable files beside the artifact."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from eigenline.algorithms.linear_learner.metrics import Scores
from eigenline.algorithms.linear_learner.reports import ModelRecord, Trained
from eigenline.algorithms.linear_learner.settings import Settings, as_dictionary
from eigenline.algorithms.linear_learner.thresholds import ThresholdCurve

# Beyond this number of values a text file is of no use to a reader and takes longer than training.
_READABLE_VALUES = 2_000_000
_CURVE_POINTS = 1000
_PAGE_POINTS = 200
_WIDEST_TABLE = 12
_REPORTED_FEATURES = 20_000


def reports(
    settings: Settings,
    trained: Trained,
    scores: Mapping[str, Scores],
    sentences: Sequence[str],
    seconds: Mapping[str, float],
) -> dict[str, bytes]:
    """Return file name -> content of all readable files."""
    files = {
        "report.json": _report(settings, trained, scores, sentences, seconds),
        "models.csv": _models(trained),
    }
    if trained.weights.size <= _READABLE_VALUES:
        files["coefficients.csv"] = _coefficients(trained)
    if trained.curve is not None:
        files["threshold_curve.csv"] = _curve_csv(trained.curve, settings.f_beta)
    return files


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


def _models(trained: Trained) -> bytes:
    names = list(trained.records[0].hyperparameters)
    header = ["model", "stage", "outcome", "epochs", "train_loss", "selection_loss", "criterion", *names]
    rows = [
        [
            record.model,
            record.stage,
            record.outcome,
            record.epochs,
            *(_number(value) for value in (record.train_loss, record.selection_loss, record.criterion)),
            *record.hyperparameters.values(),
        ]
        for record in trained.records
    ]
    return _table(header, rows)


def _number(value: float) -> object:
    return value if math.isfinite(value) else ""


def _coefficients(trained: Trained) -> bytes:
    """Return one line per feature and the intercept, per output, in raw and in standardised units.

    A standardised coefficient is the change of the raw score for one standard deviation of the feature; the
    standardised intercept is the raw score of the average record.
    """
    found = trained.summary
    names = found.column_names or tuple(f"feature_{i + 1}" for i in range(found.feature_dim))
    deviation, mean = found.moments.deviation, found.moments.mean
    outputs = trained.weights.shape[1]
    labels = [""] if outputs == 1 else [f"_class_{k}" for k in range(outputs)]
    header = ["feature", "mean", "standard_deviation"]
    header += [f"coefficient{label}" for label in labels] + [f"standardised{label}" for label in labels]
    intercept = ["(intercept)", "", "", *trained.bias, *(trained.bias + mean @ trained.weights)]
    rows = (
        [names[i], mean[i], deviation[i], *trained.weights[i], *(trained.weights[i] * deviation[i])]
        for i in range(found.feature_dim)
    )
    return _table(header, [intercept, *rows])


def _thinned(curve: ThresholdCurve, points: int) -> np.ndarray:
    count = len(curve.thresholds)
    return np.unique(np.linspace(0, count - 1, min(points, count)).round().astype(np.intp))


def _curve_csv(curve: ThresholdCurve, beta: float) -> bytes:
    chosen = _thinned(curve, _CURVE_POINTS)
    columns = [
        curve.thresholds,
        curve.true_positives,
        curve.false_positives,
        curve.precision,
        curve.recall,
        curve.f_score(beta),
        curve.accuracy,
    ]
    header = ["threshold", "true_positives", "false_positives", "precision", "recall", f"f_{beta:g}", "accuracy"]
    return _table(header, zip(*(column[chosen].tolist() for column in columns), strict=True))


def _report(
    settings: Settings,
    trained: Trained,
    scores: Mapping[str, Scores],
    sentences: Sequence[str],
    seconds: Mapping[str, float],
) -> bytes:
    hyperparameters = as_dictionary(settings)
    found = trained.summary
    document: dict[str, Any] = {
        "algorithm": "linear-learner",
        "summary": list(sentences),
        "given": {name: value for name, value in hyperparameters.items() if name in settings.given},
        "hyperparameters": hyperparameters | _resolved(settings, trained),
        "metrics": {
            f"{channel}:{metric.name}": metric.value
            for channel, found_scores in scores.items()
            for metric in found_scores.metrics
        },
        "records": {channel: found_scores.records for channel, found_scores in scores.items()},
        "feature_dim": found.feature_dim,
        "threshold": trained.model.threshold,
        "threshold_calibrated_on": trained.calibrated_on,
        "model_selected_on": trained.selected_on,
        "stop_reason": trained.stop_reason,
        "epochs": trained.epochs,
        "winner": {"model": trained.winner.model, **trained.winner.hyperparameters},
        "models_trained": len(trained.records),
        "seconds": dict(seconds),
    }
    if found.column_names:
        document["feature_names"] = list(found.column_names)
    if found.feature_dim <= _REPORTED_FEATURES:  # the page begins with the average record, and standardises
        document["feature_mean"] = found.moments.mean.tolist()
        document["feature_deviation"] = found.moments.deviation.tolist()
    tables = {c: _counts(s.confusion) for c, s in scores.items() if s.confusion is not None}
    if tables:
        document["confusion"] = tables
    found_residuals = {channel: s.residuals for channel, s in scores.items() if s.residuals is not None}
    if found_residuals:
        document["r2"] = {channel: residuals.r2 for channel, residuals in found_residuals.items()}
        channel, residuals = list(found_residuals.items())[-1]  # the one that training saw least of
        document["residuals"] = {
            "channel": channel,
            "edges": residuals.edges.tolist(),
            "counts": residuals.counts.tolist(),
        }
    if trained.curve is not None:
        document["threshold_curve"] = _page_curve(trained.curve)
    return (json.dumps(_finite(document), indent=2) + "\n").encode()


def _counts(table: np.ndarray) -> list[list[float]]:
    """Return a table of counts, as whole numbers unless records have weights."""
    whole = bool(np.all(table == np.round(table)))
    counts: list[list[float]] = (table.astype(np.int64) if whole else table).tolist()
    return counts


def _resolved(settings: Settings, trained: Trained) -> dict[str, Any]:
    """Return what `auto` became, for the chosen model."""
    chosen = dict(trained.winner.hyperparameters)
    chosen["positive_example_weight_mult"] = chosen.pop("positive_example_weight")
    return {
        **chosen,
        "feature_dim": trained.summary.feature_dim,
        "optimizer": trained.optimizer,
        "loss": settings.resolved_loss,
        "num_models": sum(record.stage in ("parallel", "path") for record in trained.records)
        or len(trained.records),
        "unbias_data": bool(np.any(trained.scaler.shift)),
        "normalize_label": trained.scaler.label_scale != 1,
        "unbias_label": trained.scaler.label_shift != 0,
    }


def _page_curve(curve: ThresholdCurve) -> dict[str, list[float]]:
    chosen = _thinned(curve, _PAGE_POINTS)
    columns = {
        "threshold": curve.thresholds,
        "precision": curve.precision,
        "recall": curve.recall,
        "f1": curve.f_score(1.0),
    }
    return {name: np.asarray(values[chosen], np.float64).tolist() for name, values in columns.items()}


def _finite(value: Any) -> Any:
    """Replace what JSON has no number for by null."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.item() if isinstance(value, np.generic) else value


def summary(trained: Trained, settings: Settings) -> list[str]:
    """Return why training ended, who won and by how much, and where the threshold is from."""
    return [f"Training ended because {trained.stop_reason}.", _winner(trained), *_threshold(trained, settings)]


def confusions(scores: Mapping[str, Scores]) -> list[str]:
    """Return the lines of a confusion matrix for each channel that was scored."""
    return [line for channel, found in scores.items() for line in _confusion(channel, found)]


def _winner(trained: Trained) -> str:
    winner = trained.winner
    name = f"Model {winner.model}"
    value, others, better = _compared(winner, trained.records)
    text = f"{name} won on {trained.selected_on}: {value}"
    if others:
        text += f"; {better}"
    strength = f"wd={winner.hyperparameters['wd']:.3g}, l1={winner.hyperparameters['l1']:.3g}"
    return f"{text}. It has {strength}."


def _compared(winner: ModelRecord, records: tuple[ModelRecord, ...]) -> tuple[str, bool, str]:
    rivals = [record for record in records if record is not winner and record.stage == winner.stage]
    if np.isfinite(winner.selection_loss):
        losses = [record.selection_loss for record in rivals if np.isfinite(record.selection_loss)]
        value, what = winner.selection_loss, "loss"
        best = min(losses, default=float("nan"))
    else:
        losses = [record.criterion for record in rivals if np.isfinite(record.criterion)]
        value, what = winner.criterion, "criterion"
        best = max(losses, default=float("nan"))
    if not losses:
        return f"{what} {value:.6g}", False, ""
    difference = (best - value) * (1 if what == "loss" else -1)
    side = "ahead of" if difference >= 0 else "behind"
    percent = 100 * abs(difference) / max(abs(best), 1e-300)
    remark = "" if difference >= 0 else ", whose criterion is worse"
    return f"{what} {value:.6g}", True, f"{percent:.3g} % {side} the next best of {len(rivals)}{remark}"


def _threshold(trained: Trained, settings: Settings) -> list[str]:
    if not settings.is_binary:
        return []
    criterion = settings.binary_classifier_model_selection_criteria
    return [
        f"A record is positive when its score is at least {trained.model.threshold:.6g}; the threshold was "
        f"calibrated for {criterion} on {trained.calibrated_on}."
    ]


def _confusion(channel: str, scores: Scores) -> list[str]:
    table = scores.confusion
    if table is None:
        return []
    if len(table) > _WIDEST_TABLE:
        wrong = table.copy()
        np.fill_diagonal(wrong, 0)
        actual, called = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
        return [
            f"Most frequent confusion, {channel}: class {actual} called {called}, {wrong[actual, called]:g} times."
        ]
    width = max(len(f"{table.max():g}"), 5) + 2
    lines = [
        f"Confusion matrix, {channel} (rows: true label, columns: predicted label):",
        " " * 8 + "".join(f"{label:>{width}}" for label in range(len(table))),
    ]
    lines += [f"{label:>8}" + "".join(f"{value:>{width}g}" for value in row) for label, row in enumerate(table)]
    return lines
