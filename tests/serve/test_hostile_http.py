"""Hostile requests to the real server, over every way that a request can take through it: never a 5xx."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eigenline import write_recordio

from .conftest import Server, make_linear, read_answer, running, write_model

pytestmark = pytest.mark.slow

ROWS = np.arange(8, dtype=np.float32).reshape(2, 4)
BODIES = {
    b"text/csv": b"1.5,16,14,23\n-2.0,1e2,.2,9.\n",
    b"application/json": b'{"instances": [{"features": [1.5, 16.0, 14.0, 23.0]}]}',
    b"application/jsonlines": b'{"features": [1, 2, 3, 4]}\n{"data": {"features": {"values": [1, 2, 3, 4]}}}\n',
    b"application/x-recordio-protobuf": write_recordio(ROWS),
}
LINES = [
    b"POST /invocations",
    b"POST /invocations?output=score,contributions&threshold=0.2",
    b"POST /models/a/invoke",
]
LINES += [b"GET /ping", b"GET /", b"GET /openapi.json", b"PUT /invocations", b"POST /ping", b"POST /%2e%2e/x?%00"]
FIELDS = [b"Accept", b"Content-Encoding", b"X-Amzn-SageMaker-Custom-Attributes", b"X-Amzn-SageMaker-Inference-Id"]
FIELDS += [
    b"X-Request-Id",
    b"Connection",
    b"TE",
    b"Transfer-Encoding",
    b"X_Odd",
    b"X-Forwarded-Proto",
    b"Content-Length",
]
VALUES = [
    *BODIES,
    b"*/*",
    b"text/*;q=0.1",
    b"gzip",
    b"keep-alive",
    b"eigenline.output=raw_score",
    b"chunked",
    b"0",
]
REFUSALS = {400, 404, 405, 406, 408, 413, 414, 415, 431, 501}  # 501: a transfer coding that nobody knows

values = st.sampled_from(VALUES) | st.binary(max_size=30)
fields = st.lists(st.tuples(st.sampled_from(FIELDS), values), max_size=4)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = write_model(tmp_path_factory.mktemp("hostile") / "model", make_linear())
    with running(str(folder), "--workers", "1", MODEL_SERVER_TIMEOUT="5") as server:
        yield server
        log = server.log()
        assert "Traceback" not in log, log[max(0, log.index("Traceback") - 500) :][:4000]
        assert "status=500" not in log


def damaged(draw: st.DrawFn, body: bytes) -> bytes:
    changed = bytearray(body)
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, max(0, len(changed) - 1)))
        changed[place : place + draw(st.integers(0, 4))] = draw(st.binary(max_size=5))
    return bytes(changed)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from(sorted(BODIES)))
    body = damaged(draw, BODIES[kind]) * draw(st.sampled_from([1, 1, 1, 5000]))
    head = [draw(st.sampled_from(LINES)) + b" HTTP/1.1", b"Host: x", b"Content-Type: " + kind]
    head += [b"Content-Length: %d" % len(body)]
    head += [name + b": " + value for name, value in draw(fields)]
    return b"\r\n".join([*head, b"", b""]) + body


@settings(
    max_examples=int(os.environ.get("HOSTILE_EXAMPLES", "150")),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=requests(), cut=st.integers(0, 200))
def test_each_request_is_answered_or_refused(server: Server, data: bytes, cut: int) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=15) as connection:
        status = 0  # a body that was announced and never came, or a reset after a refusal
        with contextlib.suppress(AssertionError, OSError):
            connection.sendall(data[:cut])
            connection.sendall(data[cut:])
            connection.settimeout(1)
            status, _ = read_answer(connection)
    assert status in {0, 200, 204} | REFUSALS
    assert server.invoke() == 200


def test_its_memory_stays_bounded(server: Server) -> None:
    (worker,) = server.wait_for_workers(1)
    assert int(Path(f"/proc/{worker}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") < 200_000_000
