"""The four ways to serve a trained model, seen as one thing that answers requests."""

import base64
import contextlib
import http.client
import os
import signal
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.contract.runs import ContainerRun, docker, wait_until
from tests.contract.sdks import Driver
from tests.contract.trees import Tree
from tests.ports import free_port

SERVE = [sys.executable, "-m", "eigenline", "serve"]


@dataclass(frozen=True)
class Answer:
    """What came back for one request."""

    status: int
    content_type: str
    body: bytes


Invoke = Callable[[bytes, str | None, str | None, str | None], Answer]


@dataclass(frozen=True)
class Endpoint:
    """A served model.

    Attributes
    ----------
    tree
        The folders of the model that is served.
    address
        Its HTTP address.
    post
        ``/invocations``, over HTTP or through the SDK: body, content type, accept, custom attributes.
    """

    tree: Tree
    address: str
    post: Invoke

    def invoke(
        self,
        body: bytes,
        content_type: str | None = "text/csv",
        accept: str | None = None,
        custom_attributes: str | None = None,
    ) -> Answer:
        """Ask for predictions."""
        return self.post(body, content_type, accept, custom_attributes)

    def get(self, path: str) -> Answer:
        """GET a path, as SageMaker itself does."""
        try:
            with urllib.request.urlopen(self.address + path, timeout=10) as answer:
                return Answer(answer.status, answer.headers.get("Content-Type", ""), answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers.get("Content-Type", ""), error.read())


def _over_http(tree: Tree, address: str) -> Endpoint:
    def post(body: bytes, content_type: str | None, accept: str | None, attributes: str | None) -> Answer:
        given = {
            "Content-Type": content_type,
            "Accept": accept,
            "X-Amzn-SageMaker-Custom-Attributes": attributes,
        }
        headers = {name: value for name, value in given.items() if value is not None}
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=10)
        with contextlib.closing(connection):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused before it was read
                connection.request("POST", "/invocations", body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers.get("Content-Type", ""), answer.read())

    endpoint = Endpoint(tree, address, post)

    def ready() -> bool:
        try:
            return endpoint.get("/ping").status == 200
        except OSError:
            return False

    wait_until(ready)
    return endpoint


def process_endpoint(tree: Tree, log: Path) -> Iterator[Endpoint]:
    """`serve` as a process of this machine."""
    port = free_port()
    environment = {"SAGEMAKER_BASE_DIR": str(tree.root), "SAGEMAKER_BIND_TO_PORT": str(port)}
    with log.open("wb") as file:
        process = subprocess.Popen(SERVE, env=os.environ | environment, stdout=file, stderr=subprocess.STDOUT)
    try:
        yield _over_http(tree, f"http://127.0.0.1:{port}")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def container_endpoint(tree: Tree) -> Iterator[Endpoint]:
    """`docker run IMAGE serve`."""
    run = ContainerRun(tree, {}, ["--publish=127.0.0.1::8080"], ["serve"])
    try:
        yield _over_http(tree, "http://" + docker("port", run.name, "8080/tcp").splitlines()[0])
        docker("stop", "--time=30", run.name)
        assert run.wait().code == 0
    finally:
        run.remove()


def sdk_endpoint(tree: Tree, driver: Driver, folder: Path) -> Iterator[Endpoint]:
    """A local endpoint of an SDK, which waits for /ping itself."""
    folder.mkdir()
    archive = folder / "model" / "model.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        for path in (tree.root / "model").iterdir():
            tar.add(path, path.name)
    driver.send("serve", root=str(folder / "root"), model=str(archive))

    def post(body: bytes, content_type: str | None, accept: str | None, attributes: str | None) -> Answer:
        driver.send(
            "invoke",
            body=base64.b64encode(body).decode(),
            content_type=content_type,
            accept=accept,
            custom_attributes=attributes,
        )
        answer = driver.answer(30)
        return Answer(answer["status"], answer["content_type"], base64.b64decode(answer["body"]))

    try:
        yield Endpoint(tree, f"http://127.0.0.1:{driver.answer(120)['port']}", post)
        driver.send("stop")
        driver.answer(60)
    finally:
        volume = f"--filter=volume={archive.parent}"
        for name in docker("ps", "--all", "--quiet", volume).split():
            subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=False)
