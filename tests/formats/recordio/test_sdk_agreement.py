"""The SageMaker SDK reads what we write, and we read and write byte for byte what it writes.

The SDK (2.x) pins protobuf below 7, so it lives in an environment of its own (`make tools`).
"""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from eigenline import write_recordio
from eigenline.algorithms.batch import is_sparse
from eigenline.formats.answers import write_answer
from eigenline.formats.content_types import RECORDIO
from eigenline.formats.reading import read_batches

pytestmark = pytest.mark.slow

WRITE = """
import sys, numpy as np, scipy.sparse
from sagemaker.amazon import common
folder = sys.argv[1]
arrays = np.load(folder + "/arrays.npz")
for kind in ("float32", "float64", "int64"):
    for label in ("none", "float32", "float64", "int64"):
        labels = None if label == "none" else arrays["labels_" + label]
        with open(f"{folder}/dense-{kind}-{label}", "wb") as file:
            common.write_numpy_to_dense_tensor(file, arrays[kind], labels)
        with open(f"{folder}/sparse-{kind}-{label}", "wb") as file:
            common.write_spmatrix_to_sparse_tensor(file, scipy.sparse.csr_matrix(arrays[kind]), labels)
"""

READ = """
import sys, numpy as np
from sagemaker.amazon.common import read_records
folder = sys.argv[1]
arrays = np.load(folder + "/arrays.npz")
tensors = {"float32": "float32_tensor", "float64": "float64_tensor", "int64": "int32_tensor"}
for kind, tensor in tensors.items():
    for label in ("float32", "float64", "int64"):
        for form in ("dense", "sparse"):
            records = read_records(open(f"{folder}/ours-{form}-{kind}-{label}", "rb"))
            assert len(records) == len(arrays[kind])
            for record, row, target in zip(records, arrays[kind], arrays["labels_" + label]):
                found = getattr(record.features["values"], tensor)
                values = np.zeros(len(row))
                values[list(found.keys) if form == "sparse" else slice(None)] = found.values
                assert (values == row).all() and (form == "dense" or list(found.shape) == [len(row)])
                assert list(getattr(record.label["values"], tensors[label]).values) == [target]
answers = read_records(open(folder + "/answers", "rb"))
assert [r.label["predicted_label"].float32_tensor.values[0] for r in answers] == [1.0, 0.0]
assert [list(r.label["score"].float32_tensor.values) for r in answers] == [[0.25, 0.75], [0.5, 0.5]]
print("agreed")
"""


def run(python: Path, program: str, folder: Path) -> str:
    done = subprocess.run([python, "-W", "ignore", "-c", program, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture
def folder(rng, tmp_path):
    integers = rng.integers(-400, 400, (25, 130)) * (rng.random((25, 130)) < 0.3)
    integers[4] = 0
    labels = rng.integers(-2, 300, 25)
    arrays = {kind: integers.astype(kind) / (1 if kind == "int64" else 8) for kind in ("float32", "float64")}
    arrays = {kind: array.astype(kind) for kind, array in arrays.items()} | {"int64": integers}
    np.savez(tmp_path / "arrays.npz", **arrays, **{f"labels_{k}": labels.astype(k) for k in arrays})
    return tmp_path


def test_we_write_and_read_what_the_sdk_writes(folder, sdk2_python):
    run(sdk2_python, WRITE, folder)
    arrays = np.load(folder / "arrays.npz")
    for kind in ("float32", "float64", "int64"):
        for label in ("none", "float32", "float64", "int64"):
            labels = None if label == "none" else arrays[f"labels_{label}"]
            for form in ("dense", "sparse"):
                theirs = (folder / f"{form}-{kind}-{label}").read_bytes()
                features = csr_array(arrays[kind]) if form == "sparse" else arrays[kind]
                assert write_recordio(features, labels) == theirs
                (batch,) = read_batches(theirs, RECORDIO, name="x")
                found = batch.features.toarray() if is_sparse(batch.features) else batch.features
                np.testing.assert_array_equal(found, arrays[kind])
                if labels is not None:
                    np.testing.assert_array_equal(batch.labels, labels)


def test_the_sdk_reads_what_we_write(folder, sdk2_python):
    arrays = np.load(folder / "arrays.npz")
    for kind in ("float32", "float64", "int64"):
        for label in ("float32", "float64", "int64"):
            labels = arrays[f"labels_{label}"]
            (folder / f"ours-dense-{kind}-{label}").write_bytes(write_recordio(arrays[kind], labels))
            (folder / f"ours-sparse-{kind}-{label}").write_bytes(write_recordio(csr_array(arrays[kind]), labels))
    columns = {"score": np.array([[0.25, 0.75], [0.5, 0.5]], "f4"), "predicted_label": np.array([1, 0], "f4")}
    (folder / "answers").write_bytes(write_answer(columns, envelope="predictions", media_type=RECORDIO))
    assert run(sdk2_python, READ, folder).endswith("agreed\n")
