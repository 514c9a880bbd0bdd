"""scikit-learn estimators over Linear Learner, with AWS's hyperparameter names."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from inspect import Parameter, Signature, signature
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from eigenline.algorithms.batch import Batch, HeldBatches
from eigenline.algorithms.dask_refused import refuse_dask
from eigenline.algorithms.errors import UserError
from eigenline.algorithms.hyperparameters import declarations
from eigenline.algorithms.linear_learner.reports import EpochReport, Notice, PassReport, Trained
from eigenline.algorithms.linear_learner.scoring import link
from eigenline.algorithms.linear_learner.settings import LOSSES, Settings, read_settings
from eigenline.algorithms.linear_learner.training import train
from eigenline.algorithms.linear_learner.training_data import Channels

Estimator = TypeVar("Estimator")
_FROM_DATA = ("predictor_type", "num_classes", "feature_dim")
_DEFAULTS = {name: default for name, (_, default) in declarations(Settings).items() if name not in _FROM_DATA}

ONE_CLASS = "LinearLearnerClassifier needs at least two classes; the data have 1 class"
ONE_CLASS_WEIGHS = "sample_weight: all weight lies on one class, and two are needed"
NOTHING_WEIGHS = "sample_weight: at least one weight must be positive"

# What scikit-learn calls it -> what it is here
_ELSEWHERE = {
    "random_state": "seed",
    "class_weight": "positive_example_weight_mult='balanced', or balance_multiclass_weights=True for more classes",
    "alpha": "wd (L2) or l1",
    "C": "wd, which is 1 / (C * n_samples)",
    "penalty": "wd (L2) and l1",
    "fit_intercept": "use_bias",
    "max_iter": "epochs",
    "tol": "early_stopping_tolerance",
    "eta0": "learning_rate",
    "epsilon": "huber_delta or loss_insensitivity",
    "l1_ratio": "l1 and wd, each by itself",
    "solver": "optimizer",
    "quantile_level": "quantile",
}


def _hint(name: str) -> str:
    return f"; here it is {_ELSEWHERE[name]}" if name in _ELSEWHERE else ""


def keyword_signature(constructor: Callable[..., None]) -> Callable[..., None]:
    """Give a constructor the signature that scikit-learn inspects: one keyword per hyperparameter, and its own."""
    own = [each for each in signature(constructor).parameters.values() if each.kind is Parameter.KEYWORD_ONLY]
    keywords = [Parameter(name, Parameter.KEYWORD_ONLY, default=default) for name, default in _DEFAULTS.items()]
    itself = Parameter("self", Parameter.POSITIONAL_OR_KEYWORD)
    constructor.__signature__ = Signature([itself, *keywords, *own])  # type: ignore[attr-defined]
    return constructor


def _documented(estimator: type[Estimator]) -> type[Estimator]:
    """Put every hyperparameter, as it is declared, into the docstring of an estimator."""
    declared = declarations(Settings)
    lines = ["Parameters", "----------"]
    for name, default in _DEFAULTS.items():
        declaration = declared[name][0]
        lines += [f"{name} : {declaration.domain.rule}, default {default!r}", f"    {declaration.doc}"]
    section = "".join(f"    {line}\n" for line in lines)
    assert estimator.__doc__ is not None
    estimator.__doc__ = estimator.__doc__.replace("    Attributes\n", f"{section}\n    Attributes\n", 1)
    return estimator


class _LinearLearnerEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """What both faces share: parameters, training, raw scores.

    Every hyperparameter of the table in docs/linear_learner.md is a keyword, except those that the data tell
    (`predictor_type`, `num_classes`, `feature_dim`). A value that differs from its default counts as set.
    """

    @keyword_signature
    def __init__(self, **parameters: Any) -> None:
        unknown = sorted(parameters.keys() - _DEFAULTS.keys())
        if unknown:
            raise TypeError(f"{type(self).__name__} has no hyperparameter {unknown[0]!r}{_hint(unknown[0])}")
        for name, default in _DEFAULTS.items():
            setattr(self, name, parameters.get(name, default))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _train(
        self,
        X: Any,
        labels: NDArray[Any],
        sample_weight: Any,
        validation: Batch | None,
    ) -> None:
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
            used = np.flatnonzero(weights)  # what weighs nothing must not move means and folds either
            X, labels, weights = X[used], labels[used], weights[used]
            if len(used) == 0:
                raise ValueError(NOTHING_WEIGHS)
        channels = {"train": _held(Batch(_rows(X), labels, weights))}
        if validation is not None:
            channels["validation"] = _held(validation)
        for text in self._fit_channels(channels):
            warnings.warn(text, UserWarning, stacklevel=3)

    def _fit_channels(self, channels: Channels) -> list[str]:
        """Fit to records anywhere, their labels encoded, and return what the caller should be warned of."""
        settings = self._settings()
        passes = 0
        texts = []
        try:
            with np.errstate(all="ignore"):  # what overflows is refused by name, or does no harm
                for report in train(settings, channels):
                    passes += isinstance(report, PassReport | EpochReport)
                    if isinstance(report, Notice) and report.warning and report.about_result:
                        texts.append(report.text)
                    if isinstance(report, Trained):
                        trained = report
        except UserError as error:
            raise ValueError(str(error)) from error
        self.n_iter_ = passes
        self.model_ = trained.model
        self.models_ = [
            {
                "model": record.model,
                "stage": record.stage,
                "outcome": record.outcome,
                "train_loss": record.train_loss,
                "selection_loss": record.selection_loss,
                "criterion": record.criterion,
                **record.hyperparameters,
            }
            for record in trained.records
        ]
        self._set(trained)
        return texts

    def _settings(self) -> Settings:
        changed = {name: getattr(self, name) for name in _DEFAULTS}
        plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in changed.items()}
        given = {name: value for name, value in plain.items() if value != _DEFAULTS[name]}
        try:
            return read_settings({**given, **self._from_labels()})
        except UserError as error:
            raise ValueError(str(error)) from error

    def _from_labels(self) -> dict[str, object]:
        """Return the hyperparameters that the labels decide."""
        raise NotImplementedError

    def _set(self, trained: Trained) -> None:
        """Set the attributes that are computed from what was trained."""
        raise NotImplementedError

    def _raw_scores(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        refuse_dask(self, X)
        X = validate_data(self, X, reset=False, accept_sparse="csr", dtype=[np.float64, np.float32])
        return np.asarray(X @ np.atleast_2d(self.coef_).T + self.intercept_)

    def _validation_batch(self, validation: Any, encode: Callable[[Any], NDArray[Any]]) -> Batch | None:
        if validation is None:
            return None
        X, y = validation
        refuse_dask(self, X, y)
        X, y = validate_data(self, X, y, reset=False, accept_sparse="csr", dtype=[np.float64, np.float32])
        return Batch(_rows(X), encode(y))


@_documented
class LinearLearnerClassifier(ClassifierMixin, _LinearLearnerEstimator):  # type: ignore[misc]
    """Linear Learner for two classes (logistic or hinge loss) or more (softmax).

    Attributes
    ----------
    classes_
        The labels seen.
    coef_, intercept_
        Shapes (1 or num_classes, n_features) and (1 or num_classes,), in raw units.
    threshold_
        Two classes: `classes_[1]` is predicted from this score on; calibrated for the selection criterion.
    models_
        Every model that was trained: hyperparameters, losses, outcome.
    n_iter_
        Full passes over the records that were made.
    model_
        The model as artifacts keep it, float32.
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = self.loss not in LOSSES["binary_classifier"]
        return tags

    _loss_of_many: ClassVar[str] = LOSSES["multiclass_classifier"][0]

    def fit(self, X: Any, y: Any, sample_weight: Any = None, validation: Any = None) -> LinearLearnerClassifier:
        """Train; `validation` is a pair (X, y) that models and threshold are chosen on."""
        refuse_dask(self, X, y, sample_weight)
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=[np.float64, np.float32])
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(ONE_CLASS)
        weights = None if sample_weight is None else np.asarray(sample_weight)
        counted = weights is not None and weights.shape == labels.shape  # other shapes are refused further down
        if counted and len(np.unique(labels[weights != 0])) == 1:
            raise ValueError(ONE_CLASS_WEIGHS)
        left_out = self._validation_batch(validation, lambda labels: encoded(labels, self.classes_))
        self._train(X, labels.astype(X.dtype), sample_weight, left_out)
        return self

    def _from_labels(self) -> dict[str, object]:
        if len(self.classes_) > 2:
            return {"predictor_type": "multiclass_classifier", "num_classes": len(self.classes_)}
        return {"predictor_type": "binary_classifier"}

    def _set(self, trained: Trained) -> None:
        self.coef_, self.intercept_ = np.ascontiguousarray(trained.weights.T), trained.bias
        self.threshold_ = trained.model.threshold

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return raw scores; for two classes less the raw score of the threshold, so that 0 decides."""
        raw = self._raw_scores(X)
        return raw if len(self.classes_) > 2 else raw[:, 0] - self._raw_threshold()

    def _raw_threshold(self) -> float:
        if self.model_.loss != "logistic":
            return float(self.threshold_)
        return float(np.log(self.threshold_) - np.log1p(-self.threshold_))

    def predict(self, X: Any) -> NDArray[Any]:
        """Return labels: at least the threshold for two classes, the highest score for more."""
        scores = self.decision_function(X)
        chosen = scores.argmax(axis=1) if scores.ndim > 1 else (scores >= 0).astype(np.intp)
        return np.asarray(self.classes_[chosen])

    @available_if(lambda self: self.loss in ("auto", "logistic", "softmax_loss"))  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return probabilities, shape (n, n_classes); hinge and regression losses have none."""
        raw = self._raw_scores(X)
        if len(self.classes_) > 2:
            raised = np.exp(raw - raw.max(axis=1, keepdims=True))
            return np.asarray(raised / raised.sum(axis=1, keepdims=True))
        positive = link(raw[:, 0], "logistic")
        return np.stack([1 - positive, positive], axis=1)

    @available_if(lambda self: self.loss in ("auto", "logistic", "softmax_loss"))  # type: ignore[untyped-decorator]
    def predict_log_proba(self, X: Any) -> NDArray[np.float64]:
        """Return logarithms of probabilities, shape (n, n_classes), exact where the probability is tiny."""
        raw = self._raw_scores(X)
        if len(self.classes_) == 2:
            raw = np.hstack([np.zeros_like(raw), raw])
        shifted = raw - raw.max(axis=1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


@_documented
class LinearLearnerRegressor(RegressorMixin, _LinearLearnerEstimator):  # type: ignore[misc]
    """Linear Learner for real labels, with any of the six regression losses.

    Attributes
    ----------
    coef_, intercept_
        Shape (n_features,) and a number, in raw units.
    models_, model_, n_iter_
        As of `LinearLearnerClassifier`.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None, validation: Any = None) -> LinearLearnerRegressor:
        """Train; `validation` is a pair (X, y) that models are chosen on."""
        refuse_dask(self, X, y, sample_weight)
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=[np.float64, np.float32], y_numeric=True)
        left_out = self._validation_batch(validation, lambda labels: np.asarray(labels, np.float64))
        self._train(X, np.asarray(y, np.float64), sample_weight, left_out)
        return self

    def _from_labels(self) -> dict[str, object]:
        return {"predictor_type": "regressor"}

    def _set(self, trained: Trained) -> None:
        self.coef_, self.intercept_ = trained.weights[:, 0], float(trained.bias[0])

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return predicted values, shape (n,)."""
        return self._raw_scores(X)[:, 0]


def LinearLearner(  # noqa: N802 -- reads as a class, and chooses one
    predictor_type: str, **parameters: Any
) -> LinearLearnerClassifier | LinearLearnerRegressor:
    """Return the estimator of a `predictor_type`, AWS's first and only required hyperparameter."""
    parameters.pop("num_classes", None)
    parameters.pop("feature_dim", None)
    if predictor_type == "regressor":
        return LinearLearnerRegressor(**parameters)
    if predictor_type in ("binary_classifier", "multiclass_classifier"):
        return LinearLearnerClassifier(**parameters)
    raise ValueError(
        "predictor_type: must be one of 'binary_classifier', 'multiclass_classifier', 'regressor'; "
        f"got {predictor_type!r}"
    )


def encoded(y: Any, classes: NDArray[Any]) -> NDArray[np.float64]:
    """Return the place of each validation label among the classes of the training data."""
    unknown = ~np.isin(y, classes)
    if unknown.any():
        raise ValueError(f"validation has label {y[unknown][0]!r}, which the training data do not")
    return np.asarray(np.searchsorted(classes, y), np.float64)


def _held(batch: Batch) -> HeldBatches:
    held = HeldBatches([batch])
    for _ in held:
        pass
    return held


def _rows(X: Any) -> Any:
    if isinstance(X, np.ndarray):
        return np.ascontiguousarray(X)
    from scipy.sparse import csr_array

    return csr_array(X)
