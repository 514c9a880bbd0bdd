"""Where one request ends and the next begins, on real connections to the real server: every split, every tail."""

import json
import socket
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import Server, connect, make_linear, read_answer, running, write_model

pytestmark = pytest.mark.slow

BODY = b"1,2,3,4\n"
LARGE = BODY * 40_000  # 320 kB: more than one read of most machines
PING = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"


def post(body: bytes, *fields: bytes, target: bytes = b"/invocations", version: bytes = b"1.1") -> bytes:
    lines = [b"POST " + target + b" HTTP/" + version, b"Host: x", b"Content-Type: text/csv", *fields]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", b""]) + body


def chunked(body: bytes, size: int = 7, trailer: bytes = b"") -> bytes:
    head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    return (
        head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n" + trailer + b"\r\n"
    )


# What follows a request on its connection, and the statuses and numbers of predictions that have to come of it.
TAILS = {
    "nothing": (b"", []),
    "a ping": (PING, [(200, 0)]),
    "a plain request": (post(BODY), [(200, 1)]),
    "a chunked one": (chunked(BODY * 2), [(200, 2)]),
    "one for Flask, then a ping": (
        b"GET /execution-parameters HTTP/1.1\r\nHost: x\r\n\r\n" + PING,
        [(200, 0)] * 2,
    ),
    "three": (PING + post(BODY * 3) + PING, [(200, 0), (200, 3), (200, 0)]),
    "a costly one, then a plain one": (
        post(BODY * 30_000, target=b"/invocations?output=contributions") + post(BODY),
        [(200, 30_000), (200, 1)],
    ),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = write_model(tmp_path_factory.mktemp("framing") / "model", make_linear())
    with running(str(folder), "--workers", "1", SAGEMAKER_CONTAINER_LOG_LEVEL="ERROR") as server:
        yield server
        assert "Traceback" not in server.log()


def answers(connection: socket.socket, count: int) -> list[tuple[int, int]]:
    got = []
    for _ in range(count):
        status, body = read_answer(connection)
        got.append((status, body.count(b"predicted_label") or body.count(b"contributions")))
    return got


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("first", ["plain", "chunked"])
def test_every_split_point_of_a_small_request_with_every_tail(server: Server, first: str, tail: str) -> None:
    request = post(BODY) if first == "plain" else chunked(BODY)
    more, expected = TAILS[tail]
    with connect(server) as connection:
        for place in range(1, len(request) + 1):
            connection.sendall(request[:place])
            time.sleep(0.0005)
            connection.sendall(request[place:] + (more if place % 20 == 0 else b""))
            assert answers(connection, 1) == [(200, 1)], place
            if place % 20 == 0:
                assert answers(connection, len(expected)) == expected, place
        connection.sendall(request[:-1])
        connection.sendall(request[-1:] + more)
        assert answers(connection, 1 + len(expected)) == [(200, 1), *expected]


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("cut", [0, 100, 65_536, 262_144, len(LARGE) - 1, len(LARGE)])
def test_a_large_request_with_a_tail_behind_it(server: Server, cut: int, tail: str) -> None:
    more, expected = TAILS[tail]
    data = post(LARGE)
    place = len(data) - len(LARGE) + cut
    with connect(server) as connection:
        connection.sendall(data[:place])
        time.sleep(0.05)
        connection.sendall(data[place:] + more)
        assert answers(connection, 1 + len(expected)) == [(200, 40_000), *expected]


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    parts=st.lists(
        st.sampled_from([PING, post(BODY), chunked(BODY, 3), chunked(BODY, 1, b"X: y\r\n")]), max_size=8
    ),
    cuts=st.lists(st.integers(0, 1000), max_size=12),
)
def test_any_requests_in_any_pieces(server: Server, parts: list[bytes], cuts: list[int]) -> None:
    data = b"".join(parts)
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    with connect(server) as connection:
        for start, stop in pairwise(places):
            connection.sendall(data[start:stop])
            time.sleep(0.0005)
        assert answers(connection, len(parts)) == [(200, int(part != PING)) for part in parts]
        connection.sendall(PING)
        assert answers(connection, 1) == [(200, 0)]


def test_many_pipelined_requests_are_answered_in_order_and_others_have_their_turn(server: Server) -> None:
    with connect(server) as greedy, connect(server) as modest:
        greedy.sendall(PING * 2000 + post(BODY * 2) * 2000)
        modest.sendall(PING)
        assert answers(modest, 1) == [(200, 0)]
        assert answers(greedy, 4000) == [(200, 0)] * 2000 + [(200, 2)] * 2000


def test_a_client_that_does_not_read_is_not_answered_without_end(server: Server) -> None:
    with connect(server) as connection:
        connection.setblocking(False)
        request, sent = post(BODY * 1000), 0
        while sent < 300_000_000:
            try:
                sent += connection.send(request * 10)
                stalled = time.monotonic()
            except BlockingIOError:
                if time.monotonic() - stalled > 1:
                    break
                time.sleep(0.01)
        assert sent < 300_000_000, "the server went on reading"
        assert server.invoke() == 200


@pytest.mark.parametrize(
    ("data", "status", "more"),
    [
        (b"GET /ping HTTP/1.1\r\n\r\n", 400, False),
        (b"GET /ping HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, False),
        (b"GET /ping HTTP/1.1\r\nHost: a b\r\n\r\n", 400, False),
        (b"GET /ping HTTP/1.0\r\n\r\n", 200, False),
        (b"GET /ping HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, True),
        (b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200, False),
        (b"GET /ping HTTP/2.0\r\nHost: x\r\n\r\n", 400, False),
        (b"GET /ping\r\n\r\n", 400, False),
        (b"GET http://x/ping HTTP/1.1\r\nHost: x\r\n\r\n", 200, True),
        (b"GET /p%69ng HTTP/1.1\r\nHost: x\r\n\r\n", 200, True),
        (b"\r\n\r\n" + PING, 200, True),
        (b"\r\n" * 100, 400, False),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404, True),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 405, False),
        (PING.replace(b"Host", b"Connection: Upgrade\r\nUpgrade: h2c\r\nHost"), 200, True),
        (post(BODY, b"Connection: Upgrade", b"Upgrade: websocket"), 200, True),
        (post(BODY, b"Expect: magic"), 417, False),
        (post(BODY, b"Transfer-Encoding: gzip, chunked").replace(b"Content-Length: 8\r\n", b""), 501, False),
        (PING.replace(b"Host", b"Content-Length: " + b"9" * 5000 + b"\r\nHost"), 400, False),
        (PING.replace(b"Host", b"".join(b"X%d: 1\r\n" % n for n in range(101)) + b"Host"), 431, False),
        (chunked(BODY, 2, b"X: " + b"a" * 100_000 + b"\r\n"), 431, False),
        (chunked(BODY).replace(b"\r\n\r\n7\r\n", b"\r\n\r\n7;" + b"a" * 100_000 + b"\r\n"), 431, False),
    ],
    ids=lambda value: repr(value)[:60] if isinstance(value, bytes) else None,
)
def test_the_corners_of_http(server: Server, data: bytes, status: int, *, more: bool) -> None:
    with connect(server) as connection:
        connection.sendall(data)
        assert read_answer(connection)[0] == status
        if more:
            connection.sendall(PING)
            assert read_answer(connection) == (200, b"")
        else:
            assert connection.recv(10) == b""
    assert server.invoke() == 200


def test_a_client_that_sends_no_more_gets_its_answers(server: Server) -> None:
    for data, expected in (
        (post(BODY), [(200, 1)]),
        (post(BODY) + PING, [(200, 1), (200, 0)]),
        (post(BODY * 30_000, target=b"/invocations?output=contributions"), [(200, 30_000)]),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", [(200, 0)]),
    ):
        with connect(server) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            got = answers(connection, len(expected))
            assert [status for status, _ in got] == [status for status, _ in expected]
            assert connection.recv(10) == b""


def test_head_has_the_length_and_not_the_body(server: Server) -> None:
    with connect(server) as connection:
        for path in (b"/ping", b"/", b"/openapi.json", b"/nothing"):
            connection.sendall(b"HEAD " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n" + PING)
            data = b""
            while data.count(b"\r\n\r\n") < 2:
                data += connection.recv(65536)
            assert data.count(b"HTTP/1.1 ") == 2, "nothing between the two heads"
            assert b"ontent-" in data


def test_every_answer_carries_the_security_fields(server: Server) -> None:
    for path in ("/ping", "/", "/openapi.json", "/nothing", "/metrics"):
        headers = {name.lower(): value for name, value in server.call(path)[2].items()}
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "date" in headers


def test_a_refused_client_that_sends_first_sees_why(server: Server) -> None:
    for size in (6 * 1024 * 1024 + 8, 30_000_000):
        status, body, _ = server.call("/invocations", b"1" * size, content_type="text/csv")
        assert status == 413
        assert "MAX_CONTENT_LENGTH" in json.loads(body)["error"]
    with connect(server) as connection:  # no length announced
        connection.sendall(chunked(b"1" * 7_000_000, 70_000))
        assert read_answer(connection)[0] == 413
        assert connection.recv(10) == b""
