"""Fixtures of the contract: a small job of each algorithm, and the four ways to run it from one test body."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from eigenline import write_recordio
from tests.contract.clauses import WAYS
from tests.contract.endpoints import Endpoint, container_endpoint, process_endpoint, sdk_endpoint
from tests.contract.runs import IMAGE, ContainerRun, ProcessRun, Run
from tests.contract.sdks import Driver, SdkRun
from tests.contract.trees import LINEAR_HYPERPARAMETERS, PCA_HYPERPARAMETERS, Tree, labelled_rows

_MARKS = {
    "process": [],
    "container": [pytest.mark.image],
    "sdk2": [pytest.mark.image, pytest.mark.slow],
    "sdk3": [pytest.mark.image, pytest.mark.slow],
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test of a clause in every way that its mark does not leave out."""
    mark = metafunc.definition.get_closest_marker("clause")
    for fixture in ("start", "endpoint"):
        if fixture in metafunc.fixturenames:
            assert mark is not None, f"{metafunc.definition.name} does not say which clause it shows"
            ways = [pytest.param(way, marks=_MARKS[way]) for way in WAYS if way not in mark.args[2]]
            scope = "session" if fixture == "endpoint" else None
            metafunc.parametrize(fixture, ways, indirect=True, scope=scope)


@pytest.fixture(scope="session")
def image() -> str:
    """The image under test; skips where there is no engine or no image."""
    if shutil.which("docker") is None or subprocess.run(["docker", "info"], capture_output=True).returncode:
        pytest.skip("no Docker engine answers")
    if subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True).returncode:
        pytest.skip(f"there is no image {IMAGE!r}: run `make image` first")
    return IMAGE


def compose_is_there() -> bool:
    """The SDKs take either the plug-in or the older program."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0
    return plugin or shutil.which("docker-compose") is not None


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


@pytest.fixture(scope="session")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, Path], Driver]]:
    """Processes that drive the SDKs, started when the first test asks for one."""
    started: dict[str, Driver] = {}

    def driver(name: str, python: Path) -> Driver:
        if not compose_is_there():
            pytest.skip("the SDKs' local mode needs docker compose, which is not installed")
        if name not in started:
            started[name] = Driver(python, name, tmp_path_factory.mktemp(name) / "log")
        return started[name]

    yield driver
    for one in started.values():
        one.close()


Start = Callable[..., Run]


@pytest.fixture
def start(
    request: pytest.FixtureRequest, tmp_path: Path, drivers: Callable[[str, Path], Driver]
) -> Iterator[Start]:
    """Start `train` over a tree: ``start(tree, environment, plain_user=..., memory=...)``.

    A plain user has no power over files that their modes do not give; `memory` is a container's limit.
    """
    runs: list[Run] = []
    way = request.param
    if way != "process":
        request.getfixturevalue("image")

    def run(
        tree: Tree,
        environment: Mapping[str, str] | None = None,
        plain_user: bool = False,
        memory: str | None = None,
    ) -> Run:
        given, number = environment or {}, len(runs)
        if way == "process":
            runs.append(ProcessRun(tree, given, tmp_path / f"log-{number}", plain_user))
        elif way == "container":
            options = [f"--user={os.geteuid()}:{os.getegid()}", "--cap-drop=ALL"] if plain_user else []
            options += [f"--memory={memory}", f"--memory-swap={memory}"] if memory else []
            runs.append(ContainerRun(tree, given, options))
        else:
            wishes: dict[str, object] = {"cap_drop": ["ALL"]} if plain_user else {}
            wishes |= {"mem_limit": memory, "memswap_limit": memory} if memory else {}
            driver = drivers(way, request.getfixturevalue(f"{way}_python"))
            runs.append(SdkRun(driver, tree, given, wishes, tmp_path / f"{way}-{number}"))
        return runs[-1]

    yield run
    for one in runs:
        one.remove()


@pytest.fixture(scope="session")
def endpoint(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    drivers: Callable[[str, Path], Driver],
) -> Iterator[Endpoint]:
    """A served Linear Learner that `train` made; one endpoint for all tests of one way."""
    way = request.param
    if way != "process":
        request.getfixturevalue("image")
    folder = tmp_path_factory.mktemp(f"endpoint-{way}")
    tree = Tree(folder / "ml", dict(LINEAR_HYPERPARAMETERS), {"train": {"TrainingInputMode": "File"}})
    tree.put("train", "matrix_0.pbr", write_recordio(*labelled_rows(np.random.default_rng(7))))
    result = ProcessRun(tree.write(), {}, folder / "log").wait()
    assert result.code == 0, result.log
    if way == "process":
        yield from process_endpoint(tree, folder / "serve.log")
    elif way == "container":
        yield from container_endpoint(tree)
    else:
        yield from sdk_endpoint(tree, drivers(way, request.getfixturevalue(f"{way}_python")), folder / way)


@pytest.fixture
def pca_tree(tmp_path: Path, rng: np.random.Generator) -> Tree:
    features, _ = labelled_rows(rng)
    tree = Tree(tmp_path / "pca", dict(PCA_HYPERPARAMETERS), {"train": {"TrainingInputMode": "File"}})
    tree.put("train", "matrix_0.pbr", write_recordio(features))
    return tree


@pytest.fixture
def linear_tree(tmp_path: Path, rng: np.random.Generator) -> Tree:
    features, labels = labelled_rows(rng)
    tree = Tree(tmp_path / "linear", dict(LINEAR_HYPERPARAMETERS), {"train": {"TrainingInputMode": "File"}})
    tree.put("train", "matrix_0.pbr", write_recordio(features, labels))
    return tree
