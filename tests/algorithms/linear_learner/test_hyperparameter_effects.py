"""Every hyperparameter set to another value, in both modes: it acts as declared, or the log says why not."""

import functools
from dataclasses import dataclass

import numpy as np
import pytest

from eigenline.algorithms.batch import Batch, HeldBatches
from eigenline.algorithms.errors import DataError
from eigenline.algorithms.hyperparameters import declarations
from eigenline.algorithms.linear_learner.hyperparameter_effects import EFFECTS, no_effect
from eigenline.algorithms.linear_learner.metrics import score_channel
from eigenline.algorithms.linear_learner.reports import Notice, Trained
from eigenline.algorithms.linear_learner.settings import Settings, read_settings
from eigenline.algorithms.linear_learner.training import train

BINARY = {"predictor_type": "binary_classifier"}
MULTI = {"predictor_type": "multiclass_classifier", "num_classes": "3"}
REGRESSOR = {"predictor_type": "regressor"}
ADAM = {"optimizer": "adam"}  # in `best`: mini-batches
FEW = {"num_models": "4"}

TO_THE_END = {"early_stopping_tolerance": "1e-9", "early_stopping_patience": "30"}
STEEP = {"lr_scheduler_step": "2", "lr_scheduler_factor": "0.5"}
RECALL = {"binary_classifier_model_selection_criteria": "precision_at_target_recall"}
UNSTEADY = {"optimizer": "sgd", "momentum": "0.9", "learning_rate": "0.3", "num_models": "1", "wd": "0"}

# Name, further hyperparameters, value; each is run in both modes.
CASES: list[tuple[str, dict[str, str], str]] = [
    ("predictor_type", {}, "regressor"),
    ("num_classes", MULTI, "4"),
    ("num_classes", BINARY, "3"),
    ("feature_dim", BINARY, "4"),
    ("mini_batch_size", BINARY, "50"),
    ("mini_batch_size", {**BINARY, **ADAM}, "50"),
    ("epochs", {**BINARY, **ADAM}, "2"),
    ("epochs", {**REGRESSOR, "loss": "absolute_loss", **TO_THE_END}, "2"),
    ("epochs", {**REGRESSOR, **ADAM, "learning_rate": "0.0005", **TO_THE_END}, "20"),
    ("use_bias", REGRESSOR, "false"),
    ("binary_classifier_model_selection_criteria", BINARY, "recall_at_target_precision"),
    ("binary_classifier_model_selection_criteria", REGRESSOR, "f_beta"),
    (
        "target_recall",
        {**BINARY, "binary_classifier_model_selection_criteria": "precision_at_target_recall"},
        "0.5",
    ),
    ("target_recall", BINARY, "0.5"),
    (
        "target_precision",
        {**BINARY, "binary_classifier_model_selection_criteria": "recall_at_target_precision"},
        "0.95",
    ),
    ("target_precision", BINARY, "0.5"),
    ("f_beta", BINARY, "3"),
    ("f_beta", MULTI, "3"),
    ("f_beta", REGRESSOR, "3"),
    ("positive_example_weight_mult", BINARY, "5"),
    ("positive_example_weight_mult", BINARY, "balanced"),
    ("positive_example_weight_mult", MULTI, "5"),
    ("balance_multiclass_weights", MULTI, "true"),
    ("balance_multiclass_weights", BINARY, "true"),
    ("accuracy_top_k", MULTI, "1"),
    ("accuracy_top_k", BINARY, "1"),
    ("num_models", REGRESSOR, "1"),
    ("num_models", {**REGRESSOR, **ADAM, "wd": "0.1"}, "1"),
    ("num_models", {**REGRESSOR, "wd": "0.1"}, "1"),
    ("num_calibration_samples", {**BINARY, **RECALL}, "40"),
    ("num_calibration_samples", {**BINARY, "binary_classifier_model_selection_criteria": "loss_function"}, "40"),
    ("num_calibration_samples", REGRESSOR, "40"),
    ("init_method", {**REGRESSOR, **ADAM}, "normal"),
    ("init_method", REGRESSOR, "normal"),
    ("init_scale", {**REGRESSOR, **ADAM}, "3"),
    ("init_scale", REGRESSOR, "3"),
    ("init_scale", {**REGRESSOR, **ADAM, "init_method": "normal"}, "3"),
    ("init_sigma", {**REGRESSOR, **ADAM, "init_method": "normal"}, "3"),
    ("init_sigma", {**REGRESSOR, **ADAM}, "3"),
    ("init_bias", {**REGRESSOR, **ADAM}, "2"),
    ("init_bias", REGRESSOR, "2"),
    ("init_bias", {**REGRESSOR, **ADAM, "use_bias": "false"}, "2"),
    ("optimizer", REGRESSOR, "sgd"),
    ("optimizer", REGRESSOR, "rmsprop"),
    ("optimizer", REGRESSOR, "adam"),
    ("loss", REGRESSOR, "absolute_loss"),
    ("loss", BINARY, "hinge_loss"),
    ("margin", {**BINARY, "loss": "hinge_loss"}, "3"),
    ("margin", BINARY, "3"),
    ("quantile", {**REGRESSOR, "loss": "quantile_loss"}, "0.9"),
    ("quantile", REGRESSOR, "0.9"),
    ("loss_insensitivity", {**REGRESSOR, "loss": "eps_insensitive_squared_loss"}, "0.7"),
    ("loss_insensitivity", REGRESSOR, "0.7"),
    ("huber_delta", {**REGRESSOR, "loss": "huber_loss"}, "0.1"),
    ("huber_delta", REGRESSOR, "0.1"),
    ("wd", REGRESSOR, "3"),
    ("wd", MULTI, "3"),
    ("l1", REGRESSOR, "0.3"),
    ("momentum", {**REGRESSOR, "optimizer": "sgd"}, "0.9"),
    ("momentum", REGRESSOR, "0.9"),
    ("learning_rate", REGRESSOR, "0.01"),
    ("learning_rate", MULTI, "0.01"),
    ("beta_1", REGRESSOR, "0.5"),
    ("beta_1", {**REGRESSOR, "optimizer": "rmsprop"}, "0.5"),
    ("beta_2", REGRESSOR, "0.9"),
    ("beta_2", {**REGRESSOR, "optimizer": "sgd"}, "0.9"),
    ("bias_lr_mult", REGRESSOR, "1"),
    ("bias_lr_mult", {**REGRESSOR, "use_bias": "false"}, "1"),
    ("bias_wd_mult", {**REGRESSOR, "wd": "1", "unbias_label": "false"}, "5"),
    ("bias_wd_mult", {**REGRESSOR, "wd": "0"}, "5"),
    ("bias_wd_mult", {**REGRESSOR, "use_bias": "false"}, "5"),
    ("use_lr_scheduler", {**REGRESSOR, **ADAM, **STEEP}, "false"),
    ("lr_scheduler_step", REGRESSOR, "3"),
    ("lr_scheduler_step", {**REGRESSOR, "use_lr_scheduler": "false"}, "3"),
    ("lr_scheduler_factor", {**REGRESSOR, "lr_scheduler_step": "5"}, "0.5"),
    ("lr_scheduler_factor", {**REGRESSOR, "use_lr_scheduler": "false"}, "0.5"),
    ("lr_scheduler_minimum_lr", {**REGRESSOR, "lr_scheduler_step": "5", "lr_scheduler_factor": "0.5"}, "0.003"),
    ("lr_scheduler_minimum_lr", {**REGRESSOR, "use_lr_scheduler": "false"}, "0.003"),
    ("normalize_data", {**REGRESSOR, "wd": "0.1"}, "false"),
    ("normalize_label", {**REGRESSOR, "loss": "absolute_loss", "wd": "0.1"}, "false"),
    ("normalize_label", BINARY, "false"),
    ("unbias_data", {**REGRESSOR, "wd": "0.1", "bias_wd_mult": "1"}, "false"),
    ("unbias_label", {**REGRESSOR, "wd": "0.1", "bias_wd_mult": "1"}, "false"),
    ("unbias_label", BINARY, "false"),
    ("num_point_for_scaler", {**REGRESSOR, "wd": "0.1"}, "150"),
    ("early_stopping_patience", {**REGRESSOR, **UNSTEADY}, "1"),
    ("early_stopping_tolerance", {**REGRESSOR, **ADAM}, "0.9"),
    ("early_stopping_tolerance", REGRESSOR, "0.9"),
    ("compatibility", REGRESSOR, "other"),
    ("seed", {**REGRESSOR, **ADAM}, "7"),
    ("seed", {**BINARY, **RECALL}, "7"),
]

# Where only full passes, so only `best`, are the case.
OF_PASSES: list[tuple[str, dict[str, str], str]] = [
    ("use_lr_scheduler", REGRESSOR, "false"),
    ("early_stopping_patience", REGRESSOR, "1"),
    ("epochs", REGRESSOR, "20"),
]


@dataclass
class Job:
    """What a job gave, as far as a hyperparameter can act on it."""

    settings: Settings
    model: np.ndarray
    threshold: float
    metrics: dict[str, float]
    said: str


@functools.cache
def run(items: tuple[tuple[str, str], ...]) -> Job:
    given = dict(items)
    rng = np.random.default_rng(5)
    X = (rng.normal(size=(620, 4)) * [1, 3, 0.2, 1] + [2, -1, 0.5, 0]).astype(np.float32)
    raw = X @ [1, -0.4, 2, 0] + rng.normal(size=620)
    y = raw + 3
    if given["predictor_type"] == "binary_classifier":
        y = (raw > np.quantile(raw, 0.7)) * 1.0
    elif given["predictor_type"] == "multiclass_classifier":
        y = np.digitize(raw, np.quantile(raw, [0.15, 0.6])).astype(float)
    channel = HeldBatches([Batch(X, y.astype(np.float32))])
    list(channel)
    settings = read_settings(given)
    reports = list(train(settings, {"train": channel}))
    trained = reports[-1]
    assert isinstance(trained, Trained)
    scores = score_channel(trained.model, settings, channel)
    said = "\n".join(report.text for report in reports if isinstance(report, Notice))
    model = np.concatenate([trained.weights.ravel(), trained.bias])
    metrics = {metric.name: metric.value for metric in scores.metrics}
    return Job(settings, model, trained.model.threshold, metrics, said)


def pair(name: str, further: dict[str, str], value: str, compatibility: str) -> tuple[Job, Job]:
    base = {
        "predictor_type": "binary_classifier",
        "mini_batch_size": "100",
        "compatibility": compatibility,
        **further,
    }
    if name == "compatibility":
        value = {"aws": "best", "best": "aws"}[compatibility]
    if name == "predictor_type":  # the same labels for both
        base["loss"] = "squared_loss"
    return run(tuple(sorted(base.items()))), run(tuple(sorted({**base, name: value}.items())))


@pytest.mark.parametrize(
    ("name", "further", "value", "compatibility"),
    [(*case, mode) for case in CASES for mode in ("best", "aws")] + [(*case, "best") for case in OF_PASSES],
)
def test_it_acts_on_what_is_declared_or_the_log_says_why_not(name, further, value, compatibility):
    before, after = pair(name, further, value, compatibility)
    reason = no_effect(name, after.settings)
    if reason is not None:
        assert f"{name} has no effect here: {reason}." in after.said
        assert (after.model == before.model).all()
        assert after.threshold == before.threshold
        assert after.metrics == before.metrics
        return
    assert "has no effect here: " not in after.said or f"{name} has no effect" not in after.said
    acts_on = EFFECTS[name].acts_on
    same_model = after.model.shape == before.model.shape and bool(
        np.abs(after.model - before.model).max() <= 1e-9 * np.abs(before.model).max()
    )
    if acts_on == "model" or acts_on == "threshold":
        assert not same_model or after.threshold != before.threshold
    elif acts_on == "metrics":
        assert after.metrics != before.metrics
    else:
        assert same_model


def test_every_hyperparameter_is_declared_and_tried():
    names = set(declarations(Settings))
    assert len(names) == 46
    assert set(EFFECTS) == names
    assert {name for name, _, _ in CASES} == names


@pytest.mark.parametrize("compatibility", ["best", "aws"])
def test_feature_dim_is_checked(compatibility):
    with pytest.raises(DataError, match="feature_dim is 5"):
        run(
            tuple(
                sorted(
                    {
                        **REGRESSOR,
                        "mini_batch_size": "100",
                        "feature_dim": "5",
                        "compatibility": compatibility,
                    }.items()
                )
            )
        )


def test_nothing_is_said_of_what_was_not_set():
    assert (
        "has no effect"
        not in run(tuple({**REGRESSOR, "mini_batch_size": "100", "compatibility": "aws"}.items())).said
    )
