"""What SageMaker's CreateAlgorithm wants to know of an algorithm; the documentation's tables use it too."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import Any

from eigenline.algorithms.hyperparameters import Declaration, declarations
from eigenline.container.algorithm_choice import LINEAR_LEARNER, PCA
from eigenline.container.metric_definitions import metric_definitions

CONTENT_TYPES = ["application/x-recordio-protobuf", "text/csv"]
# Documented by SageMaker: what a tuning job of Linear Learner may vary, and within which range (for PCA, nothing).
# A tuner varies numbers, so those that may also be 'auto' are Continuous here; who wants 'auto' leaves them out.
_TUNABLE_RANGES = {
    "wd": ("1e-07", "1"),
    "l1": ("1e-07", "1"),
    "learning_rate": ("1e-05", "1"),
    "positive_example_weight_mult": ("1e-05", "100000"),
}
_TUNABLE = {*_TUNABLE_RANGES, "mini_batch_size", "use_bias"}
_CHANNELS = {PCA: ("train", "test"), LINEAR_LEARNER: ("train", "validation", "test")}


def settings_type(algorithm: str) -> type:
    """Return the dataclass whose fields are an algorithm's hyperparameters."""
    if algorithm == PCA:
        from eigenline.algorithms.pca.settings import PCASettings

        return PCASettings
    if algorithm == LINEAR_LEARNER:
        from eigenline.algorithms.linear_learner.settings import Settings

        return Settings
    raise ValueError(f"no such algorithm: {algorithm!r}")


def training_specification(algorithm: str, image: str) -> dict[str, Any]:
    """Return the ``TrainingSpecification`` of an algorithm for CreateAlgorithm.

    Parameters
    ----------
    algorithm
        ``pca`` or ``linear-learner``.
    image
        The image's address in a registry.
    """
    return {
        "TrainingImage": image,
        "SupportedTrainingInstanceTypes": ["ml.m5.large", "ml.m5.xlarge", "ml.c5.xlarge", "ml.c5.4xlarge"],
        "SupportsDistributedTraining": False,
        "MetricDefinitions": metric_definitions(algorithm),
        "TrainingChannels": [
            {
                "Name": name,
                "IsRequired": name == "train",
                "SupportedContentTypes": CONTENT_TYPES,
                "SupportedCompressionTypes": ["None", "Gzip"],
                "SupportedInputModes": ["File", "FastFile", "Pipe"],
            }
            for name in _CHANNELS[algorithm]
        ],
        "SupportedHyperParameters": [
            _hyperparameter(algorithm, name, declaration, default)
            for name, (declaration, default) in declarations(settings_type(algorithm)).items()
        ],
    }


def _hyperparameter(algorithm: str, name: str, declaration: Declaration, default: Any) -> dict[str, Any]:
    domain = declaration.domain
    required = default is dataclasses.MISSING
    tuned = _TUNABLE_RANGES.get(name) if algorithm == LINEAR_LEARNER else None
    entry: dict[str, Any] = {
        "Name": name,
        "Description": declaration.doc,
        "Type": "Continuous" if tuned else domain.kind,
        "IsTunable": algorithm == LINEAR_LEARNER and name in _TUNABLE,
        "IsRequired": required,
    }
    if tuned:
        bounds = {"MinValue": tuned[0], "MaxValue": tuned[1]}
        return entry | {"Range": {"ContinuousParameterRangeSpecification": bounds}}
    if not required and default is not None:
        entry["DefaultValue"] = text_of(default)
    if domain.kind == "Categorical":
        entry["Range"] = {"CategoricalParameterRangeSpecification": {"Values": list(domain.choices)}}
    elif domain.low is not None and domain.high is not None:  # SageMaker wants both ends or no range
        bounds = {"MinValue": text_of(domain.low), "MaxValue": text_of(domain.high)}
        entry["Range"] = {f"{domain.kind}ParameterRangeSpecification": bounds}
    return entry


def text_of(value: object) -> str:
    """Write a default or bound as a hyperparameter's text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a training specification: python -m eigenline.container.training_specification ALGORITHM IMAGE."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if len(given) != 2 or given[0] not in _CHANNELS:
        sys.stderr.write("usage: python -m eigenline.container.training_specification pca|linear-learner IMAGE\n")
        return 2
    sys.stdout.write(json.dumps(training_specification(given[0], given[1]), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
