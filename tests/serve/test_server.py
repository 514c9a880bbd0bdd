"""The real `serve` command: start, stop, crashes, slow and many clients, bodies that are too large."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .conftest import ROOT, Server, free_port, make_linear, make_pca, running, wait_until_ready, write_model

pytestmark = pytest.mark.slow
ROW = {"body": b"1,2,3,4", "content_type": "text/csv"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model", make_linear())


def invoke(server: Server) -> int:
    return server.call("/invocations", **ROW)[0]  # type: ignore[arg-type]


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
            [sys.executable, "-m", "serve.server", *arguments],
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
            [sys.executable, "-m", "serve.server", str(folder), "--port", str(taken.getsockname()[1])],
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


def test_killed_workers_are_replaced_and_lose_only_their_own_requests(folder: Path) -> None:
    with running(str(folder), "--workers", "2") as server:
        stop = threading.Event()
        outcomes: list[int] = []

        def load() -> None:
            while not stop.is_set():
                try:
                    outcomes.append(invoke(server))
                except OSError:
                    outcomes.append(0)

        with ThreadPoolExecutor(4) as pool:
            for _ in range(4):
                pool.submit(load)
            for _ in range(3):
                time.sleep(0.7)
                os.kill(server.workers()[0], signal.SIGKILL)
            time.sleep(1.5)
            stop.set()
        assert len(server.workers()) == 2
        assert set(outcomes) <= {200, 0}
        assert outcomes.count(0) <= 3 * 4, "at most what the killed worker held: four clients, three kills"
        assert outcomes.count(200) > 100
        assert [invoke(server) for _ in range(20)] == [200] * 20


def test_slow_clients_do_not_stop_others_and_are_hung_up_on(folder: Path) -> None:
    with running(str(folder), "--workers", "1", MODEL_SERVER_TIMEOUT="3") as server:
        silent, headers_only, trickling = [], [], []
        for _ in range(60):
            silent.append(socket.create_connection(("127.0.0.1", server.port)))
            half = socket.create_connection(("127.0.0.1", server.port))
            half.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nX-Slow: ")
            headers_only.append(half)
            body = socket.create_connection(("127.0.0.1", server.port))
            body.sendall(
                b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nContent-Length: 6000\r\n\r\n1"
            )
            trickling.append(body)
        times = []
        for _ in range(50):
            started = time.monotonic()
            assert invoke(server) == 200
            times.append(time.monotonic() - started)
        assert sorted(times)[25] < 0.1
        time.sleep(3.5)
        answers = [connection.recv(4096) for connection in trickling]
        assert all(answer.startswith(b"HTTP/1.1 408") for answer in answers)
        time.sleep(12)
        for connection in silent + headers_only:
            connection.settimeout(1)
            assert connection.recv(10) == b"", "hung up on after fifteen seconds of nothing"
        for connection in silent + headers_only + trickling:
            connection.close()


def test_a_thousand_connections(folder: Path) -> None:
    with running(str(folder), "--workers", "1") as server:
        connections = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(1000)]
        request = (
            b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nContent-Length: 7\r\n\r\n1,2,3,4"
        )
        for connection in connections:
            connection.sendall(request)
        answers = [connection.recv(4096) for connection in connections]
        assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)
        for connection in connections:
            connection.close()


def test_a_busy_connection_is_never_hung_up_on(folder: Path) -> None:
    with (
        running(str(folder), "--workers", "1", SAGEMAKER_CONTAINER_LOG_LEVEL="ERROR") as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection,
    ):
        ends = time.monotonic() + 17  # longer than the fifteen seconds for the first request's headers
        while time.monotonic() < ends:
            connection.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")


def memory_of(server: Server) -> int:
    """Resident bytes of the largest worker."""
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in server.workers()]
    return max(pages) * os.sysconf("SC_PAGE_SIZE")


def test_too_large_bodies_are_refused_before_they_are_read(folder: Path) -> None:
    with running(str(folder), "--workers", "1") as server:
        invoke(server)
        before = memory_of(server)
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as announced:
            announced.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
            assert announced.recv(4096).startswith(b"HTTP/1.1 413")
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as chunked:
            chunked.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            sent = 0
            answer = b""
            chunked.setblocking(True)
            try:
                while sent < 60_000_000:
                    chunked.sendall(b"10000\r\n" + b"1" * 0x10000 + b"\r\n")
                    sent += 0x10000
                answer = chunked.recv(4096)
            except OSError:
                answer = b"HTTP/1.1 413 (and the connection was reset)"
            assert answer.startswith(b"HTTP/1.1 413")
        assert invoke(server) == 200
        assert memory_of(server) - before < 40_000_000


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


def test_memory_for_waiting_bodies_is_bounded(folder: Path) -> None:
    with running(str(folder), "--workers", "1") as server:
        invoke(server)
        before = memory_of(server)
        head = (
            b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nContent-Length: 6000000\r\n\r\n"
        )
        clients = []
        for _ in range(300):
            client = socket.create_connection(("127.0.0.1", server.port), timeout=10)
            client.setblocking(False)
            clients.append(client)
            client.send(head)
        piece = b"1," * 100_000
        for _ in range(20):
            for client in clients:
                with contextlib.suppress(OSError):
                    client.send(piece)
        time.sleep(1)
        assert memory_of(server) - before < 1_300_000_000, "the budget of 1 GiB for bodies, not 300 times 6 MB"
        started = time.monotonic()
        assert server.call("/ping")[0] == 200
        assert invoke(server) == 200
        assert time.monotonic() - started < 3, "small requests do not wait for the large ones"
        for client in clients:
            client.close()  # with bytes unread: the connection is reset
        time.sleep(12)  # until those that wait for memory have been given up
        server.process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        assert server.process.wait(30) == 0
        assert time.monotonic() - started < 10, "no connection was left behind"


def test_many_preloaded_workers_use_blas_without_hanging(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", make_pca(2000, 100))
    for threads in ("1", "4"):
        with running(str(folder), "--workers", "6", OPENBLAS_NUM_THREADS=threads) as server:
            body = b"\n".join([b",".join([b"1"] * 2000)] * 20)
            with ThreadPoolExecutor(8) as pool:
                statuses = list(
                    pool.map(
                        lambda body: server.call("/invocations", body, content_type="text/csv")[0], [body] * 60
                    )
                )
            assert statuses == [200] * 60


def test_a_read_only_home_and_no_shared_memory_are_enough(folder: Path, tmp_path: Path) -> None:
    with running(str(folder), HOME="/nonexistent", XDG_RUNTIME_DIR="/nonexistent") as server:
        assert invoke(server) == 200
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
        "import sys, serve.server, serve.app, serve.front; from pathlib import Path;"
        f"serve.app.create_app({str(folder)!r}).test_client().post('/invocations', data=b'1,2,3,4',"
        "content_type='text/csv'); print(*sorted(name for name in sys.modules if '.' not in name))"
    )
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"sklearn", "pandas", "scipy", "matplotlib", "google", "container"} & set(modules)
