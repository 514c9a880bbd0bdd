"""PCA's hyperparameters, declared as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from eigenline.algorithms.hyperparameters import (
    FLAG,
    POSITIVE_INTEGER,
    declarations,
    hyperparameter,
    integer,
    one_of,
    parse,
)

AlgorithmMode = Literal["regular", "randomized"]

# Keys of the built-in container's own default configuration: users copy them from its log.
_CONTAINER_DEFAULTS: Final = frozenset({"force_dense", "epochs"})


@dataclass(frozen=True)
class PCASettings:
    """What a user asks of PCA.

    Notes
    -----
    Source: *PCA Hyperparameters* in the SageMaker Developer Guide. ``seed`` is this project's own.
    """

    feature_dim: int = hyperparameter(
        POSITIVE_INTEGER,
        doc="Number of features of a record. Where the data disagree, the data win, and the log says so.",
    )
    mini_batch_size: int = hyperparameter(
        POSITIVE_INTEGER,
        doc="Records of a mini-batch. The model does not depend on it: batches are what the log counts.",
    )
    num_components: int = hyperparameter(POSITIVE_INTEGER, doc="Number of principal components to keep.")
    algorithm_mode: AlgorithmMode = hyperparameter(
        one_of("regular", "randomized", aliases={"stable": "regular"}),
        "regular",
        doc="'regular' is exact, its components are stored weakest first; 'randomized' suits many features, "
        "its components are stored strongest first.",
    )
    extra_components: int = hyperparameter(
        integer(-1),
        -1,
        doc="randomized: directions carried beyond num_components. More is more accurate and costs more; "
        "-1 means max(10, num_components).",
    )
    subtract_mean: bool = hyperparameter(FLAG, True, doc="Centre the data, in training and in every projection.")
    seed: int = hyperparameter(
        integer(0), 0, doc="Start of the random numbers that 'randomized' draws.", extension=True
    )

    given: frozenset[str] = field(default=frozenset(), kw_only=True)  # the names that the user set himself

    @property
    def sketch_size(self) -> int:
        """Directions that `randomized` carries: num_components + extra_components, -1 resolved."""
        extra = self.extra_components
        return self.num_components + (max(10, self.num_components) if extra < 0 else extra)


def read_settings(given: Mapping[str, Any]) -> PCASettings:
    """Make settings from hyperparameters as SageMaker delivers them.

    The private defaults of the built-in container (``force_dense``, ``epochs``, ``_log_level`` ...) are
    accepted and ignored, because users copy them from its log.

    Raises
    ------
    HyperparameterError
        Naming every problem at once.
    """
    settings = parse(PCASettings, given, tolerated=_CONTAINER_DEFAULTS)
    return replace(settings, given=frozenset(given) & frozenset(declarations(PCASettings)))
