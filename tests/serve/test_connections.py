"""One connection to the real server: requests whole, in pieces, slow, pipelined, and bytes that are no request."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from eigenline import write_recordio

from .conftest import Server, connect, make_linear, read_answer, running, write_model

pytestmark = pytest.mark.slow

FEATURES = 2000
ROWS = np.random.default_rng(0).integers(0, 9, (30, FEATURES)).astype(np.float32)
LARGE = "\n".join(",".join(str(int(value)) for value in row) for row in ROWS).encode()  # 120 kB: several reads


def head(body: bytes, kind: str = "text/csv", *fields: str) -> bytes:
    lines = ["POST /invocations HTTP/1.1", "Host: x", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *fields, "", ""]).encode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = write_model(tmp_path_factory.mktemp("wide") / "model", make_linear(FEATURES))
    with running(str(folder), "--workers", "1") as server:
        yield server


@pytest.fixture
def connection(server: Server) -> Iterator[socket.socket]:
    with connect(server) as connection:
        yield connection


@pytest.fixture(scope="module")
def expected(server: Server) -> bytes:
    """The answer to LARGE, sent in chunks."""
    with connect(server) as connection:
        lines = (
            "POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        connection.sendall(lines.encode() + b"%x\r\n" % len(LARGE) + LARGE + b"\r\n0\r\n\r\n")
        status, body = read_answer(connection)
    assert status == 200
    assert len(json.loads(body)["predictions"]) == 30
    return body


@pytest.mark.parametrize("size", [1, 100, 5000, 70_000, 1_000_000])
def test_a_request_in_pieces_of_any_size_has_the_same_answer(
    connection: socket.socket, expected: bytes, size: int
) -> None:
    data = head(LARGE) + LARGE
    stop = 400 if size == 1 else len(data)  # single bytes over all of the head and some of the body
    for start in range(0, stop, size):
        connection.sendall(data[start : min(start + size, stop)])
        time.sleep(0.0003)
    connection.sendall(data[stop:])
    assert read_answer(connection) == (200, expected)


def test_plain_and_other_requests_take_turns_on_one_connection(connection: socket.socket, expected: bytes) -> None:
    for _ in range(5):
        connection.sendall(head(LARGE) + LARGE)
        assert read_answer(connection) == (200, expected)
        connection.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(connection) == (200, b"")
        connection.sendall(head(LARGE, "text/csv", "Expect: 100-continue"))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(LARGE)
        assert read_answer(connection) == (200, expected)
        recordio = write_recordio(ROWS)
        connection.sendall(head(recordio, "application/x-recordio-protobuf") + recordio)
        assert read_answer(connection) == (200, expected)


def test_pipelined_requests_are_answered_in_their_order(connection: socket.socket, expected: bytes) -> None:
    ping = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
    narrow = head(b"1,2") + b"1,2"
    connection.sendall(head(LARGE) + LARGE + narrow + ping + head(LARGE) + LARGE + narrow)
    assert read_answer(connection) == (200, expected)
    assert read_answer(connection)[0] == 400
    assert read_answer(connection) == (200, b"")
    assert read_answer(connection) == (200, expected)
    assert read_answer(connection)[0] == 400


def test_more_bodies_arrive_at_once_than_have_a_place_of_their_own(server: Server, expected: bytes) -> None:
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(server)) for _ in range(60)]
        for connection in connections:
            connection.sendall(head(LARGE) + LARGE[:50_000])
        time.sleep(0.2)
        for connection in connections:
            connection.sendall(LARGE[50_000:])
        assert [read_answer(connection) for connection in connections] == [(200, expected)] * 60


def test_a_slow_body_is_waited_for(connection: socket.socket, expected: bytes) -> None:
    connection.sendall(head(LARGE))
    for start in range(0, len(LARGE), 50_000):
        time.sleep(0.9)
        connection.sendall(LARGE[start : start + 50_000])
    assert read_answer(connection) == (200, expected)


def test_a_body_that_does_not_come_has_a_deadline(folder: Path) -> None:
    with running(str(folder), MODEL_SERVER_TIMEOUT="2") as server, connect(server) as stuck:
        stuck.sendall(head(LARGE) + LARGE[:1000])
        status, body = read_answer(stuck)
        assert status == 408
        assert "did not arrive within" in json.loads(body)["error"]
        assert stuck.recv(10) == b""


def test_clients_that_leave_in_the_middle_leave_their_place(server: Server, expected: bytes) -> None:
    for _ in range(100):
        with connect(server) as connection:
            connection.sendall(head(LARGE) + LARGE[:50_000])
    with connect(server) as connection:
        connection.sendall(head(LARGE) + LARGE)
        assert read_answer(connection) == (200, expected)


@pytest.mark.parametrize(
    ("data", "status", "says"),
    [
        (b"hello\r\n\r\n", 400, "Invalid method"),
        (b"GET / HTTP/1.1\nHost: x\n\n", 400, "Expected CRLF"),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "too large"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 40_000 + b"\r\n\r\n", 431, "too large"),
        (b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400, "Content-Length"),
        (
            b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
            "",
        ),
    ],
    ids=["no HTTP", "bare line feeds", "long line", "large header", "negative length", "two lengths"],
)
def test_what_is_no_request_is_refused_in_one_sentence(
    connection: socket.socket, data: bytes, status: int, says: str
) -> None:
    connection.sendall(data)
    got, body = read_answer(connection)
    assert got == status
    document = json.loads(body)
    assert set(document) == {"error", "request_id"}
    assert document["error"].startswith("This is not an HTTP/1.1 request that can be read here: ")
    assert says in document["error"]
    assert connection.recv(10) == b"", "and the connection is closed"


def test_statuses_carry_their_own_phrase(connection: socket.socket) -> None:
    connection.sendall(head(b"1", "text/csv", "Accept: image/png") + b"1")
    assert connection.recv(100).startswith(b"HTTP/1.1 406 Not Acceptable\r\n")
