"""A user's Dask cluster of real processes: same bytes, nothing at the client, what happens when workers go."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import psutil
import pytest
from distributed import Client, LocalCluster
from numpy.typing import NDArray

import eigenline
from eigenline.cluster import PCA, LinearLearnerClassifier, LinearLearnerRegressor
from eigenline.cluster.users_cluster import NO_WORKERS_TIMEOUT
from eigenline.formats.artifact.model_file import write_artifact

pytestmark = [pytest.mark.slow, pytest.mark.dask]


def records(block: int, rows: int, features: int) -> NDArray[np.float32]:
    return np.random.default_rng(block).standard_normal((rows, features), np.float32)


def made_on_workers(chunks: int, rows: int, features: int) -> Any:
    """Return an array whose chunks are made where they are needed, and again if they are lost."""
    return da.map_blocks(
        lambda block_info: records(block_info[None]["chunk-location"][0], rows, features),
        chunks=((rows,) * chunks, (features,)),
        dtype=np.float32,
        meta=np.empty((0, 0), np.float32),
    )


def labels_of(X: Any) -> Any:
    return (X[:, 0] - X[:, 1] + X[:, 2] ** 2 > 0.5).astype(np.int64)


def workers_of(number: int, **options: Any) -> LocalCluster:
    return LocalCluster(
        processes=True,
        n_workers=number,
        threads_per_worker=1,
        memory_limit=0,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        silence_logs=50,
        **options,
    )


FITS: dict[str, Callable[[Any], Any]] = {
    "pca": lambda X: PCA(num_components=3).fit(X),
    "pca, randomized": lambda X: PCA(num_components=3, algorithm_mode="randomized").fit(X),
    "classifier": lambda X: LinearLearnerClassifier().fit(X, labels_of(X)),
    "regressor": lambda X: LinearLearnerRegressor(loss="absolute_loss").fit(X, X[:, 0] + X[:, 1] ** 2),
}


@pytest.mark.parametrize("name", FITS)
def test_the_same_bytes_on_one_worker_and_on_three(name: str) -> None:
    X = made_on_workers(6, 700 if "randomized" in name else 3_000, 1_200 if "randomized" in name else 12)
    found = []
    for number in (1, 3):
        with workers_of(number) as cluster, Client(cluster, timeout=300) as client:
            client.wait_for_workers(number, timeout=300)
            found.append(write_artifact(FITS[name](X).model_))
    assert found[0] == found[1]


def test_records_stay_on_the_workers() -> None:
    """Of 109 MB the client receives and holds a small part; a sample of records goes between workers only."""
    X = made_on_workers(17, 25_000, 64)
    with workers_of(2) as cluster, Client(cluster, timeout=300) as client:
        client.wait_for_workers(2, timeout=300)
        PCA(num_components=1).fit(made_on_workers(2, 100, 4))  # imports are made
        X = X.persist()
        process = psutil.Process()
        peak, done = [0], threading.Event()
        before = process.memory_info().rss

        def watch() -> None:
            while not done.wait(0.02):
                peak[0] = max(peak[0], process.memory_info().rss - before)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            LinearLearnerClassifier(num_models=1).fit(X, labels_of(X))
            PCA(num_components=3).fit(X)
        finally:
            done.set()
            watcher.join()
    assert peak[0] < 40e6


def test_a_worker_killed_in_a_pass_changes_no_byte() -> None:
    X = made_on_workers(6, 700, 1_200)
    with workers_of(3) as cluster, Client(cluster, timeout=300) as client:
        client.wait_for_workers(3, timeout=300)
        pca = PCA(num_components=3, algorithm_mode="randomized")
        expected = write_artifact(pca.fit(X).model_)
        processes = client.run(os.getpid)
        started = time.monotonic()
        pca.fit(X)
        usual = time.monotonic() - started
        victim = processes[sorted(processes)[1]]
        killer = threading.Timer(0.6 * usual, os.kill, (victim, signal.SIGKILL))
        killer.start()
        found = write_artifact(pca.fit(X).model_)
        killer.join()
        assert found == expected
        with pytest.raises(ProcessLookupError):
            os.kill(victim, 0)


def test_workers_that_die_again_and_again_are_a_sentence() -> None:
    made = made_on_workers(1, 100, 4)
    # without `meta`, Dask would call this here
    deadly = made.map_blocks(
        lambda block: os.kill(os.getpid(), signal.SIGKILL), dtype=made.dtype, meta=np.empty((0, 0))
    )
    with (
        workers_of(2) as cluster,
        Client(cluster, timeout=300),
        pytest.raises(ValueError, match=r"4 workers died one after the other.*out of memory"),
    ):
        PCA(num_components=1).fit(deadly)


def test_a_cluster_without_workers_is_a_sentence() -> None:
    with (
        workers_of(0) as cluster,
        Client(cluster, timeout=300),
        dask.config.set({NO_WORKERS_TIMEOUT: "2s"}),
        pytest.raises(ValueError, match="has had no worker for 2 seconds"),
    ):
        PCA(num_components=1).fit(made_on_workers(2, 100, 4))


def test_a_client_that_is_closed_or_missing_is_a_sentence() -> None:
    with workers_of(1) as cluster, Client(cluster, timeout=300) as client:
        client.wait_for_workers(1, timeout=300)
        client.close()
        with pytest.raises(ValueError, match="The Dask client is closed"):
            PCA(num_components=1, client=client).fit(made_on_workers(2, 100, 4))
    with pytest.raises(ValueError, match="There is no Dask client"):
        PCA(num_components=1).fit(made_on_workers(2, 100, 4))


def test_a_worker_with_another_version_is_refused(tmp_path: Path) -> None:
    """The worker finds what an installation of another version would have left on its path."""
    left = tmp_path / "eigenline-9.9.dist-info"
    left.mkdir()
    (left / "METADATA").write_text("Metadata-Version: 2.1\nName: eigenline\nVersion: 9.9\n")
    with workers_of(0) as cluster, Client(cluster, timeout=300) as client:
        command = [
            sys.executable,
            "-m",
            "distributed.cli.dask_worker",
            client.scheduler.address,
            "--nthreads",
            "1",
        ]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        worker = subprocess.Popen([*command, "--no-dashboard", "--no-nanny"], cwd=tmp_path, env=environment)
        try:
            client.wait_for_workers(1, timeout=300)
            with pytest.raises(ValueError, match=r"Worker tcp://\S+ has eigenline 9\.9, this process has"):
                PCA(num_components=1).fit(made_on_workers(2, 100, 4))
        finally:
            worker.terminate()
            worker.wait(300)
    assert eigenline.__version__ != "9.9"
