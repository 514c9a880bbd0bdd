"""Which of the two algorithms a job is for."""

from __future__ import annotations

from collections.abc import Mapping

from eigenline.algorithms.errors import HyperparameterError, excerpt

PCA = "pca"
LINEAR_LEARNER = "linear-learner"
DISPLAY_NAMES = {PCA: "PCA", LINEAR_LEARNER: "Linear Learner"}  # as the `#metrics` lines call them


def choose_algorithm(hyperparameters: Mapping[str, object], environment: Mapping[str, str]) -> str:
    """Name the algorithm: the environment's ``ALGORITHM``, or the one whose own hyperparameter was given.

    ``predictor_type`` is required by Linear Learner and unknown to PCA; ``num_components`` the other way round.

    Raises
    ------
    HyperparameterError
        Where neither or both were given, or ``ALGORITHM`` is neither of the two names.
    """
    wanted = environment.get("ALGORITHM", "").strip().lower().replace("_", "-")
    if wanted:
        if wanted not in DISPLAY_NAMES:
            raise HyperparameterError(
                f"The environment variable ALGORITHM must be one of {PCA!r}, {LINEAR_LEARNER!r}; got "
                f"{excerpt(wanted)}."
            )
        return wanted
    linear, pca = "predictor_type" in hyperparameters, "num_components" in hyperparameters
    if linear and pca:
        raise HyperparameterError(
            "Hyperparameters predictor_type (Linear Learner's) and num_components (PCA's) were both given, so it "
            "is not clear which algorithm to train. Remove one, or set the environment variable ALGORITHM to "
            f"{PCA!r} or {LINEAR_LEARNER!r}."
        )
    if linear or pca:
        return LINEAR_LEARNER if linear else PCA
    raise HyperparameterError(
        "No algorithm was named. Set the hyperparameter predictor_type ('binary_classifier', "
        "'multiclass_classifier' or 'regressor') to train Linear Learner, or num_components to train PCA; "
        f"{_what_was_given(hyperparameters)}."
    )


def _what_was_given(hyperparameters: Mapping[str, object]) -> str:
    if not hyperparameters:
        return "no hyperparameters were given at all (input/config/hyperparameters.json is absent or empty)"
    return "given were only " + excerpt(", ".join(sorted(hyperparameters)))
