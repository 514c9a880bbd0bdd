"""Model artifacts: SageMaker's ``model_algo-1`` files to models and back, byte for byte."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any, Final, TypeAlias, cast, get_args

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.errors import DataError, excerpt
from eigenline.algorithms.linear_learner.model import LinearLearnerModel, PredictorType
from eigenline.algorithms.pca.model import PCAModel
from eigenline.formats.artifact.memory_budget import unpacking_limit, within_memory
from eigenline.formats.artifact.ndarray_dict import looks_like_arrays, read_arrays, write_arrays
from eigenline.formats.artifact.symbol import write_symbol
from eigenline.formats.artifact.zip_members import (
    FIRST_TIME_STAMP,
    Member,
    TimeStamp,
    looks_like_zip,
    open_zip,
    write_zip,
)

Model: TypeAlias = PCAModel | LinearLearnerModel

PARAMETERS_FILE: Final = "mx-mod-0000.params"
SYMBOL_FILE: Final = "mx-mod-symbol.json"
MANIFEST_FILE: Final = "manifest.json"
ADDITIONAL_FILE: Final = "additional-params.json"
_MOST_ADDITIONAL_BYTES: Final = 1 << 20  # the service's has some hundred
_MANIFEST: Final = b'{"mx-mod": "mxnet_module", "additional-params.json": "json", "version": 1}'
# The order of the service's own file; None is what it writes for a parameter that the loss does not use.
_METRICS_PARAMS: Final = (
    "quantile",
    "huber_delta",
    "margin",
    "loss_insensitivity",
    "eps_insensitive_loss_type",
    "accuracy_top_k",
    "f_beta",
    "positive_example_weight_mult",
    "class_weights",
    "threshold",
)


def write_artifact(model: Model, *, written_at: TimeStamp = FIRST_TIME_STAMP, graph_number: int = 32) -> bytes:
    """Write a model as the service lays it out; equal models give equal bytes.

    Parameters
    ----------
    model
        The model.
    written_at
        UTC time stamp of the zip members of a Linear Learner artifact. Chosen: a constant rather than the
        clock, so that the same job gives the same bytes.
    graph_number
        Suffix of operator names in the graph; the service's varies from job to job.
    """
    if isinstance(model, PCAModel):
        return _write_pca(model)
    return _write_linear_learner(model, written_at, graph_number)


def read_artifact(data: bytes, *, name: str = "model_algo-1", limit_bytes: int | None = None) -> Model:
    """Read a ``model_algo-1`` file that the service or `write_artifact` wrote.

    Only the members that make up the model are unpacked.

    Parameters
    ----------
    data
        The file's bytes.
    name
        What errors call it.
    limit_bytes
        Most bytes that a member may unpack to; None: `unpacking_limit()`.

    Raises
    ------
    ArtifactTooLarge
        If it unpacks to more than the limit, or memory does not suffice.
    DataError
        If the bytes are neither a PCA nor a Linear Learner artifact, or are damaged.
    """
    with within_memory(name):
        if looks_like_zip(data):
            return _read_linear_learner(data, name, unpacking_limit() if limit_bytes is None else limit_bytes)
        if looks_like_arrays(data):
            return _read_pca(read_arrays(data, name=name), name)
    cause = ""
    if bytes(data[:2]) == b"\x1f\x8b":
        cause = " It is gzip data: is it model.tar.gz, which has to be unpacked first?"
    elif not data:
        cause = " It is empty."
    raise DataError(f"{name} is neither a PCA nor a Linear Learner artifact of SageMaker.{cause}")


def _write_pca(model: PCAModel) -> bytes:
    arrays: dict[str, NDArray[np.float32]] = {
        "s": np.asarray(model.singular_values, np.float32),
        "v": np.asarray(model.components, np.float32),
    }
    if model.mean is not None:
        arrays["mean"] = np.asarray(model.mean, np.float32)[np.newaxis, :]
    return write_arrays(arrays)


def _read_pca(arrays: Mapping[str, NDArray[Any]], name: str) -> PCAModel:
    missing = sorted({"s", "v"} - set(arrays))
    if missing:
        raise DataError(
            f"{name} is an MXNet array file without {' and '.join(missing)}, so it is not a PCA artifact "
            f"(it has {excerpt(', '.join(arrays))})."
        )
    components = _float32(arrays["v"], name, "v")
    if components.ndim != 2 or not components.size:
        raise DataError(f"{name}: 'v' has shape {components.shape}; expected (feature_dim, num_components).")
    singular_values = _float32(arrays["s"], name, "s", nan_allowed=True).ravel()
    if singular_values.size != components.shape[1]:
        raise DataError(f"{name}: {singular_values.size} singular values for {components.shape[1]} components.")
    mean = _float32(arrays["mean"], name, "mean").ravel() if "mean" in arrays else None
    if mean is not None and mean.size != components.shape[0]:
        raise DataError(f"{name}: 'mean' has {mean.size} values for {components.shape[0]} features.")
    return PCAModel(singular_values, components, mean)


def _write_linear_learner(model: LinearLearnerModel, written_at: TimeStamp, graph_number: int) -> bytes:
    weights = np.asarray(model.weights, np.float32)
    bias = np.asarray(model.bias, np.float32).reshape(1, -1)
    metrics_params = {key: model.parameters.get(key) for key in _METRICS_PARAMS}
    metrics_params |= {key: value for key, value in model.parameters.items() if key not in metrics_params}
    metrics_params["threshold"] = model.threshold
    additional = {
        "threshold": model.threshold,
        "loss_type": model.loss,
        "predictor_type": model.predictor_type,
        "metrics_params": metrics_params,
    }
    symbol = write_symbol(
        model.feature_dim, model.num_outputs, model.loss, model.predictor_type, number=graph_number
    )
    contents = {
        PARAMETERS_FILE: write_arrays({"arg:fc0_weight": weights, "arg:fc0_bias": bias}),
        MANIFEST_FILE: _MANIFEST,
        ADDITIONAL_FILE: json.dumps(additional).encode(),
        SYMBOL_FILE: symbol,
    }
    return write_zip([Member(name, content, written_at) for name, content in contents.items()])


def _read_linear_learner(data: bytes, name: str, limit_bytes: int) -> LinearLearnerModel:
    with open_zip(data, name=name, limit_bytes=limit_bytes) as archive:
        missing = sorted({PARAMETERS_FILE, ADDITIONAL_FILE} - archive.names)
        if missing:
            raise DataError(
                f"{name} is a zip archive without {' and '.join(missing)}, so it is not a Linear Learner artifact."
            )
        additional = archive.read(ADDITIONAL_FILE, _MOST_ADDITIONAL_BYTES)
        with archive.open(PARAMETERS_FILE) as (stream, size):
            arrays = read_arrays(stream, size=size, name=f"{name}/{PARAMETERS_FILE}")
    if not {"arg:fc0_weight", "arg:fc0_bias"} <= set(arrays):
        raise DataError(f"{name}: expected the arrays fc0_weight and fc0_bias, got {excerpt(', '.join(arrays))}.")
    weights = _float32(arrays["arg:fc0_weight"], name, "fc0_weight")
    bias = _float32(arrays["arg:fc0_bias"], name, "fc0_bias").ravel()
    if weights.ndim != 2 or not weights.size or bias.size != weights.shape[1]:
        raise DataError(f"{name}: fc0_weight has shape {weights.shape} and fc0_bias {bias.size} values.")
    return _linear_learner_model(weights, bias, _json_object(additional, name), name)


def _linear_learner_model(
    weights: NDArray[np.float32], bias: NDArray[np.float32], additional: dict[str, Any], name: str
) -> LinearLearnerModel:
    predictor_type = additional.get("predictor_type")
    loss = additional.get("loss_type")
    threshold = additional.get("threshold", 0.5)
    parameters = additional.get("metrics_params") or {}
    if predictor_type not in get_args(PredictorType):
        raise DataError(
            f"{name}: the predictor_type is {excerpt(predictor_type)}, which is none of Linear Learner's."
        )
    if not isinstance(loss, str) or not loss.isprintable() or not isinstance(parameters, dict):
        raise DataError(f"{name}: {ADDITIONAL_FILE} names no loss_type or has unreadable metrics_params.")
    # Compared rather than converted, because Python's integers may be beyond every float.
    is_number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
    if not is_number or not abs(threshold) <= sys.float_info.max:
        raise DataError(f"{name}: the threshold is {excerpt(threshold)}; expected a finite number.")
    if (predictor_type == "multiclass_classifier") != (weights.shape[1] > 1):
        raise DataError(f"{name}: a {predictor_type} cannot have {weights.shape[1]} outputs.")
    return LinearLearnerModel(
        weights, bias, cast(PredictorType, predictor_type), loss, float(threshold), parameters
    )


def _float32(array: NDArray[Any], name: str, key: str, *, nan_allowed: bool = False) -> NDArray[np.float32]:
    values = np.ascontiguousarray(array, np.float32)
    if not nan_allowed and not np.isfinite(values).all():
        raise DataError(f"{name}: {key!r} holds values that are not finite numbers.")
    return values


def _json_object(content: bytes, name: str) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise DataError(f"{name}: {ADDITIONAL_FILE} is not a JSON object.")
    return document
