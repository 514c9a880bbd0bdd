"""The real `serve` command: start, contract, stop, log, what it imports."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import ROOT, free_port, running, wait_until_ready

pytestmark = pytest.mark.slow
ROW = {"body": b"1,2,3,4", "content_type": "text/csv"}


def test_the_contract_over_real_http(folder: Path) -> None:
    with running(SAGEMAKER_BASE_DIR=str(folder.parent)) as server:
        status, body, headers = server.call("/ping")
        assert (status, body) == (200, b"")
        status, body, headers = server.call("/invocations", **ROW, x_amzn_sagemaker_inference_id="a-1")  # type: ignore[arg-type]
        assert status == 200
        assert set(json.loads(body)["predictions"][0]) == {"score", "predicted_label"}
        assert headers["content-type"] == "application/json"
        assert headers["X-Request-Id"] == "a-1"
        assert server.call("/invocations", b"", content_type="text/csv")[:2] == (204, b"")
        assert server.call("/invocations?output=raw_score", **ROW)[0] == 200  # type: ignore[arg-type]
        assert server.call("/execution-parameters")[0] == 200
        assert server.call("/nothing")[0] == 404
        assert server.call("/invocations")[0] == 405
        assert server.call("/ping", b"", method="POST")[0] == 405
        assert server.call("/endpoints/any/invocations", **ROW)[0] == 200  # type: ignore[arg-type]
        assert server.call("/endpoints/any/invocations", b"1,2", content_type="text/csv")[0] == 424


def test_help_teaches_and_wrong_starts_are_one_sentence(tmp_path: Path) -> None:
    def serve(*arguments: str, **environment: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "eigenline.serve.server", *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    code, text = serve("--help")
    assert code == 0
    for word in ("/opt/ml/model", "curl", "MODEL_SERVER_WORKERS", "SAGEMAKER_BIND_TO_PORT", "chain"):
        assert word in text
    code, text = serve(str(tmp_path))
    assert code == 1
    assert text.startswith("serve: ")
    assert "holds no model" in text
    assert "Traceback" not in text
    assert serve("--port", "0")[0] == 2
    code, text = serve(str(tmp_path), MODEL_SERVER_WORKERS="many")
    assert (code, "MODEL_SERVER_WORKERS must be" in text) == (1, True)


def test_a_port_that_is_taken_ends_with_an_error(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", free_port()))
        taken.listen()
        done = subprocess.run(
            [sys.executable, "-m", "eigenline.serve.server", str(folder), "--port", str(taken.getsockname()[1])],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert "in use" in done.stderr


def test_sigterm_finishes_requests_in_flight_and_hangs_up_on_idle_clients(folder: Path) -> None:
    with running(str(folder), "--workers", "1") as server:
        idle = socket.create_connection(("127.0.0.1", server.port))
        kept = socket.create_connection(("127.0.0.1", server.port))
        kept.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert kept.recv(1000).startswith(b"HTTP/1.1 200")
        slow = socket.create_connection(("127.0.0.1", server.port))
        head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nContent-Length: 7\r\n\r\n"
        slow.sendall(head + b"1,2")
        time.sleep(0.3)
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        time.sleep(1.5)
        slow.sendall(b",3,4")
        answer = b""
        while piece := slow.recv(4096):
            answer += piece
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"predicted_label" in answer
        assert server.process.wait(20) == 0
        assert time.monotonic() - started < 10
        assert idle.recv(10) == b""
        for connection in (idle, kept, slow):
            connection.close()


def test_chunked_bodies_and_many_requests_on_one_connection(folder: Path) -> None:
    with (
        running(str(folder), "--workers", "1") as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection,
    ):
        for _ in range(50):
            connection.sendall(
                b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n3\r\n1,2\r\n4\r\n,3,4\r\n0\r\n\r\n"
            )
            answer = connection.recv(4096)
            assert answer.startswith(b"HTTP/1.1 200")
            assert b"predicted_label" in answer


def test_a_read_only_home_and_no_shared_memory_are_enough(folder: Path, tmp_path: Path) -> None:
    with running(str(folder), HOME="/nonexistent", XDG_RUNTIME_DIR="/nonexistent") as server:
        assert server.invoke() == 200
        opened = [os.readlink(link) for link in Path(f"/proc/{server.process.pid}/fd").iterdir()]
        assert not [name for name in opened if name.startswith("/dev/shm")]


def test_the_log_skips_ping_and_names_requests(folder: Path) -> None:
    with running(str(folder), "--workers", "1") as server:
        wait_until_ready(server)
        server.call("/invocations", **ROW, x_request_id="seen-in-the-log")  # type: ignore[arg-type]
        server.call("/invocations", b"1,2", content_type="text/csv", x_request_id="refused-in-the-log")
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(30)
        text = server.log()
    assert '"POST /invocations" 200' in text
    assert "request_id=seen-in-the-log" in text
    assert "request_id=refused-in-the-log status=400 error=Each record of the request has 2 features" in text
    assert "/ping" not in text


def test_starting_imports_nothing_heavy(folder: Path) -> None:
    code = (
        "import sys, eigenline.serve.server, eigenline.serve.app, eigenline.serve.worker;"
        f"eigenline.serve.app.create_app({str(folder)!r}).test_client().post('/invocations', data=b'1,2,3,4',"
        "content_type='text/csv'); print(*sys.modules)"
    )
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"sklearn", "pandas", "scipy", "matplotlib", "google", "eigenline.container"} & set(modules)
