"""Linear Learner's readable files beside the artifact: all models, coefficients, threshold curve, report."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from eigenline.algorithms.linear_learner.metrics import Scores
from eigenline.algorithms.linear_learner.reports import Trained
from eigenline.algorithms.linear_learner.settings import Settings, as_dictionary
from eigenline.algorithms.linear_learner.thresholds import ThresholdCurve

# Beyond this number of values a text file is of no use to a reader and takes longer than training.
_READABLE_VALUES = 2_000_000
_CURVE_POINTS = 1000
_PAGE_POINTS = 200
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
    found = trained.survey
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
    found = trained.survey
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
    tables = {c: s.confusion.tolist() for c, s in scores.items() if s.confusion is not None}
    if tables:
        document["confusion"] = tables
    if trained.curve is not None:
        document["threshold_curve"] = _page_curve(trained.curve)
    return (json.dumps(_finite(document), indent=2) + "\n").encode()


def _resolved(settings: Settings, trained: Trained) -> dict[str, Any]:
    """Return what `auto` became, for the chosen model."""
    chosen = dict(trained.winner.hyperparameters)
    chosen["positive_example_weight_mult"] = chosen.pop("positive_example_weight")
    return {
        **chosen,
        "feature_dim": trained.survey.feature_dim,
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
    """Replace what JSON cannot say by null."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.item() if isinstance(value, np.generic) else value
