"""Two thousand models in one multi-model server: memory, and how long loading and invoking take.

AWS's own example of a multi-model endpoint with ten-feature Linear Learner models stops at 121 loaded models on a
16 GB machine, about 100 MiB a model. `python -m benchmarks.bench_serve_models`
"""

from __future__ import annotations

import http.client
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.load import resident_bytes
from benchmarks.timing import print_machine, print_table
from eigenline.algorithms.linear_learner.model import LinearLearnerModel
from eigenline.formats.artifact.model_file import write_artifact

MODELS = 2000
FEATURES = 10
PORT = 18720


def write_models(root: Path) -> None:
    """Write the artifacts as SageMaker extracts them: ``models/<name>/model/model_algo-1``."""
    rng = np.random.default_rng(0)
    for number in range(MODELS):
        weights = rng.normal(size=(FEATURES, 1)).astype(np.float32)
        model = LinearLearnerModel(weights, np.zeros(1, np.float32), "binary_classifier", "logistic")
        folder = root / "models" / f"m{number}" / "model"
        folder.mkdir(parents=True)
        (folder / "model_algo-1").write_bytes(write_artifact(model))


def call(connection: http.client.HTTPConnection, method: str, path: str, body: str, kind: str) -> float:
    """Send a request that must succeed; returns milliseconds."""
    start = time.perf_counter()
    connection.request(method, path, body, {"Content-Type": kind})
    response = connection.getresponse()
    text = response.read()
    if response.status != 200:
        raise RuntimeError(f"{path}: {response.status} {text!r}")
    return (time.perf_counter() - start) * 1000


def wait_for_ping() -> http.client.HTTPConnection:
    """Return a connection to the server once it answers."""
    for _ in range(300):
        connection = http.client.HTTPConnection("127.0.0.1", PORT)
        try:
            call(connection, "GET", "/ping", "", "")
            return connection
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("the server did not start")


def main() -> None:
    """Load, invoke and count."""
    print_machine()
    rows = []
    for workers in (1, 2):
        with tempfile.TemporaryDirectory() as temporary:
            root = Path(temporary)
            write_models(root)
            environment = {
                **os.environ,
                "SAGEMAKER_BASE_DIR": str(root),
                "SAGEMAKER_MULTI_MODEL": "true",
                "SAGEMAKER_BIND_TO_PORT": str(PORT),
                "SAGEMAKER_CONTAINER_LOG_LEVEL": "ERROR",
                "MODEL_SERVER_WORKERS": str(workers),
            }
            server = subprocess.Popen([sys.executable, "-m", "eigenline.serve.server"], env=environment)
            try:
                rows.append((workers, *_measure(root, server.pid)))
            finally:
                server.terminate()
                server.wait(40)
    print_table(
        f"{MODELS:,} Linear Learner models of {FEATURES} features",
        (
            "workers",
            "MB empty",
            "MB loaded and used",
            "kB a model",
            "load ms",
            "first invoke ms",
            "invoke ms",
            "p99 ms",
        ),
        rows,
    )


def _measure(root: Path, pid: int) -> tuple[float, ...]:
    wait_for_ping().close()
    empty = resident_bytes(pid)
    names = [f"m{number}" for number in range(MODELS)]
    loads = []
    connection = wait_for_ping()
    for name in names:
        document = {"model_name": name, "url": str(root / "models" / name / "model")}
        loads.append(call(connection, "POST", "/models", json.dumps(document), "application/json"))
    row = ",".join(["0.5"] * FEATURES)
    # over several connections, so that every worker comes to hold nearly every model
    connections = [wait_for_ping() for _ in range(16)]
    random.Random(0).shuffle(names)
    first = [
        call(connections[i % 16], "POST", f"/models/{name}/invoke", row, "text/csv")
        for i, name in enumerate(names)
    ]
    times = []
    for turn in range(4):
        for i, name in enumerate(names):
            times.append(call(connections[(i + turn) % 16], "POST", f"/models/{name}/invoke", row, "text/csv"))
    loaded = resident_bytes(pid)
    return (
        round(empty / 1e6, 1),
        round(loaded / 1e6, 1),
        (loaded - empty) / MODELS / 1e3,
        statistics.median(loads),
        statistics.median(first),
        statistics.median(times),
        statistics.quantiles(times, n=100)[-1],
    )


if __name__ == "__main__":
    main()
