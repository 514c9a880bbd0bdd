"""Artifacts that are written here, opened by MXNet itself as users of SageMaker's own artifacts open them."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from eigenline.algorithms.linear_learner.model import LinearLearnerModel
from eigenline.algorithms.pca.model import PCAModel
from eigenline.formats.artifact.model_file import write_artifact

LINEAR = """
import sys, zipfile
import mxnet as mx, numpy as np

zipfile.ZipFile("model_algo-1").extractall()
records = np.load("records.npy")
module = mx.mod.Module.load("mx-mod", 0, False, label_names=["out_label"])
module.bind(data_shapes=[("data", records.shape)], for_training=False, label_shapes=module._label_shapes)
module.forward(mx.io.DataBatch([mx.nd.array(records)]))
np.save("scores.npy", module.get_outputs()[0].asnumpy())
"""
PCA = """
import mxnet as mx, numpy as np

np.savez("arrays.npz", **{name: array.asnumpy() for name, array in mx.nd.load("model_algo-1").items()})
"""
LOSSES = {
    "logistic": "binary_classifier",
    "hinge_loss": "binary_classifier",
    "softmax_loss": "multiclass_classifier",
    "squared_loss": "regressor",
    "absolute_loss": "regressor",
    "quantile_loss": "regressor",
    "huber_loss": "regressor",
    "eps_insensitive_squared_loss": "regressor",
    "eps_insensitive_absolute_loss": "regressor",
}


def run(python: Path, script: str, folder: Path) -> None:
    done = subprocess.run(
        [python, "-c", script], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("loss", LOSSES)
def test_mxnet_scores_as_we_do(tmp_path: Path, mxnet_python: Path, rng, loss: str) -> None:
    outputs = 4 if loss == "softmax_loss" else 1
    weights, bias = rng.standard_normal((5, outputs)), rng.standard_normal(outputs)
    model = LinearLearnerModel(
        weights.astype(np.float32), bias.astype(np.float32), LOSSES[loss], loss, 0.5, {"f_beta": 1.0}
    )
    records = rng.standard_normal((7, 5)).astype(np.float32)
    (tmp_path / "model_algo-1").write_bytes(write_artifact(model))
    np.save(tmp_path / "records.npy", records)
    run(mxnet_python, LINEAR, tmp_path)
    ours = model.predict(records).score
    theirs = np.load(tmp_path / "scores.npy").reshape(ours.shape)
    assert theirs == pytest.approx(ours, abs=1e-6)


def test_mxnet_reads_the_arrays_of_a_pca_model(tmp_path: Path, mxnet_python: Path, rng) -> None:
    components = rng.standard_normal((5, 2)).astype(np.float32)
    model = PCAModel(np.array([1, 2], np.float32), components, rng.standard_normal(5).astype(np.float32))
    (tmp_path / "model_algo-1").write_bytes(write_artifact(model))
    run(mxnet_python, PCA, tmp_path)
    found = np.load(tmp_path / "arrays.npz")
    assert sorted(found) == ["mean", "s", "v"]
    np.testing.assert_array_equal(found["v"], model.components)
    np.testing.assert_array_equal(found["s"].ravel(), model.singular_values)
    np.testing.assert_array_equal(found["mean"].ravel(), model.mean)
