"""The image itself: what is in it, who may run it, under which restrictions, and how it serves what it trained."""

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from eigenline import write_recordio
from tests.contract.clauses import ONLY_THE_IMAGE, clause
from tests.contract.runs import ContainerRun, docker, run_in, wait_until
from tests.contract.trees import Tree, labelled_rows

pytestmark = pytest.mark.image
Container = Callable[..., ContainerRun]
BUDGET_MB = 350  # over the base, uncompressed


@pytest.fixture(scope="module")
def settings(image: str) -> dict[str, object]:
    return json.loads(docker("image", "inspect", image))[0]  # type: ignore[no-any-return]


@clause("Image", "`CMD` is `train`, no entry point, port 8080, SIGTERM", **ONLY_THE_IMAGE)
def test_it_starts_as_sagemaker_starts_it(settings: dict[str, dict[str, object]]) -> None:
    config = settings["Config"]
    assert config["Cmd"] == ["train"]  # the SDK 3 passes no command
    assert not config["Entrypoint"]  # `docker run IMAGE serve` replaces the command
    assert config["StopSignal"] == "SIGTERM"
    assert "8080/tcp" in config["ExposedPorts"]  # type: ignore[operator]
    assert config["Healthcheck"]["Test"] == ["CMD", "healthcheck"]  # type: ignore[index]


@clause("Image", "labels of SageMaker and OCI", **ONLY_THE_IMAGE)
def test_it_has_the_labels_that_sagemaker_and_registries_read(
    settings: dict[str, dict[str, dict[str, str]]],
) -> None:
    labels = settings["Config"]["Labels"]
    assert labels["com.amazonaws.sagemaker.capabilities.accept-bind-to-port"] == "true"
    assert labels["com.amazonaws.sagemaker.capabilities.multi-models"] == "true"
    for name in ("title", "description", "version", "revision", "licenses"):
        assert labels[f"org.opencontainers.image.{name}"]


@clause("Image", "size within the budget", **ONLY_THE_IMAGE)
def test_it_is_small(image: str) -> None:
    megabytes = int(run_in(image, "du", "-sm", "/opt/eigenline").split()[0])
    assert megabytes < BUDGET_MB


@clause("Image", "no compiler, no package cache, no test suites", **ONLY_THE_IMAGE)
def test_nothing_that_only_builds_is_in_it(image: str) -> None:
    program = (
        "import importlib.util as u, shutil\n"
        "print([n for n in ('sklearn','pandas','matplotlib','pytest','setuptools','mxnet') if u.find_spec(n)])\n"
        "print([n for n in ('gcc','cc','g++','make','git') if shutil.which(n)])\n"
    )
    assert run_in(image, "python", "-c", program).splitlines() == ["[]", "[]"]
    assert run_in(image, "sh", "-c", "ls -d /root/.cache/pip 2>/dev/null || true") == ""
    assert run_in(image, "sh", "-c", "find /opt/eigenline -name tests | head -3") == ""


@clause("Image", "what both commands import is compiled, so that they start fast", **ONLY_THE_IMAGE)
def test_what_is_imported_is_compiled(image: str) -> None:
    program = (
        "import eigenline.container.training_job, eigenline.container.linear_learner_job\n"
        "import eigenline.container.pca_job, eigenline.serve.server, sys, os\n"
        "files = [m.__spec__ for m in sys.modules.values() if getattr(m, '__spec__', None)]\n"
        "print(len(files), [s.name for s in files if s.cached and not os.path.exists(s.cached)])"
    )
    count, uncompiled = run_in(image, "python", "-c", program).split(maxsplit=1)
    assert int(count) > 300
    assert uncompiled == "[]"


@clause("Image", "a bill of materials", **ONLY_THE_IMAGE)
def test_it_lists_what_is_in_it(image: str) -> None:
    document = json.loads(run_in(image, "cat", "/opt/eigenline/share/eigenline/sbom.cdx.json"))
    listed = {entry["name"].lower(): entry["version"] for entry in document["components"]}
    assert {"numpy", "scipy", "protobuf", "flask", "gunicorn", "eigenline", "cpython"} <= set(listed)
    installed = run_in(image, "python", "-c", "import numpy; print(numpy.__version__)")
    assert listed["numpy"] == installed
    assert len(document["components"]) == len(listed)


@clause("Image", "`train --help`", **ONLY_THE_IMAGE)
def test_train_explains_itself(image: str) -> None:
    text = run_in(image, "train", "--help")
    assert "hyperparameters.json" in text
    assert "exit codes:" in text


@clause("Image", "any `--user`, `--read-only`, `--network none`, `--cap-drop ALL`", **ONLY_THE_IMAGE)
def test_it_runs_as_any_user_read_only_without_network_and_capabilities(
    container: Container, pca_tree: Tree, linear_tree: Tree
) -> None:
    for tree in (pca_tree, linear_tree):
        _owned_by(tree.write(), 4321)
        options = ["--user=4321:4321", "--read-only", "--tmpfs=/tmp", "--network=none", "--cap-drop=ALL"]
        result = container(tree, *options).wait()
        assert result.code == 0, result.log
        assert (tree.root / "model/model_algo-1").stat().st_uid == 4321


@clause("Image", "what root wrote, the folder's owner can remove", **ONLY_THE_IMAGE)
def test_files_that_root_wrote_can_be_removed_by_the_folders_owner(container: Container, pca_tree: Tree) -> None:
    """The pain of local mode: the container runs as root, and the user cannot clean up after it."""
    shutil.rmtree(pca_tree.write().root / "output")
    _owned_by(pca_tree, 4321)
    assert container(pca_tree, "--user=0:0").wait().code == 0
    written = [path for name in ("model", "output") for path in (pca_tree.root / name).rglob("*")]
    assert len(written) > 3
    # No `rm` as that user here: a process that gives up root and then removes is the same thing.
    for parent in (*pca_tree.root.parents, pca_tree.root):
        if parent.stat().st_uid == 0 and str(parent).startswith("/tmp/"):
            parent.chmod(0o755)
    done = subprocess.run(
        ["find", pca_tree.root / "model", pca_tree.root / "output", "-mindepth", "1", "-delete"],
        user=4321, group=4321, capture_output=True, text=True, check=False, cwd="/",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not [path for name in ("model", "output") for path in (pca_tree.root / name).rglob("*")]


def _owned_by(tree: Tree, user: int) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files to another user")
    for path in (tree.root, *tree.root.rglob("*")):
        os.chown(path, user, user)


@clause("Image", "the health check", **ONLY_THE_IMAGE)
def test_the_health_check_lets_training_be_and_asks_a_server(container: Container, pca_tree: Tree) -> None:
    pca_tree.channels = {"train": {"TrainingInputMode": "Pipe"}}  # whose FIFO never comes
    training = container(pca_tree.write())
    wait_until(lambda: "pipe input mode" in training.log_so_far())
    docker("exec", training.name, "healthcheck")


# --- serving ---------------------------------------------------------------------------------------------------


@pytest.fixture
def serve(container: Container) -> Callable[..., tuple[ContainerRun, str]]:
    """Start a serving container over a tree and wait until /ping answers 200."""

    def start(tree: Tree, *options: str, environment: dict[str, str] | None = None) -> tuple[ContainerRun, str]:
        port = (environment or {}).get("SAGEMAKER_BIND_TO_PORT", "8080")
        run = container(tree, f"--publish=127.0.0.1::{port}", *options, environment=environment, command=["serve"])
        address = "http://" + docker("port", run.name, f"{port}/tcp").splitlines()[0]
        wait_until(lambda: _status(address + "/ping") == 200)
        return run, address

    return start


def _status(address: str) -> int:
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def invoke(address: str, body: bytes, content_type: str = "text/csv") -> dict[str, list[dict[str, object]]]:
    request = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": content_type})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())  # type: ignore[no-any-return]


def csv(rows: np.ndarray) -> bytes:
    return "\n".join(",".join(repr(float(value)) for value in row) for row in rows).encode()


@clause(
    "Image", "it serves what it trained, restricted, and ends within seconds of `docker stop`", **ONLY_THE_IMAGE
)
def test_it_serves_what_it_trained(
    container: Container, linear_tree: Tree, serve: Callable[..., tuple[ContainerRun, str]]
) -> None:
    assert container(linear_tree.write()).wait().code == 0
    restrictions: Sequence[str] = ["--user=4321:4321", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL"]
    run, address = serve(linear_tree, *restrictions)
    features, labels = labelled_rows(np.random.default_rng(7))
    predictions = invoke(address, csv(features))["predictions"]
    assert np.mean([entry["predicted_label"] for entry in predictions] == labels) > 0.9
    docker("exec", run.name, "healthcheck")
    started = time.monotonic()
    docker("stop", "--time=20", run.name)
    assert time.monotonic() - started < 10
    assert run.wait().code == 0


@clause("Image", "`SAGEMAKER_BIND_TO_PORT`", **ONLY_THE_IMAGE)
def test_it_serves_on_the_port_that_sagemaker_chooses(
    container: Container, pca_tree: Tree, serve: Callable[..., tuple[ContainerRun, str]]
) -> None:
    assert container(pca_tree.write()).wait().code == 0
    environment = {"SAGEMAKER_BIND_TO_PORT": "12345", "SAGEMAKER_SAFE_PORT_RANGE": "12345-12350"}
    run, address = serve(pca_tree, environment=environment)
    projections = invoke(address, write_recordio(np.ones((3, 6), np.float32)), "application/x-recordio-protobuf")
    assert len(projections["projections"][0]["projection"]) == 2  # type: ignore[arg-type]
    docker("exec", run.name, "healthcheck")


@clause("Image", "multi-model endpoints", **ONLY_THE_IMAGE)
def test_it_serves_many_models(
    container: Container, pca_tree: Tree, serve: Callable[..., tuple[ContainerRun, str]], tmp_path: Path
) -> None:
    assert container(pca_tree.write()).wait().code == 0
    folder = tmp_path / "models/hash/model"
    shutil.copytree(pca_tree.root / "model", folder)
    _, address = serve(
        pca_tree, f"--volume={tmp_path}/models:/opt/ml/models", environment={"SAGEMAKER_MULTI_MODEL": "true"}
    )
    body = json.dumps({"model_name": "hash", "url": "/opt/ml/models/hash/model"}).encode()
    request = urllib.request.Request(f"{address}/models", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200
    request = urllib.request.Request(
        f"{address}/models/hash/invoke", csv(np.ones((1, 6))), {"Content-Type": "text/csv"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert len(json.loads(answer.read())["projections"]) == 1
