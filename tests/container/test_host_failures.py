"""What ends a job on several hosts: on each one sentence and its exit code, and no half a model."""

import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from eigenline.formats.recordio.writer import write_recordio

from .host_runs import Cluster, HostRun, clusters, logs, run_all, wait_for

pytestmark = pytest.mark.slow
PCA = {"num_components": "3", "feature_dim": "12", "mini_batch_size": "100"}
PIPE: dict[str, dict[str, Any]] = {"train": {"TrainingInputMode": "Pipe"}}
SHARDS: dict[str, dict[str, Any]] = {"train": {"S3DistributionType": "ShardedByS3Key"}}
Fill = Callable[[Path], None]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    yield from clusters(tmp_path)


def records(rows: int, seed: int = 0, d: int = 12) -> bytes:
    rng = np.random.default_rng(seed)
    X = (rng.standard_normal((rows, d)) * np.linspace(1, 3, d)).astype(np.float32)
    y = (X[:, 0] + X[:, 1] + rng.standard_normal(rows) > 0).astype(np.float32)
    return write_recordio(X, y)


def silent_pipe(data: Path) -> None:
    """A FIFO whose writer sends some blocks of records, and then neither more nor its end."""
    content = records(20_000) * 25  # more than is read at a time, which is 32 MB
    fifo = data / "train_0"
    os.mkfifo(fifo)

    def write() -> None:
        descriptor = os.open(fifo, os.O_WRONLY)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
            threading.Event().wait()
        except OSError:
            os.close(descriptor)

    threading.Thread(target=write, daemon=True).start()


def in_a_pass(runs: Sequence[HostRun]) -> None:
    """Wait until the hosts wait for their pipes."""
    wait_for(lambda: "All hosts train" in runs[0].log, "the leader begins", runs)
    for run in runs[1:]:
        wait_for(lambda run=run: "Connected to" in run.log, "a host connects", runs)  # type: ignore[misc]
    for run in runs:
        child = psutil.Process(run.worker_process())
        wait_for(lambda child=child: any("train_0" in file for file in _open_files(child)), "a pipe opens", runs)  # type: ignore[misc]


def _open_files(process: psutil.Process) -> list[str]:
    found = []
    for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
        try:
            found.append(os.readlink(descriptor))
        except OSError:
            continue
    return found


def assert_no_model(runs: Sequence[HostRun]) -> None:
    assert all(run.model_files == [] for run in runs)


def test_a_host_that_is_killed_within_a_pass(cluster: Cluster) -> None:
    runs = cluster.start(PCA, PIPE, [silent_pipe] * 3)
    in_a_pass(runs)
    os.kill(runs[2].worker_process(), signal.SIGKILL)
    assert run_all(runs) == [1, 1, 137], logs(runs)
    assert "SIGKILL" in runs[2].failure
    for run in runs[:2]:
        assert f"Host {runs[2].name} was lost (killed, or out of memory?)" in run.failure
        assert run.failure.startswith("ClientError: ")
    assert f"Host {runs[0].name}, which leads, failed: " in runs[1].failure
    assert_no_model(runs)


def test_a_leader_that_is_killed_within_a_pass(cluster: Cluster) -> None:
    runs = cluster.start(PCA, PIPE, [silent_pipe] * 3)
    in_a_pass(runs)
    os.kill(runs[0].worker_process(), signal.SIGKILL)
    assert run_all(runs) == [137, 1, 1], logs(runs)
    for run in runs[1:]:
        assert f"Host {runs[0].name}, which leads, failed: it ended without a word" in run.failure
    assert_no_model(runs)


def test_a_host_that_is_frozen(cluster: Cluster) -> None:
    runs = cluster.start(PCA, PIPE, [silent_pipe] * 2)
    in_a_pass(runs)
    frozen = runs[1].worker_process()
    os.kill(frozen, signal.SIGSTOP)
    assert runs[0].wait() == 1, logs(runs)
    assert f"Host {runs[1].name} was lost" in runs[0].failure
    os.kill(frozen, signal.SIGCONT)
    assert runs[1].wait() == 1
    assert f"Host {runs[0].name}, which leads, failed" in runs[1].failure
    assert_no_model(runs)


def test_a_host_that_never_comes(cluster: Cluster) -> None:
    runs = cluster.start(PCA, PIPE, [silent_pipe] * 4, patience=20, absent=[1, 3])
    assert run_all(runs) == [1, 1], logs(runs)
    base = runs[0].name.rpartition(".")[0]
    for run in runs:
        assert f"Hosts {base}.12, {base}.14 did not come up within 20 seconds." in run.failure
        assert "security group" in run.failure
    assert_no_model(runs)


def test_a_leader_that_never_comes(cluster: Cluster) -> None:
    (run,) = cluster.start(PCA, PIPE, [silent_pipe] * 2, patience=5, absent=[0])
    assert run.wait() == 1
    leader = run.name.replace(".12", ".11")
    assert (
        f"Host {leader}, which leads, was not reached from {run.name} on port 9000 within 5 seconds" in run.failure
    )


def test_a_name_that_nobody_knows(cluster: Cluster) -> None:
    (run,) = cluster.start(
        PCA,
        PIPE,
        [silent_pipe] * 2,
        patience=1,
        absent=[0],
        resource={"hosts": ["0.nowhere.invalid", "x"], "current_host": "x"},
    )
    assert run.wait() == 1
    assert "has no address" in run.failure


def bad_records(kind: str, data: Path) -> None:
    (data / "train").mkdir()
    content = bytearray(records(5_000, 2))
    if kind == "cut":
        content = content[:-10]
    else:
        X = np.ones((5_000, 12), np.float32)
        X[16, 4] = np.nan
        content = bytearray(write_recordio(X, np.arange(5_000) % 2))
    (data / "train/part-2.pbr").write_bytes(content)


def good_records(number: int, data: Path) -> None:
    (data / "train").mkdir()
    (data / f"train/part-{number}.pbr").write_bytes(records(5_000, number))


@pytest.mark.parametrize(
    ("kind", "hyperparameters", "sentence"),
    [
        ("cut", PCA, "train/part-2.pbr"),
        ("nan", PCA, "The value of record 10017, feature 5 is nan"),
        ("nan", {"predictor_type": "binary_classifier"}, "record 10017, feature 5"),
    ],
)
def test_a_bad_record_on_the_third_host(
    cluster: Cluster, kind: str, hyperparameters: dict[str, str], sentence: str
) -> None:
    fills: list[Fill] = [partial(good_records, 0), partial(good_records, 1), partial(bad_records, kind)]
    runs = cluster.start(hyperparameters, SHARDS, fills)
    assert run_all(runs) == [1, 1, 1], logs(runs)
    for run in runs:
        assert f"Host {runs[2].name}: " in run.failure
        assert sentence in run.failure
    assert_no_model(runs)


def test_a_mistake_in_the_request_is_told_to_all(cluster: Cluster) -> None:
    runs = cluster.start({**PCA, "num_components": "0"}, PIPE, [silent_pipe] * 2)
    assert run_all(runs) == [1, 1], logs(runs)
    assert "Hyperparameter num_components" in runs[0].failure
    assert (
        f"Host {runs[0].name}, which leads, failed: ClientError: Hyperparameter num_components" in runs[1].failure
    )


def test_replicated_files_that_differ(cluster: Cluster) -> None:
    channels = {"train": {"S3DistributionType": "FullyReplicated"}}
    runs = cluster.start(PCA, channels, [partial(good_records, 0), partial(good_records, 1)])
    assert run_all(runs) == [1, 1], logs(runs)
    assert f"FullyReplicated, but {runs[1].name} has other files than {runs[0].name}" in runs[0].failure


@pytest.mark.parametrize("signalled", ["all", "the leader", "another"])
def test_a_stop_within_a_pass_saves_the_model_so_far(cluster: Cluster, signalled: str) -> None:
    runs = cluster.start(PCA, PIPE, [silent_pipe] * 3)
    in_a_pass(runs)
    time.sleep(1)  # some records are read by then; that all are would be as good
    chosen = {"all": runs, "the leader": runs[:1], "another": runs[2:]}[signalled]
    for run in chosen:
        run.process.send_signal(signal.SIGTERM)
    assert run_all(runs) == [0, 0, 0], logs(runs)
    assert runs[0].model
    assert "asked to stop early" in runs[0].log
    assert_no_model(runs[1:])


def checkpointed(run: HostRun, times: int) -> bool:
    return run.log.count("Saved checkpoint") >= times


@pytest.mark.parametrize("hosts", [1, 2, 3])
@pytest.mark.parametrize("algorithm", ["pca", "linear-learner"])
def test_a_job_that_was_killed_goes_on_with_any_number_of_hosts(
    cluster: Cluster, tmp_path: Path, algorithm: str, hosts: int
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    if algorithm == "pca":  # more than is held in memory
        given = {
            "num_components": "3",
            "feature_dim": "1300",
            "mini_batch_size": "100",
            "algorithm_mode": "randomized",
        }
        contents = [records(9_000, seed, 1300) for seed in range(6)]
    else:
        given = {"predictor_type": "binary_classifier", "mini_batch_size": "100"}
        contents = [records(40_000, seed) for seed in range(6)]
    for number, content in enumerate(contents):
        (folder / f"part-{number}.pbr").write_bytes(content)

    def share(rank: int, of: int, data: Path) -> None:
        (data / "train").mkdir()
        for number in range(rank, 6, of):
            os.link(folder / f"part-{number}.pbr", data / f"train/part-{number}.pbr")

    checkpoints = tmp_path / "checkpoints"
    whole = cluster.start(
        given,
        SHARDS,
        [partial(share, rank, 2) for rank in range(2)],
        name="whole",
        checkpoints=tmp_path / "others",
    )
    assert run_all(whole) == [0, 0], logs(whole)
    first = cluster.start(
        given, SHARDS, [partial(share, rank, 2) for rank in range(2)], name="first", checkpoints=checkpoints
    )
    wait_for(lambda: checkpointed(first[0], 2) or first[0].process.poll() is not None, "checkpoints", first)
    if first[0].process.poll() is None:
        os.kill(first[0].worker_process(), signal.SIGKILL)
    run_all(first)
    again = cluster.start(
        given,
        SHARDS,
        [partial(share, rank, hosts) for rank in range(hosts)],
        name="again",
        checkpoints=checkpoints,
    )
    assert run_all(again) == [0] * hosts, logs(again)
    assert "Resuming from the checkpoint" in again[0].log
    assert again[0].model == whole[0].model


def listening(run: HostRun) -> set[tuple[str, int]]:
    connections = psutil.Process(run.worker_process()).net_connections("tcp")
    return {(one.laddr.ip, one.laddr.port) for one in connections if one.status == psutil.CONN_LISTEN}


def test_which_ports_are_open(cluster: Cluster) -> None:
    runs = cluster.start(PCA, PIPE, [silent_pipe] * 2)
    in_a_pass(runs)
    leader, other = ({(ip, port) for ip, port in listening(run) if ip != "127.0.0.1"} for run in runs)
    assert leader == {(runs[0].name, 9000), (runs[0].name, 9001)}
    assert other == {(runs[1].name, 9001)}


def speak_without_a_certificate(host: str, authority: Path) -> None:
    context = ssl.create_default_context(cafile=str(authority))
    context.check_hostname = False
    with socket.create_connection((host, 9000), timeout=60) as raw, context.wrap_socket(raw) as wrapped:
        if not wrapped.recv(16):
            raise ConnectionError("closed")


def test_encrypted_connections_need_a_certificate(cluster: Cluster, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=eigenline"]  # noqa: RUF005 -- two lines of words
        + ["-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    environment = {
        "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true",
        "DASK_DISTRIBUTED__COMM__TLS__CA_FILE": str(certificate),
    }
    for end in ("SCHEDULER", "WORKER", "CLIENT"):
        environment[f"DASK_DISTRIBUTED__COMM__TLS__{end}__KEY"] = str(key)
        environment[f"DASK_DISTRIBUTED__COMM__TLS__{end}__CERT"] = str(certificate)
    runs = cluster.start(PCA, PIPE, [silent_pipe] * 2, environment=environment)
    in_a_pass(runs)
    with (
        suppress(ConnectionError),  # or it is closed, or sent TLS's alert
        socket.create_connection((runs[0].name, 9000), timeout=60) as plain,
    ):
        plain.sendall(b"\0" * 64)
        assert plain.recv(16)[:1] in (b"", b"\x15")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        speak_without_a_certificate(runs[0].name, certificate)
    for run in runs:
        run.process.send_signal(signal.SIGTERM)
    assert run_all(runs) == [0, 0], logs(runs)
