"""From the chosen model's parameters to what is served: raw units, threshold, one model object."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from eigenline.algorithms.errors import UserError
from eigenline.algorithms.hyperparameters import AUTO
from eigenline.algorithms.linear_learner.losses import Floats
from eigenline.algorithms.linear_learner.model import LinearLearnerModel
from eigenline.algorithms.linear_learner.reports import ModelRecord, Notice, Report, Trained
from eigenline.algorithms.linear_learner.scoring import ScoreSample, as_float32, calibration_sample
from eigenline.algorithms.linear_learner.thresholds import ThresholdCurve, choose_threshold, threshold_curve
from eigenline.algorithms.linear_learner.training_data import TrainingData, metrics_parameters

STOPPED = "nothing: the job was asked to stop"


@dataclass(frozen=True, eq=False)
class Finished:
    """The end of the epochs: one model in normalised units, and the records of all.

    `calibration` has scores of records that the model was not trained on; None takes the validation channel
    or else the training data.
    """

    parameters: Floats
    records: tuple[ModelRecord, ...]
    winner: ModelRecord
    selected_on: str
    calibration: ScoreSample | None
    stop_reason: str
    epochs: int


def finish(training_data: TrainingData, finished: Finished) -> Iterator[Report | Trained]:
    """Convert to raw units and calibrate; the last thing yielded is the result."""
    settings = training_data.settings
    weights, bias = training_data.scaler.raw_units(finished.parameters)
    if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
        raise UserError(
            "every model diverged: their parameters are no longer finite. Use a smaller learning_rate, "
            "or normalize_data=true"
        )
    if len(bias) > 1 and not settings.as_aws:
        bias = bias - bias.mean()  # softmax does not see what all scores share: fix it
    threshold, source, curve = 0.5, "nothing: the threshold has no meaning here", None
    if settings.is_binary and training_data.rows.stopping() and finished.calibration is None:
        source = STOPPED
    elif settings.is_binary:
        source, curve = _calibration(training_data, finished, as_float32(np.vstack([weights, bias])))
    if curve is not None:
        if curve.positives == 0 or curve.negatives == 0:
            yield Notice(f"The threshold stays at 0.5: {source} has a single class.", warning=True)
        else:
            choice = choose_threshold(curve, settings, 0.5)
            threshold = choice.threshold
            if choice.value < 0:
                yield Notice(
                    "No threshold reaches the target of "
                    f"{settings.binary_classifier_model_selection_criteria}; the nearest one was taken.",
                    warning=True,
                    about_result=True,
                )
    threshold = float(np.float32(threshold))
    model = LinearLearnerModel(
        as_float32(weights),
        as_float32(bias),
        settings.predictor_type,
        settings.resolved_loss,
        threshold,
        metrics_parameters(settings, threshold, training_data.rows.class_weights),
    )
    yield Trained(
        model,
        weights,
        bias,
        training_data.summary,
        training_data.scaler,
        finished.records,
        finished.winner,
        finished.selected_on,
        source,
        finished.stop_reason,
        finished.epochs,
        curve,
        str(finished.winner.hyperparameters["optimizer"]),
    )


def _calibration(
    training_data: TrainingData, finished: Finished, raw: Floats
) -> tuple[str, ThresholdCurve | None]:
    sample = finished.calibration
    preparation, settings = training_data.raw_preparation, training_data.settings
    if training_data.validation_records is not None:
        source = "validation"
        sample = calibration_sample(training_data.validation_records, preparation, raw, settings)
    elif sample is not None:
        source = "an internal hold-out of the training data"
    else:
        source = "train"
        sample = calibration_sample(training_data.every, preparation, raw, settings)
    if not len(sample):  # the stop came while the next pipe was waited for
        return STOPPED, None
    limit = settings.num_calibration_samples
    if limit != AUTO and len(sample) > limit:
        fewer = ScoreSample(limit)
        fewer.update(*sample.arrays())
        sample = fewer
    scores, labels, weights = sample.arrays()
    uniform = bool(np.all(weights == weights[0]))
    return source, threshold_curve(scores[:, 0], labels, None if uniform else weights)
