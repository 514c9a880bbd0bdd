"""Models of every kind, as files the server reads, and the real `serve` command around them."""

import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPConnection, RemoteDisconnected
from json import dumps
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from eigenline.algorithms.linear_learner.model import LinearLearnerModel
from eigenline.algorithms.pca.model import PCAModel
from eigenline.formats.artifact.model_file import write_artifact
from eigenline.serve.app import create_app
from eigenline.serve.settings import Settings

from ..ports import free_port

ROOT = Path(__file__).parents[2]


def make_linear(
    feature_dim: int = 4, outputs: int = 1, kind: str = "binary_classifier", loss: str = "logistic", seed: int = 0
) -> LinearLearnerModel:
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(feature_dim, outputs)).astype(np.float32)
    return LinearLearnerModel(weights, rng.normal(size=outputs).astype(np.float32), kind, loss, 0.5)  # type: ignore[arg-type]


def make_pca(feature_dim: int = 4, components: int = 2, seed: int = 0) -> PCAModel:
    rng = np.random.default_rng(seed)
    directions, _ = np.linalg.qr(rng.normal(size=(feature_dim, components)))
    mean = rng.normal(size=feature_dim).astype(np.float32)
    return PCAModel(np.arange(1, components + 1, dtype=np.float32), directions.astype(np.float32), mean)


MODELS: Mapping[str, Callable[[], LinearLearnerModel | PCAModel]] = {
    "binary": make_linear,
    "hinge": lambda: make_linear(loss="hinge_loss"),
    "multiclass": lambda: make_linear(outputs=3, kind="multiclass_classifier", loss="softmax_loss"),
    "regressor": lambda: make_linear(kind="regressor", loss="squared_loss"),
    "pca": make_pca,
}


def write_model(folder: Path, model: LinearLearnerModel | PCAModel, name: str = "model_algo-1") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(write_artifact(model))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder with a binary classifier of four features."""
    return write_model(tmp_path / "model", make_linear())


@pytest.fixture
def app_client_of(tmp_path: Path) -> Callable[..., FlaskClient]:
    """Make Flask's own client over a model's artifact: for the page, and for who mounts `create_app` elsewhere."""

    def make(model: LinearLearnerModel | PCAModel, settings: Settings | None = None) -> FlaskClient:
        folder = write_model(tmp_path / f"model-{len(list(tmp_path.iterdir()))}", model)
        return create_app(folder, settings=settings or Settings()).test_client()

    return make


_MOST_SERVERS = 6


@pytest.fixture(scope="session")
def client_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., "Client"]]:
    """Return a client of the real server, with one worker, over some models and with some environment.

    Tests that want the same get the same; a few run at a time.
    """
    servers: dict[tuple[bytes, ...], tuple[ExitStack, Client]] = {}

    def make(*models: LinearLearnerModel | PCAModel, **environment: str) -> Client:
        artifacts = [write_artifact(model) for model in models]
        key = (*artifacts, repr(sorted(environment.items())).encode())
        if key not in servers:
            if len(servers) == _MOST_SERVERS:
                servers.pop(next(iter(servers)))[0].close()
            folder = tmp_path_factory.mktemp("served")
            for number, artifact in enumerate(artifacts):
                (folder / f"model_{number}").write_bytes(artifact)
            stack = ExitStack()
            server = stack.enter_context(running(str(folder), **{"MODEL_SERVER_WORKERS": "1", **environment}))
            servers[key] = stack, stack.enter_context(closing(Client(server)))
        servers[key] = servers.pop(key)  # the one that was wanted longest ago is the first to go
        return servers[key][1]

    yield make
    for stack, _ in servers.values():
        stack.close()


@dataclass
class Reply:
    """What the server answered."""

    status_code: int
    data: bytes
    headers: Message

    @property
    def text(self) -> str:
        return self.data.decode()

    @property
    def content_type(self) -> str | None:
        return self.headers.get("Content-Type")


class Client:
    """One kept connection to a real server."""

    def __init__(self, server: "Server") -> None:
        self.server = server
        self._connection = HTTPConnection("127.0.0.1", server.port, timeout=300)

    def close(self) -> None:
        self._connection.close()

    def open(
        self,
        path: str,
        method: str = "GET",
        data: bytes | str = b"",
        content_type: str | None = None,
        headers: Mapping[str, str] | None = None,
        json: object = None,
    ) -> Reply:
        fields = dict(headers or {})
        if json is not None:
            data, content_type = dumps(json), "application/json"
        if content_type is not None:
            fields["Content-Type"] = content_type
        body = data.encode() if isinstance(data, str) else data
        for attempt in (0, 1):
            try:
                self._connection.request(method, path, body, fields)
                answer = self._connection.getresponse()
                return Reply(answer.status, answer.read(), answer.headers)
            except (ConnectionError, RemoteDisconnected):
                self._connection.close()
                if attempt:  # the first time it may be that the connection was idle for too long
                    raise
        raise AssertionError

    def get(self, path: str, **more: Any) -> Reply:
        return self.open(path, **more)

    def post(self, path: str, **more: Any) -> Reply:
        return self.open(path, "POST", **more)

    def delete(self, path: str, **more: Any) -> Reply:
        return self.open(path, "DELETE", **more)


@dataclass
class Server:
    process: subprocess.Popen[bytes]
    url: str
    port: int
    output: IO[bytes]  # a file: a pipe that nobody reads would stop the server once it is full

    def log(self) -> str:
        """Everything the server has written."""
        self.output.seek(0)
        return self.output.read().decode()

    def call(
        self, path: str, body: bytes | None = None, method: str | None = None, **headers: str
    ) -> tuple[int, bytes, Mapping[str, str]]:
        """Send one request; `content_type` becomes Content-Type and so on. Refusals are returned, not raised."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url + path, body, names, method=method)
        try:
            with urllib.request.urlopen(request, timeout=300) as response:
                return response.status, response.read(), dict(response.headers)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(), dict(error.headers)

    def invoke(self) -> int:
        """Ask for a prediction of one record of four features; returns the status."""
        return self.call("/invocations", b"1,2,3,4", content_type="text/csv")[0]

    def workers(self) -> list[int]:
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in listed.split()]

    def wait_for_workers(self, count: int) -> list[int]:
        """Return the workers once there are so many: the first answers before the others are forked."""
        wait_for(lambda: len(self.workers()) == count, lambda: f"workers {self.workers()}; {self.log()}")
        return self.workers()

    def metric(self, name: str) -> float:
        """Return the sum of a metric's lines."""
        lines = self.call("/metrics")[1].decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def wait_for_connections(self, count: int) -> None:
        """Wait until the workers hold so many connections besides the one that this question comes on."""
        wait_for(lambda: self.metric("eigenline_connections") == count + 1, self.log)


def wait_for(condition: Callable[[], bool], why_not: Callable[[], str], seconds: float = 300) -> None:
    """Wait until something has come about; no machine is too slow for it, but it does not come about for ever."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, why_not()
        time.sleep(0.05)


def connect(server: Server) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=300)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def read_answer(connection: socket.socket) -> tuple[int, bytes]:
    """Read one answer that has a Content-Length off a connection: status and body."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(1)
        assert piece, f"the connection was closed after {data!r}"
        data += piece
    fields = dict(line.lower().split(b": ", 1) for line in data[:-4].split(b"\r\n")[1:])
    body = b""
    while len(body) < int(fields.get(b"content-length", b"0")):
        piece = connection.recv(int(fields[b"content-length"]) - len(body))
        assert piece, f"the connection was closed after {data + body!r}"
        body += piece
    return int(data.split(b" ")[1]), body


@contextmanager
def running(
    *arguments: str, descriptors: int | None = None, most_descriptors: int | None = None, **environment: str
) -> Iterator[Server]:
    """Run the real `serve` command in a process group of its own until the block ends.

    `descriptors` is its soft limit of open files, `most_descriptors` the hard one.
    """
    port = free_port()

    def limit() -> None:
        if descriptors is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, most_descriptors or descriptors))

    output = tempfile.TemporaryFile()  # noqa: SIM115 -- closed below, after the server has ended
    process = subprocess.Popen(
        [sys.executable, "-m", "eigenline.serve.server", *arguments],
        env={**os.environ, "SAGEMAKER_BIND_TO_PORT": str(port), "PYTHONPATH": str(ROOT), **environment},
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=limit,
    )
    server = Server(process, f"http://127.0.0.1:{port}", port, output)
    try:
        wait_until_ready(server)
        yield server
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(300)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        output.close()


def wait_until_ready(server: Server, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise AssertionError(f"serve ended with {server.process.returncode}: {server.log()}")
        try:
            if server.call("/ping")[0] == 200:
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("serve did not become ready")
