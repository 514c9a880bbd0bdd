"""Fixtures of the contract: a small job of each algorithm, and `train` over it as a process and as a container."""

import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from formats import write_recordio
from tests.contract.runs import IMAGE, ContainerRun, ProcessRun, Run
from tests.contract.trees import LINEAR_HYPERPARAMETERS, PCA_HYPERPARAMETERS, Tree, labelled_rows


@pytest.fixture(scope="session")
def image() -> str:
    """The image under test; skips where there is no engine or no image."""
    if shutil.which("docker") is None or subprocess.run(["docker", "info"], capture_output=True).returncode:
        pytest.skip("no Docker engine answers")
    if subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True).returncode:
        pytest.skip(f"there is no image {IMAGE!r}: run `make image` first")
    return IMAGE


@pytest.fixture
def container(image: str) -> Iterator[Callable[..., ContainerRun]]:
    """Start containers; whatever the test did, none is left."""
    runs: list[ContainerRun] = []

    def start(
        tree: Tree,
        *options: str,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] = ("train",),
    ) -> ContainerRun:
        runs.append(ContainerRun(tree, environment or {}, options, command))
        return runs[-1]

    yield start
    for run in runs:
        run.remove()


Start = Callable[..., Run]


@pytest.fixture(params=["process", pytest.param("container", marks=pytest.mark.image)])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    """Start `train` over a tree, once as a process of this machine and once as a container."""
    if request.param == "container":
        make = request.getfixturevalue("container")
        yield lambda tree, environment=None: make(tree, environment=environment)
        return
    runs: list[ProcessRun] = []

    def start_process(tree: Tree, environment: Mapping[str, str] | None = None) -> ProcessRun:
        runs.append(ProcessRun(tree, environment or {}, tmp_path / f"log-{len(runs)}"))
        return runs[-1]

    yield start_process
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "ml")


@pytest.fixture
def pca_tree(tree: Tree, rng: np.random.Generator) -> Tree:
    features, _ = labelled_rows(rng)
    tree.hyperparameters = dict(PCA_HYPERPARAMETERS)
    tree.channels = {"train": {"TrainingInputMode": "File"}}
    tree.put("train", "matrix_0.pbr", write_recordio(features))
    return tree


@pytest.fixture
def linear_tree(tree: Tree, rng: np.random.Generator) -> Tree:
    features, labels = labelled_rows(rng)
    tree.hyperparameters = dict(LINEAR_HYPERPARAMETERS)
    tree.channels = {"train": {"TrainingInputMode": "File"}}
    tree.put("train", "matrix_0.pbr", write_recordio(features, labels))
    return tree
