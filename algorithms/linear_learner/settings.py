"""Linear Learner's hyperparameters: the 44 public ones of the service, and two extensions of this project.

Source: Amazon SageMaker Developer Guide, "Linear learner hyperparameters"; defaults as the real container
prints them (``default-input.json``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from eigenline.algorithms.hyperparameters import (
    AUTO,
    FLAG,
    NON_NEGATIVE,
    POSITIVE,
    POSITIVE_INTEGER,
    Auto,
    auto_or,
    declarations,
    either,
    integer,
    number,
    one_of,
    parse,
)
from eigenline.algorithms.hyperparameters import hyperparameter as declare
from eigenline.algorithms.linear_learner.model import PredictorType

OPEN_FRACTION = number(0, 1, low_open=True, high_open=True)
CLOSED_FRACTION = number(0, 1)
DECAY = number(0, 1, high_open=True)
AUTO_FLAG = auto_or(FLAG)

REGRESSION_LOSSES = (
    "squared_loss",
    "absolute_loss",
    "eps_insensitive_squared_loss",
    "eps_insensitive_absolute_loss",
    "quantile_loss",
    "huber_loss",
)
LOSSES: dict[str, tuple[str, ...]] = {
    "binary_classifier": ("logistic", "hinge_loss", *REGRESSION_LOSSES),  # as an AWS notebook uses them
    "multiclass_classifier": ("softmax_loss",),
    "regressor": REGRESSION_LOSSES,
}
Criterion: TypeAlias = Literal[
    "accuracy", "f_beta", "precision_at_target_recall", "recall_at_target_precision", "loss_function"
]
DEFAULT_EPOCHS = 15
CRITERIA = ("accuracy", "f_beta", "precision_at_target_recall", "recall_at_target_precision", "loss_function")


@dataclass(frozen=True)
class Settings:
    """What the user asked for; ``auto`` values are resolved later, against the data."""

    predictor_type: PredictorType = declare(
        one_of("binary_classifier", "multiclass_classifier", "regressor"), doc="What to predict."
    )
    num_classes: int = declare(integer(1, 1_000_000), 1, doc="Classes of a multiclass_classifier, at least 3.")
    feature_dim: int | Auto = declare(auto_or(POSITIVE_INTEGER), AUTO, doc="Features of a record.")
    mini_batch_size: int = declare(POSITIVE_INTEGER, 1000, doc="Records of one parameter update.")
    epochs: int = declare(
        POSITIVE_INTEGER,
        DEFAULT_EPOCHS,
        doc="Most mini-batch epochs; fewer than 15 shorten the full passes of `best` too.",
    )
    use_bias: bool = declare(FLAG, True, doc="Whether to fit an intercept.")
    binary_classifier_model_selection_criteria: Criterion = declare(
        one_of(*CRITERIA, aliases={"f1": "f_beta", "cross_entropy_loss": "loss_function"}),
        "accuracy",
        doc="What the best binary classifier and its threshold are chosen by.",
    )
    target_recall: float = declare(OPEN_FRACTION, 0.8, doc="Recall to reach, with precision_at_target_recall.")
    target_precision: float = declare(
        OPEN_FRACTION, 0.8, doc="Precision to reach, with recall_at_target_precision."
    )
    f_beta: float = declare(POSITIVE, 1.0, doc="Weight of recall against precision in the F score.")
    positive_example_weight_mult: float | Literal["auto", "balanced"] = declare(
        either(one_of("balanced", "auto"), POSITIVE), 1.0, doc="Weight of a positive record's loss."
    )
    balance_multiclass_weights: bool = declare(FLAG, False, doc="Weigh each class by 1 / its frequency.")
    accuracy_top_k: int = declare(integer(1, 1_000_000), 3, doc="k of the top-k accuracy metric.")
    # Chosen: a bound, because a million models trained without end; the service documents none.
    num_models: int | Auto = declare(auto_or(integer(1, 1000)), AUTO, doc="Models trained in parallel.")
    num_calibration_samples: int | Auto = declare(
        auto_or(POSITIVE_INTEGER), 10_000_000, doc="Most records that the threshold is calibrated on."
    )
    init_method: Literal["uniform", "normal"] = declare(
        one_of("uniform", "normal"), "uniform", doc="Distribution of the initial weights."
    )
    init_scale: float = declare(POSITIVE, 0.07, doc="Half width of the uniform distribution.")
    init_sigma: float = declare(POSITIVE, 0.01, doc="Standard deviation of the normal distribution.")
    init_bias: float = declare(number(float("-inf")), 0.0, doc="Initial intercept.")
    optimizer: Literal["auto", "sgd", "adam", "rmsprop"] = declare(
        one_of("auto", "sgd", "adam", "rmsprop"), AUTO, doc="Rule of a parameter update; auto is adam."
    )
    loss: str = declare(
        one_of(AUTO, *(name for names in LOSSES.values() for name in names)), AUTO, doc="Loss of one record."
    )
    margin: float = declare(NON_NEGATIVE, 1.0, doc="Margin of hinge_loss.")
    quantile: float = declare(OPEN_FRACTION, 0.5, doc="Quantile that quantile_loss estimates.")
    loss_insensitivity: float = declare(POSITIVE, 0.01, doc="Error that the eps-insensitive losses do not count.")
    huber_delta: float = declare(NON_NEGATIVE, 1.0, doc="Error beyond which huber_loss is linear.")
    wd: float | Auto = declare(auto_or(NON_NEGATIVE), AUTO, doc="Strength of L2 regularisation.")
    l1: float | Auto = declare(auto_or(NON_NEGATIVE), AUTO, doc="Strength of L1 regularisation.")
    momentum: float | Auto = declare(auto_or(DECAY), AUTO, doc="Momentum of sgd.")
    learning_rate: float | Auto = declare(auto_or(POSITIVE), AUTO, doc="Step size of the optimizer.")
    beta_1: float | Auto = declare(auto_or(DECAY), AUTO, doc="Decay of adam's mean gradient.")
    beta_2: float | Auto = declare(auto_or(DECAY), AUTO, doc="Decay of adam's mean square.")
    bias_lr_mult: float | Auto = declare(
        auto_or(POSITIVE), AUTO, doc="The intercept's step size is learning_rate times this."
    )
    bias_wd_mult: float | Auto = declare(auto_or(NON_NEGATIVE), AUTO, doc="The intercept's L2 is wd times this.")
    use_lr_scheduler: bool = declare(FLAG, True, doc="Whether the step size shrinks over time.")
    lr_scheduler_step: int | Auto = declare(
        auto_or(POSITIVE_INTEGER), AUTO, doc="Updates between two decreases of the step size."
    )
    lr_scheduler_factor: float | Auto = declare(
        auto_or(OPEN_FRACTION), AUTO, doc="What the step size is multiplied by."
    )
    lr_scheduler_minimum_lr: float | Auto = declare(auto_or(POSITIVE), AUTO, doc="Smallest step size.")
    normalize_data: bool | Auto = declare(AUTO_FLAG, True, doc="Divide features by their standard deviation.")
    normalize_label: bool | Auto = declare(
        AUTO_FLAG, AUTO, doc="Divide regression labels by their standard deviation."
    )
    unbias_data: bool | Auto = declare(
        AUTO_FLAG, AUTO, doc="Subtract the features' means (dense data, with a bias)."
    )
    unbias_label: bool | Auto = declare(
        AUTO_FLAG, AUTO, doc="Subtract the mean of regression labels (with a bias)."
    )
    num_point_for_scaler: int = declare(
        POSITIVE_INTEGER, 10_000, doc="Records that means and deviations are taken from."
    )
    early_stopping_patience: int = declare(
        POSITIVE_INTEGER, 3, doc="Epochs without improvement that are waited for."
    )
    early_stopping_tolerance: float = declare(POSITIVE, 0.001, doc="Relative improvement that counts as one.")
    compatibility: Literal["best", "aws"] = declare(
        one_of("best", "aws"),
        "best",
        doc="best: train better and faster than the service; aws: train exactly as the service does.",
        extension=True,
    )
    seed: int = declare(integer(0), 0, doc="Seed of initial weights, shuffling and hold-out.", extension=True)

    given: frozenset[str] = field(default=frozenset(), kw_only=True)  # the names that the user set himself

    def is_set(self, name: str) -> bool:
        """Whether the user fixed this hyperparameter: named it with a value other than ``auto``."""
        return name in self.given and getattr(self, name) != AUTO

    def conflicts(self) -> list[str]:
        """Return every contradiction between hyperparameters that are each allowed."""
        problems = []
        allowed = LOSSES[self.predictor_type]
        if self.loss not in (AUTO, *allowed):
            problems.append(
                f"loss: {self.loss!r} is not a loss of predictor_type {self.predictor_type!r}; "
                f"allowed are 'auto', {', '.join(map(repr, allowed))}"
            )
        if self.predictor_type == "multiclass_classifier" and self.num_classes < 3:
            problems.append(
                "num_classes: must be an integer from 3 to 1000000 for a multiclass_classifier; "
                f"got {self.num_classes} (for two classes use predictor_type 'binary_classifier')"
            )
        if not self.use_bias and self.unbias_data is True:
            problems.append("unbias_data: 'true' needs use_bias 'true'")
        if not self.use_bias and self.unbias_label is True:
            problems.append("unbias_label: 'true' needs use_bias 'true'")
        return problems

    @property
    def resolved_loss(self) -> str:
        """The loss that is trained; `auto` is the first one of the predictor type."""
        return LOSSES[self.predictor_type][0] if self.loss == AUTO else self.loss

    @property
    def num_outputs(self) -> int:
        """Raw scores of one record: 1, or the number of classes."""
        return self.num_classes if self.predictor_type == "multiclass_classifier" else 1

    @property
    def is_regression(self) -> bool:
        """Whether labels are real numbers."""
        return self.predictor_type == "regressor"

    @property
    def is_binary(self) -> bool:
        """Whether labels are 0 and 1."""
        return self.predictor_type == "binary_classifier"

    def passes(self, most: int) -> int:
        """Full passes that a stage of the finish may make: `most`, in proportion fewer for fewer `epochs`."""
        return max(1, -(-most * min(self.epochs, DEFAULT_EPOCHS) // DEFAULT_EPOCHS))

    @property
    def as_aws(self) -> bool:
        """Whether to train exactly as the service does."""
        return self.compatibility == "aws"


def read_settings(hyperparameters: Mapping[str, object]) -> Settings:
    """Parse hyperparameters as SageMaker delivers them; every training_data is reported at once.

    Raises
    ------
    HyperparameterError
        With one line a training_data.
    """
    return replace(parse(Settings, hyperparameters), given=frozenset(hyperparameters))


def as_dictionary(settings: Settings) -> dict[str, Any]:
    """Return name -> value of all hyperparameters, in order of declaration."""
    return {name: getattr(settings, name) for name in declarations(Settings)}
