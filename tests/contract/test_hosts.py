"""Several hosts: the first by name leads and writes the model, all end together."""

import os
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from eigenline.formats.recordio.writer import write_recordio
from tests.contract.clauses import NEEDS_A_NETWORK, NO_SHARDS, OTHER_TEST, clause
from tests.contract.conftest import Start
from tests.contract.runs import ContainerRun, docker, wait_until
from tests.contract.trees import Tree

Container = Callable[..., ContainerRun]
pytestmark = pytest.mark.image
ONE_WRITES = "replicated data: one host writes the model, all end together"
STOPS_ALL = "local mode stops all hosts when the first one ends"


@pytest.fixture
def network(image: str) -> Iterator[str]:
    name = f"eigenline-test-{uuid.uuid4().hex[:8]}"
    docker("network", "create", "--internal", name)
    yield name
    docker("network", "rm", name)


@pytest.fixture
def hosts(network: str, container: Container, pca_tree: Tree) -> Iterator[Callable[[str], ContainerRun]]:
    """Start hosts that share all folders but input/config and output, as SDK local mode arranges them."""
    started: list[ContainerRun] = []

    def host(name: str) -> ContainerRun:
        own = Tree(pca_tree.root.parent / name, pca_tree.hyperparameters, pca_tree.channels, ("algo-1", "algo-2"))
        own.write(current_host=name)
        started.append(
            container(
                own,
                f"--network={network}",
                f"--network-alias={name}",
                f"--volume={pca_tree.root}/input/data:/opt/ml/input/data",
                f"--volume={pca_tree.root}/model:/opt/ml/model",
            )
        )
        return started[-1]

    yield host
    for run in started:
        run.remove()


@clause(
    "Hosts",
    ONE_WRITES,
    process=NEEDS_A_NETWORK,
    sdk2=OTHER_TEST,
    sdk3=OTHER_TEST,
)
@pytest.mark.parametrize("order", [["algo-1", "algo-2"], ["algo-2", "algo-1"]])
def test_only_the_first_writes_and_both_end_together(
    hosts: Callable[[str], ContainerRun], pca_tree: Tree, order: list[str]
) -> None:
    pca_tree.write()
    runs = {name: hosts(name) for name in order}
    results = {name: run.wait() for name, run in runs.items()}
    assert [result.code for result in results.values()] == [0, 0], results
    assert "algo-1 leads and writes the model" in results["algo-2"].log
    assert [name for name in pca_tree.model_files if name.startswith("model")] == ["model_algo-1"]
    ends = [docker("inspect", "--format={{.State.FinishedAt}}", run.name) for run in runs.values()]
    assert abs(_seconds(ends[0]) - _seconds(ends[1])) < 2


@clause(
    "Hosts",
    "any number of hosts, replicated or sharded: the bytes of one host's model",
    process=NEEDS_A_NETWORK,
    sdk2=NO_SHARDS,
    sdk3=NO_SHARDS,
)
@pytest.mark.parametrize("distribution", ["FullyReplicated", "ShardedByS3Key"])
def test_four_hosts_give_the_bytes_of_one(
    network: str, container: Container, tmp_path: Path, distribution: str
) -> None:
    """Of so many bytes, 280 MB, that they are not brought to one host."""
    files = tmp_path / "files"
    files.mkdir()
    rng = np.random.default_rng(2)
    for number in range(7):
        X = rng.normal(size=(20_000, 500)).astype(np.float32) * np.linspace(1, 2, 500, dtype=np.float32)
        (files / f"part-{number}.pbr").write_bytes(write_recordio(X, (X[:, 0] > 0).astype(np.float32)))
    hyperparameters = {"predictor_type": "binary_classifier", "mini_batch_size": "100", "num_models": "2"}

    def start(names: tuple[str, ...]) -> tuple[list[Tree], list[ContainerRun]]:
        trees, runs = [], []
        for rank, name in enumerate(names):
            channels = {"train": {"S3DistributionType": distribution}}
            tree = Tree(tmp_path / str(len(names)) / name, hyperparameters, channels, names)
            tree.write(current_host=name)
            (tree.root / "input/data/train").mkdir()
            for number, path in enumerate(sorted(files.iterdir())):
                if distribution == "FullyReplicated" or number % len(names) == rank:
                    os.link(path, tree.root / "input/data/train" / path.name)
            options = (f"--network={network}", f"--network-alias={name}", "--cpus=0.5")
            trees.append(tree)
            runs.append(container(tree, *options))
        return trees, runs

    (alone,), (one,) = start(("algo-1",))
    assert one.wait(900).code == 0
    trees, runs = start(("algo-1", "algo-2", "algo-3", "algo-4"))
    results = [run.wait(900) for run in runs]
    assert [result.code for result in results] == [0] * 4, results
    assert "All hosts train" in results[0].log
    assert trees[0].artifact == alone.artifact
    assert [tree.model_files for tree in trees[1:]] == [[], [], []]


@clause("Hosts", ONE_WRITES, process=NEEDS_A_NETWORK, container=OTHER_TEST)
def test_two_hosts_of_local_mode(start: Start, pca_tree: Tree) -> None:
    """`instance_count=2`: the first of the SDK's containers to end takes the other with it."""
    pca_tree.hosts = ("algo-1", "algo-2")
    result = start(pca_tree.write()).wait()
    assert result.code == 0, result.log
    assert pca_tree.model() is not None
    assert "report.json" in pca_tree.model_files


@clause(
    "Hosts",
    "a failure of the first host is the failure of all",
    process=NEEDS_A_NETWORK,
    sdk2=STOPS_ALL,
    sdk3=STOPS_ALL,
)
def test_a_failure_of_the_first_is_the_failure_of_all(
    hosts: Callable[[str], ContainerRun], pca_tree: Tree
) -> None:
    pca_tree.hyperparameters["num_components"] = "0"
    pca_tree.write()
    second, first = hosts("algo-2"), hosts("algo-1")
    assert first.wait().code == 1
    result = second.wait()
    assert result.code == 1
    assert "Host algo-1, which leads, failed: ClientError: Hyperparameter num_components" in result.log


@clause(
    "Hosts",
    "a first host that is killed fails the others",
    process=NEEDS_A_NETWORK,
    sdk2=STOPS_ALL,
    sdk3=STOPS_ALL,
)
def test_a_first_host_that_is_killed_fails_the_other(hosts: Callable[[str], ContainerRun], pca_tree: Tree) -> None:
    pca_tree.channels = {"train": {"TrainingInputMode": "Pipe"}}  # whose FIFO never comes
    pca_tree.write()
    second, first = hosts("algo-2"), hosts("algo-1")
    wait_until(lambda: "Connected to algo-1" in second.log_so_far())
    first.signal(signal.SIGKILL)
    result = second.wait(300)  # the killed container vanishes from the network without a farewell
    assert result.code == 1
    assert "ended without a word" in result.log


def _seconds(stamp: str) -> float:
    hours, minutes, seconds = stamp.partition("T")[2].rstrip("Z").split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
