"""Several hosts of one job, each a process with an address of its own: the same model as one host's."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eigenline.formats.recordio.writer import write_recordio

from .host_runs import Cluster, HostRun, clusters, logs, run_all

pytestmark = pytest.mark.slow
PCA = {"num_components": "3", "feature_dim": "12", "mini_batch_size": "100"}
BINARY = {"predictor_type": "binary_classifier", "mini_batch_size": "100"}
Fill = Callable[[Path], None]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    yield from clusters(tmp_path)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of five files of uneven size."""
    folder = tmp_path_factory.mktemp("parts")
    rng = np.random.default_rng(5)
    for number, rows in enumerate([60_000, 20_000, 50_000, 30_000, 40_000]):
        X = (rng.standard_normal((rows, 12)) * np.arange(1, 13) + 3).astype(np.float32)
        y = (X @ rng.standard_normal(12) + 5 * rng.standard_normal(rows) > 9).astype(np.float32)
        (folder / f"part-{number}.pbr").write_bytes(write_recordio(X, y))
    return folder


def copies(folder: Path, names: Sequence[str] | None, data: Path, channel: str = "train") -> None:
    """Link some files of a folder, all for None, into a channel."""
    (data / channel).mkdir()
    for path in sorted(folder.iterdir()):
        if names is None or path.name in names:
            os.link(path, data / channel / path.name)


def replicated(folder: Path, hosts: int) -> list[Fill]:
    return [partial(copies, folder, None)] * hosts


def sharded(folder: Path, *shares: Sequence[int]) -> list[Fill]:
    return [partial(copies, folder, [f"part-{number}.pbr" for number in share]) for share in shares]


TRAIN: dict[str, dict[str, Any]] = {"train": {"S3DistributionType": "FullyReplicated"}}
SHARDS: dict[str, dict[str, Any]] = {"train": {"S3DistributionType": "ShardedByS3Key"}}


def assert_well(runs: Sequence[HostRun]) -> None:
    assert run_all(runs) == [0] * len(runs), logs(runs)
    assert "report.json" in runs[0].model_files
    for run in runs[1:]:
        assert run.model_files == [], run.name
        assert "#metrics" not in run.log
        assert f"{runs[0].name} is done" in run.log


@pytest.mark.parametrize("hyperparameters", [PCA, BINARY], ids=["pca", "linear-learner"])
def test_the_same_bytes_from_one_host_and_several(
    cluster: Cluster, parts: Path, hyperparameters: dict[str, str]
) -> None:
    (one,) = cluster.start(hyperparameters, TRAIN, replicated(parts, 1), name="one")
    assert one.wait() == 0, one.log
    jobs = {
        "replicated over 2": cluster.start(hyperparameters, TRAIN, replicated(parts, 2), name="replicated"),
        "sharded over 3": cluster.start(
            hyperparameters, SHARDS, sharded(parts, [3, 0], [2], [4, 1]), name="sharded"
        ),
        "with an idle host": cluster.start(
            hyperparameters, SHARDS, sharded(parts, [0, 1, 2, 3, 4], []), name="idle"
        ),
        "few data gathered": cluster.start(
            hyperparameters, SHARDS, sharded(parts, [4], [0, 3], [1, 2]), name="gathered", few_bytes=1e9
        ),
    }
    for name, runs in jobs.items():
        assert_well(runs)
        assert runs[0].model == one.model, name
        assert (runs[0].root / "model/report.html").exists() == (one.root / "model/report.html").exists()
    assert "idle" in jobs["with an idle host"][0].log
    assert "Few data" in jobs["few data gathered"][0].log
    if hyperparameters is BINARY:
        models = [(runs[0].root / "model/models.csv").read_bytes() for runs in [[one], *jobs.values()]]
        assert len(set(models)) == 1


def test_one_large_file_is_shared_by_batches(cluster: Cluster, tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    folder = tmp_path / "large"
    folder.mkdir()
    X = rng.standard_normal((700_000, 12)).astype(np.float32)
    (folder / "one.pbr").write_bytes(write_recordio(X, (X[:, 0] > 0).astype(np.float32)))
    (one,) = cluster.start(PCA, TRAIN, replicated(folder, 1), name="one")
    runs = cluster.start(PCA, TRAIN, replicated(folder, 3), name="three")
    assert_well(runs)
    assert one.wait() == 0
    assert "every 3 batches one" in runs[1].log
    assert runs[0].model == one.model


def test_text_with_a_header_and_names_of_classes(cluster: Cluster, tmp_path: Path) -> None:
    """Each host parses in processes of its own, forked beside Dask's threads; names come from the first file."""
    rng = np.random.default_rng(7)
    folder = tmp_path / "text"
    folder.mkdir()
    for number in range(4):
        X = rng.standard_normal((40_000, 6)).round(4)
        labels = np.where(X[:, 0] - X[:, 3] > 0, "yes", "no")
        order = [5, 4, 3, 2, 1, 0] if number == 2 else [0, 1, 2, 3, 4, 5]
        head = ",".join([*(f"x{column}" for column in order), "answer"])
        rows = [",".join([*map(str, row), label]) for row, label in zip(X[:, order].tolist(), labels, strict=True)]
        (folder / f"part-{number}.csv").write_text("\n".join([head, *rows]) + "\n")
    channels = {"train": {"ContentType": "text/csv;target=answer", "S3DistributionType": "ShardedByS3Key"}}
    (one,) = cluster.start(BINARY, channels, replicated(folder, 1), name="one")
    shares = [["part-2.csv"], ["part-0.csv", "part-3.csv"], ["part-1.csv"]]
    runs = cluster.start(BINARY, channels, [partial(copies, folder, share) for share in shares], name="three")
    assert_well(runs)
    assert one.wait() == 0, one.log
    assert runs[0].model == one.model
    assert (runs[0].root / "model/columns.json").read_bytes() == (one.root / "model/columns.json").read_bytes()


def feed(path: Path, content: bytes) -> None:
    def write() -> None:
        for epoch in range(100):
            fifo = path.with_name(f"{path.name}_{epoch}")
            os.mkfifo(fifo)
            try:
                with fifo.open("wb") as pipe:
                    pipe.write(content)
            except OSError:
                return

    threading.Thread(target=write, daemon=True).start()


@pytest.mark.parametrize("distribution", ["FullyReplicated", "ShardedByS3Key"])
def test_pipes(cluster: Cluster, parts: Path, distribution: str) -> None:
    contents = [path.read_bytes() for path in sorted(parts.iterdir())]
    channels = {"train": {"TrainingInputMode": "Pipe", "S3DistributionType": distribution}}
    (one,) = cluster.start(PCA, channels, [lambda data: feed(data / "train", b"".join(contents))], name="one")
    each = [b"".join(contents)] * 2
    if distribution == "ShardedByS3Key":
        each = [b"".join(contents[:2]), b"".join(contents[2:])]
    runs = cluster.start(
        PCA, channels, [lambda data, some=some: feed(data / "train", some) for some in each], name="two"
    )
    assert_well(runs)
    assert one.wait() == 0, one.log
    if distribution == "FullyReplicated":
        assert runs[0].model == one.model


def test_validation_and_test_channels(cluster: Cluster, parts: Path) -> None:
    def fill(train: list[int], validation: list[int], data: Path) -> None:
        copies(parts, [f"part-{number}.pbr" for number in train], data)
        copies(parts, [f"part-{number}.pbr" for number in validation], data, "validation")
        copies(parts, ["part-3.pbr"], data, "test")

    channels = {**SHARDS, "validation": SHARDS["train"], "test": TRAIN["train"]}
    (one,) = cluster.start(BINARY, channels, [partial(fill, [0, 2, 4], [1, 3])], name="one")
    runs = cluster.start(
        BINARY,
        channels,
        [partial(fill, [0], [1]), partial(fill, [2, 4], []), partial(fill, [], [3])],
        name="three",
    )
    assert_well(runs)
    assert one.wait() == 0, one.log
    assert runs[0].model == one.model

    def scores(run: HostRun) -> list[str]:
        return [
            line.partition("#quality_metric")[2].partition(",")[2]
            for line in run.log.splitlines()
            if "#quality_metric" in line and "test" in line
        ]

    assert scores(runs[0]) == scores(one) != []


@pytest.mark.parametrize("hyperparameters", [{**BINARY, "compatibility": "aws"}, {**BINARY, "optimizer": "adam"}])
def test_a_sequence_of_updates_is_trained_on_the_first_host(
    cluster: Cluster, parts: Path, hyperparameters: dict[str, str]
) -> None:
    hyperparameters = {**hyperparameters, "epochs": "2", "num_models": "2"}
    (one,) = cluster.start(hyperparameters, TRAIN, replicated(parts, 1), name="one")
    runs = cluster.start(hyperparameters, SHARDS, sharded(parts, [3, 1], [0, 2, 4]), name="two")
    assert_well(runs)
    assert one.wait() == 0, one.log
    assert "trains in stored order on one host" in runs[0].log
    assert runs[0].model == one.model


def test_a_job_on_one_host_imports_nothing_of_dask_and_opens_no_port(tmp_path: Path, parts: Path) -> None:
    program = (
        "import sys, socket\n"
        "def refuse(*a, **k): raise AssertionError('a port')\n"
        "socket.socket.bind = socket.socket.listen = refuse\n"
        "from eigenline.container.folders import Folders\n"
        "from eigenline.container.stopping import Stopping\n"
        "from eigenline.container.training_job import run_job\n"
        "code = run_job(Folders.from_environment(), {}, sys.stdout, Stopping())\n"
        "assert not {'dask', 'distributed', 'tornado', 'psutil'} & set(sys.modules), 'imported'\n"
        "sys.exit(code)"
    )
    for folder in ("input/config", "model", "output"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "input/config/hyperparameters.json").write_text(str(PCA).replace("'", '"'))
    (tmp_path / "input/data").mkdir()
    copies(parts, None, tmp_path / "input/data")
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stdout + result.stderr
