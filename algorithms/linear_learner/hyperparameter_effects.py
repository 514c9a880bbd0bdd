"""What each hyperparameter acts on, and where it has no effect, in sentences for the log and the documentation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from eigenline.algorithms.hyperparameters import AUTO
from eigenline.algorithms.linear_learner.minibatch_trainer import trains_in_minibatches
from eigenline.algorithms.linear_learner.settings import DEFAULT_EPOCHS, Settings

ActsOn: TypeAlias = Literal["model", "threshold", "metrics", "check"]


@dataclass(frozen=True)
class NoEffect:
    """A condition on the settings under which a hyperparameter changes nothing.

    Attributes
    ----------
    where
        The condition in words, for the documentation.
    because
        The reason, for both.
    applies
        The condition.
    """

    where: str
    because: str
    applies: Callable[[Settings], bool]


@dataclass(frozen=True)
class Effect:
    """What a hyperparameter acts on where it has an effect.

    ``model``: weights or intercept, and all that follows; ``threshold``: that of a binary classifier; ``metrics``:
    what is reported; ``check``: whether the data are accepted.
    """

    acts_on: ActsOn
    none: tuple[NoEffect, ...] = ()


def _by_passes(settings: Settings) -> bool:
    return not trains_in_minibatches(settings)


def _loss_is_not(*names: str) -> Callable[[Settings], bool]:
    return lambda settings: settings.resolved_loss not in names


_PASSES: Final = "`best` without a named optimizer or schedule"
_NOT_BINARY = NoEffect(
    "`predictor_type` is not binary_classifier", "it is a binary classifier's", lambda s: not s.is_binary
)
_NOT_MULTICLASS = NoEffect(
    "`predictor_type` is not multiclass_classifier",
    "it is a multiclass classifier's",
    lambda s: s.num_outputs == 1,
)
_NOT_REGRESSION = NoEffect(
    "`predictor_type` is not regressor", "it is a regressor's", lambda s: not s.is_regression
)
_NO_BIAS = NoEffect("`use_bias` is false", "there is no intercept", lambda s: not s.use_bias)
_NO_START = NoEffect(_PASSES, "full passes find the optimum from any start", _by_passes)
_NO_SCHEDULE = NoEffect("`use_lr_scheduler` is false", "there is no schedule", lambda s: not s.use_lr_scheduler)
_NO_EPOCHS = NoEffect(
    _PASSES, "full passes end when the gradient is small, and are not watched for epochs", _by_passes
)
_NO_ADAM = NoEffect("`optimizer` is sgd or rmsprop", "it is adam's", lambda s: s.optimizer in ("sgd", "rmsprop"))

EFFECTS: Final[Mapping[str, Effect]] = {
    "predictor_type": Effect("model"),
    "num_classes": Effect("model", (_NOT_MULTICLASS,)),
    "feature_dim": Effect("check"),
    "mini_batch_size": Effect("model", (NoEffect(_PASSES, "full passes take no mini-batches", _by_passes),)),
    "epochs": Effect(
        "model",
        (
            NoEffect(
                f"{_PASSES}, more than {DEFAULT_EPOCHS}",
                "full passes end when the gradient is small; fewer epochs than 15 shorten them",
                lambda s: _by_passes(s) and s.epochs >= DEFAULT_EPOCHS,
            ),
        ),
    ),
    "use_bias": Effect("model"),
    "binary_classifier_model_selection_criteria": Effect("threshold", (_NOT_BINARY,)),
    "target_recall": Effect(
        "threshold",
        (
            NoEffect(
                "the criterion is not precision_at_target_recall",
                "it is the target of the criterion precision_at_target_recall",
                lambda s: (
                    not s.is_binary or s.binary_classifier_model_selection_criteria != "precision_at_target_recall"
                ),
            ),
        ),
    ),
    "target_precision": Effect(
        "threshold",
        (
            NoEffect(
                "the criterion is not recall_at_target_precision",
                "it is the target of the criterion recall_at_target_precision",
                lambda s: (
                    not s.is_binary or s.binary_classifier_model_selection_criteria != "recall_at_target_precision"
                ),
            ),
        ),
    ),
    "f_beta": Effect(
        "metrics",
        (NoEffect("`predictor_type` is regressor", "a regressor has no F score", lambda s: s.is_regression),),
    ),
    "positive_example_weight_mult": Effect("model", (_NOT_BINARY,)),
    "balance_multiclass_weights": Effect("model", (_NOT_MULTICLASS,)),
    "accuracy_top_k": Effect("metrics", (_NOT_MULTICLASS,)),
    "num_models": Effect(
        "model",
        (
            NoEffect(
                f"{_PASSES}, `wd` is set",
                "wd is given, and the models of full passes differ in nothing else",
                lambda s: _by_passes(s) and s.is_set("wd") and s.positive_example_weight_mult != AUTO,
            ),
        ),
    ),
    "num_calibration_samples": Effect(
        "threshold",
        (
            _NOT_BINARY,
            NoEffect(
                "`best`, the criterion is loss_function",
                "the criterion loss_function leaves the threshold at 0.5",
                lambda s: not s.as_aws and s.binary_classifier_model_selection_criteria == "loss_function",
            ),
        ),
    ),
    "init_method": Effect("model", (_NO_START,)),
    "init_scale": Effect(
        "model",
        (
            NoEffect("`init_method` is normal", "init_method is normal", lambda s: s.init_method != "uniform"),
            _NO_START,
        ),
    ),
    "init_sigma": Effect(
        "model",
        (
            NoEffect("`init_method` is uniform", "init_method is uniform", lambda s: s.init_method != "normal"),
            _NO_START,
        ),
    ),
    "init_bias": Effect("model", (_NO_BIAS, _NO_START)),
    "optimizer": Effect(
        "model",
        (
            NoEffect(
                "`aws`, adam, not multiclass_classifier",
                "auto is adam",
                lambda s: s.as_aws and s.optimizer == "adam" and s.num_outputs == 1,
            ),
        ),
    ),
    "loss": Effect("model"),
    "margin": Effect("model", (NoEffect("another loss", "it is hinge_loss's", _loss_is_not("hinge_loss")),)),
    "quantile": Effect(
        "model", (NoEffect("another loss", "it is quantile_loss's", _loss_is_not("quantile_loss")),)
    ),
    "loss_insensitivity": Effect(
        "model",
        (
            NoEffect(
                "another loss",
                "it is the eps-insensitive losses'",
                _loss_is_not("eps_insensitive_squared_loss", "eps_insensitive_absolute_loss"),
            ),
        ),
    ),
    "huber_delta": Effect("model", (NoEffect("another loss", "it is huber_loss's", _loss_is_not("huber_loss")),)),
    "wd": Effect("model"),
    "l1": Effect("model"),
    "momentum": Effect(
        "model", (NoEffect("`optimizer` is not sgd", "it is sgd's", lambda s: s.optimizer != "sgd"),)
    ),
    "learning_rate": Effect("model"),
    "beta_1": Effect("model", (_NO_ADAM,)),
    "beta_2": Effect("model", (_NO_ADAM,)),
    "bias_lr_mult": Effect("model", (_NO_BIAS,)),
    "bias_wd_mult": Effect(
        "model", (_NO_BIAS, NoEffect("`wd` is 0", "wd is 0, and it is a multiple of wd", lambda s: s.wd == 0))
    ),
    "use_lr_scheduler": Effect("model", (NoEffect(_PASSES, "full passes have no schedule", _by_passes),)),
    "lr_scheduler_step": Effect("model", (_NO_SCHEDULE,)),
    "lr_scheduler_factor": Effect("model", (_NO_SCHEDULE,)),
    "lr_scheduler_minimum_lr": Effect("model", (_NO_SCHEDULE,)),
    "normalize_data": Effect("model"),
    "normalize_label": Effect("model", (_NOT_REGRESSION,)),
    "unbias_data": Effect("model"),
    "unbias_label": Effect("model", (_NOT_REGRESSION,)),
    "num_point_for_scaler": Effect("model"),
    "early_stopping_patience": Effect("model", (_NO_EPOCHS,)),
    "early_stopping_tolerance": Effect("model", (_NO_EPOCHS,)),
    "compatibility": Effect("model"),
    "seed": Effect("model"),
}


def no_effect(name: str, settings: Settings) -> str | None:
    """Return why a hyperparameter has no effect in a job of these settings, or None where it has one.

    Only what the settings alone decide: a hyperparameter may also be without effect on certain data, as a patience
    is where the epochs are over before.
    """
    return next((reason.because for reason in EFFECTS[name].none if reason.applies(settings)), None)


def without_effect(settings: Settings) -> Iterator[str]:
    """Yield one sentence for each hyperparameter that the user set and that has no effect."""
    for name in EFFECTS:
        if settings.is_set(name) and (reason := no_effect(name, settings)) is not None:
            yield f"{name} has no effect here: {reason}."
