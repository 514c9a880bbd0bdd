"""Trainings whose every byte is compared: the artifact, parameters in float64, all that was tried."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, random_array

from eigenline.algorithms.batch import Batch, HeldBatches
from eigenline.algorithms.linear_learner.metrics import score_channel
from eigenline.algorithms.linear_learner.settings import read_settings as read_linear_learner
from eigenline.algorithms.linear_learner.training import train as train_linear_learner
from eigenline.algorithms.pca.blocks import BLOCK_BYTES
from eigenline.algorithms.pca.explained import ExplainedWork
from eigenline.algorithms.pca.settings import read_settings as read_pca
from eigenline.algorithms.pca.training import train as train_pca
from eigenline.algorithms.records import Records, RecordsHere
from eigenline.formats.artifact.model_file import write_artifact
from tests.cluster.parts_here import batches_of

BINARY = {"predictor_type": "binary_classifier"}
REGRESSOR = {"predictor_type": "regressor"}
# name -> hyperparameters, and whether features are sparse and records weighted
LINEAR_LEARNER: dict[str, tuple[dict[str, Any], str]] = {
    "logistic": (BINARY, ""),
    "logistic, for accuracy": ({**BINARY, "binary_classifier_model_selection_criteria": "accuracy"}, ""),
    "hinge": ({**BINARY, "loss": "hinge_loss"}, ""),
    "weighted": ({**BINARY, "positive_example_weight_mult": "balanced"}, "weights"),
    "sparse": (BINARY, "sparse"),
    "l1": ({**BINARY, "l1": "0.01"}, ""),
    "softmax": ({"predictor_type": "multiclass_classifier", "num_classes": "4"}, ""),
    "squared": ({**REGRESSOR, "loss": "squared_loss"}, ""),
    "scaler of the first": ({**REGRESSOR, "num_point_for_scaler": "1000"}, ""),
    "absolute": ({**REGRESSOR, "loss": "absolute_loss"}, ""),
    "quantile": ({**REGRESSOR, "loss": "quantile_loss", "quantile": "0.8"}, "weights"),
    "huber": ({**REGRESSOR, "loss": "huber_loss"}, "sparse"),
    "epsilon": ({**REGRESSOR, "loss": "eps_insensitive_squared_loss"}, ""),
    "epsilon, absolute": ({**REGRESSOR, "loss": "eps_insensitive_absolute_loss"}, ""),
}
PCA: dict[str, tuple[dict[str, Any], int, str]] = {
    "regular": ({}, 30, ""),
    "regular, sparse": ({}, 60, "sparse"),
    "regular, not centred": ({"subtract_mean": "false"}, 30, ""),
    "randomized": ({"algorithm_mode": "randomized"}, 3_000, ""),
    "randomized, sparse": ({"algorithm_mode": "randomized"}, 5_000, "sparse"),
    "held": ({"algorithm_mode": "randomized"}, 1_500, ""),
    "held, sparse": ({"algorithm_mode": "randomized"}, 2_500, "sparse"),
}


def linear_learner_data(name: str, rows: int = 60_000, d: int = 40) -> list[Batch]:
    """Return records with the labels that a training wants: enough of them that they are trained in float32."""
    settings, kind = LINEAR_LEARNER[name]
    rng = np.random.default_rng(7)
    scale = 10.0 ** rng.uniform(-2, 2, d)
    features: Any = (rng.standard_t(3, (rows, d)) * scale).astype(np.float32)
    if kind == "sparse":
        features = csr_array(np.where(rng.random((rows, d)) < 0.1, features, 0).astype(np.float32))
    direction = rng.normal(size=d) / scale
    raw = features @ direction + rng.normal(size=rows)
    if settings["predictor_type"] == "regressor":
        labels = raw + rng.standard_t(3, rows)
    elif settings["predictor_type"] == "binary_classifier":
        labels = (raw > 1).astype(np.float32)
    else:
        labels = np.digitize(raw, np.quantile(raw, [0.25, 0.5, 0.75])).astype(np.float32)
    weights = rng.integers(1, 4, rows).astype(np.float32) if kind == "weights" else None
    return batches_of(features, labels.astype(np.float32), weights, size=2_500)


def pca_data(name: str, rows: int = 3_000) -> list[Batch]:
    _, d, kind = PCA[name]
    rng = np.random.default_rng(8)
    if kind == "sparse":
        found = random_array((rows, d), density=0.02, rng=rng, dtype=np.float32, data_sampler=rng.standard_normal)
        return batches_of(csr_array(found.astype(np.float32)), size=130)
    strength = np.linspace(3, 0.1, d).astype(np.float32)
    return batches_of((rng.standard_normal((rows, d), np.float32) * strength) + np.float32(5), size=130)


def linear_learner_bytes(name: str, records: Records | list[Batch], validation: Any = None) -> Mapping[str, Any]:
    """Train, and return all that must not depend on the parts."""
    settings = read_linear_learner(LINEAR_LEARNER[name][0])
    channels: dict[str, Any] = {"train": HeldBatches(records) if isinstance(records, list) else records}
    if validation is not None:
        channels["validation"] = HeldBatches(validation) if isinstance(validation, list) else validation
    trained: Any = list(train_linear_learner(settings, channels))[-1]
    scores = score_channel(trained.model, settings, channels["train"])
    assert scores is not None
    return {
        "artifact": write_artifact(trained.model),
        "weights": trained.weights,
        "bias": trained.bias,
        "models": repr(trained.records),
        "scores": repr(scores.metrics),
        "rows": trained.summary.rows,
    }


def pca_bytes(name: str, records: Records | list[Batch], held_bytes: int | None = None) -> Mapping[str, Any]:
    """Train, measure, and return all that must not depend on the parts."""
    given, d, _ = PCA[name]
    here = isinstance(records, list)
    source: Any = RecordsHere(records, block_bytes=BLOCK_BYTES) if here else records  # type: ignore[arg-type]
    settings = read_pca({"feature_dim": d, "num_components": 6, "mini_batch_size": 100, **given})
    trained = train_pca(settings, source, np.random.default_rng(0))
    work = ExplainedWork(trained.model)
    measured = work.finish(source.total(work))
    return {
        "artifact": write_artifact(trained.model),
        "eigenvalues": trained.eigenvalues,
        "variance": trained.total_variance,
        "passes": trained.passes,
        "method": trained.method,
        "captured": measured.captured,
    }


def assert_same_bytes(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, np.ndarray):
            other: NDArray[Any] = found[name]
            assert other.tobytes() == value.tobytes(), name
        else:
            assert found[name] == value, name
