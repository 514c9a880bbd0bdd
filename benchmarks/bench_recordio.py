"""recordIO-protobuf to arrays and back, beside `np.load` and the SageMaker SDK's own reader and writer.

Run ``python -m benchmarks.bench_recordio [--rows N]``. The SDK's rows appear where ``sagemaker`` 2.x can be
imported; it wants protobuf below 7, so give it an environment of its own, with this project installed in it.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array, csr_matrix, random_array

from benchmarks.timing import interleaved, print_machine, print_table
from eigenline import write_recordio, write_recordio_to
from eigenline.formats.reading import read_batches

HAS_SDK = importlib.util.find_spec("sagemaker") is not None


def ours(path: Path) -> Any:
    """Read a whole file; the blocks stay as they come, which is how training takes them."""
    with open(path, "rb", buffering=0) as file:
        return list(read_batches(file, "application/x-recordio-protobuf", name=path.name))


def ours_in_one_array(path: Path) -> Any:
    """Read a whole file and copy it together into one contiguous array, as `np.load` gives."""
    blocks = [batch.features for batch in ours(path)]
    return np.concatenate(blocks)


def sdk_read(path: Path, dtype: str) -> Any:
    """Read with the SDK and stack the values into one array."""
    from sagemaker.amazon.common import read_records

    with open(path, "rb") as file:
        records = read_records(file)
    return np.array([getattr(r.features["values"], f"{dtype}_tensor").values for r in records], dtype)


def sdk_read_sparse(path: Path) -> Any:
    """Read with the SDK and put the pieces together into CSR."""
    from sagemaker.amazon.common import read_records

    with open(path, "rb") as file:
        tensors = [record.features["values"].float32_tensor for record in read_records(file)]
    indptr = np.cumsum([0, *(len(tensor.keys) for tensor in tensors)])
    data = np.concatenate([np.asarray(tensor.values, np.float32) for tensor in tensors])
    indices = np.concatenate([np.asarray(tensor.keys, np.int32) for tensor in tensors])
    return csr_array((data, indices, indptr), shape=(len(tensors), tensors[0].shape[0]))


def sdk_write(file: Any, features: Any, labels: Any) -> None:
    """Write with the SDK."""
    from sagemaker.amazon import common

    if isinstance(features, np.ndarray):
        common.write_numpy_to_dense_tensor(file, features, labels)
    else:
        # it calls getrow(), which only the older matrix class of scipy has
        common.write_spmatrix_to_sparse_tensor(file, csr_matrix(features), labels)


def write_to_null(write: Callable[[Any, Any, Any], None], features: Any, labels: Any) -> None:
    """Encode into the null device."""
    with open(os.devnull, "wb") as file:
        write(file, features, labels)


def compare(
    title: str, features: Any, labels: Any, folder: Path, repeats: int, sdk: Callable[[Path], Any]
) -> None:
    """Print one table for one kind of data."""
    path = folder / "data.pbr"
    path.write_bytes(write_recordio(features, labels))
    candidates: dict[str, Callable[[], Any]] = {"ours, blocks": lambda: ours(path)}
    if isinstance(features, np.ndarray):
        array_path = folder / "data.npy"
        np.save(array_path, features)
        candidates["ours, one array"] = lambda: ours_in_one_array(path)
        candidates["np.load of the same array"] = lambda: np.load(array_path)
    seconds = interleaved(candidates, repeats)
    # The null device forgets at once, so that the encoders are timed and not the growth of a buffer.
    encoders: dict[str, Callable[[], Any]] = {
        "ours": lambda: write_to_null(write_recordio_to, features, labels),
        "ours, as bytes in memory": lambda: write_recordio(features, labels),
    }
    encode = interleaved(encoders, repeats)
    if HAS_SDK:  # seconds a run: fewer repeats, in turn with ours again
        both = interleaved({"ours, blocks": lambda: ours(path), "SDK": lambda: sdk(path)}, 2)
        seconds["sagemaker SDK read_records + stack"] = both["SDK"]
        both = interleaved({**encoders, "SDK": lambda: write_to_null(sdk_write, features, labels)}, 1)
        encode["sagemaker SDK"] = both["SDK"]
    size = path.stat().st_size / 1e6
    print_table(
        f"{title}, {size:.0f} MB",
        ("reader", "seconds", "MB/s", "times ours"),
        [(name, s, size / s, s / seconds["ours, blocks"]) for name, s in seconds.items()],
    )
    print_table(
        f"{title}: encoder",
        ("writer", "seconds", "MB/s", "times ours"),
        [(name, s, size / s, s / encode["ours"]) for name, s in encode.items()],
    )


def main() -> None:
    """Print reader and encoder tables for the walkthroughs' arrays."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    rows, repeats = arguments.rows, arguments.repeats
    print_machine()
    rng = np.random.default_rng(0)
    dense = rng.random((rows, 784), np.float32)
    labels = rng.integers(0, 2, rows).astype(np.float32)
    sparse = csr_array(random_array((rows, 784), density=100 / 784, rng=rng, dtype=np.float32))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compare(
            f"dense float32, {rows} x 784 and labels",
            dense,
            labels,
            folder,
            repeats,
            lambda p: sdk_read(p, "float32"),
        )
        wide = dense.T.astype(np.float64)
        compare(f"dense float64, 784 x {rows}", wide, None, folder, repeats, lambda p: sdk_read(p, "float64"))
        compare(f"sparse float32, {rows} x 784, about 100 each", sparse, labels, folder, repeats, sdk_read_sparse)


if __name__ == "__main__":
    main()
