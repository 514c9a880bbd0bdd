"""The real `serve` command when workers are killed, clients are slow or many, and bodies are too large."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from eigenline import write_recordio

from .conftest import Server, connect, make_pca, running, wait_for, write_model

pytestmark = pytest.mark.slow


def test_killed_workers_are_replaced_and_lose_only_their_own_requests(folder: Path) -> None:
    with running(str(folder), "--workers", "2") as server:
        stop = threading.Event()
        outcomes: list[int] = []

        def load() -> None:
            while not stop.is_set():
                try:
                    outcomes.append(server.invoke())
                except OSError:
                    outcomes.append(0)

        with ThreadPoolExecutor(4) as pool:
            for _ in range(4):
                pool.submit(load)
            try:
                for kills in range(4):
                    wait_for(lambda kills=kills: outcomes.count(200) >= 100 * (kills + 1), server.log)  # type: ignore[misc]
                    if kills < 3:
                        os.kill(server.wait_for_workers(2)[0], signal.SIGKILL)
            finally:
                stop.set()
        server.wait_for_workers(2)
        assert set(outcomes) <= {200, 0}
        assert outcomes.count(0) <= 3 * 4, "at most what the killed worker held: four clients, three kills"
        assert [server.invoke() for _ in range(20)] == [200] * 20


def test_slow_clients_do_not_stop_others_and_are_hung_up_on(folder: Path) -> None:
    with running(str(folder), "--workers", "1", MODEL_SERVER_TIMEOUT="3") as server:
        silent, headers_only, trickling = [], [], []
        for _ in range(60):
            silent.append(connect(server))
            half = connect(server)
            half.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nX-Slow: ")
            headers_only.append(half)
            body = connect(server)
            body.sendall(
                b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nContent-Length: 6000\r\n\r\n1"
            )
            trickling.append(body)
        for _ in range(50):
            assert server.invoke() == 200
        answers = [connection.recv(4096) for connection in trickling]
        assert all(answer.startswith(b"HTTP/1.1 408") for answer in answers)
        for connection in silent + headers_only:
            assert connection.recv(10) == b"", "hung up on after fifteen seconds of nothing"
        for connection in silent + headers_only + trickling:
            connection.close()


def test_a_thousand_connections(folder: Path) -> None:
    with running(str(folder), "--workers", "1") as server:
        connections = [connect(server) for _ in range(1000)]
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
        connect(server) as connection,
    ):
        ends = time.monotonic() + 17  # longer than the fifteen seconds for the first request's headers
        while time.monotonic() < ends:
            connection.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")


def memory_of(server: Server) -> int:
    """Resident bytes of the largest worker."""
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in server.wait_for_workers(1)]
    return max(pages) * os.sysconf("SC_PAGE_SIZE")


def test_too_large_bodies_are_refused_before_they_are_read(folder: Path) -> None:
    with running(str(folder), "--workers", "1") as server:
        server.invoke()
        before = memory_of(server)
        with connect(server) as announced:
            announced.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
            assert announced.recv(4096).startswith(b"HTTP/1.1 413")
        with connect(server) as chunked:
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
        assert server.invoke() == 200
        assert memory_of(server) - before < 40_000_000


def test_memory_for_waiting_bodies_is_bounded(folder: Path) -> None:
    with running(str(folder), "--workers", "1") as server:
        server.invoke()
        before = memory_of(server)
        head = (
            b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nContent-Length: 6000000\r\n\r\n"
        )
        clients = []
        for _ in range(300):
            client = connect(server)
            client.setblocking(False)
            clients.append(client)
            client.send(head)
        piece = b"1," * 100_000
        for _ in range(20):
            for client in clients:
                with contextlib.suppress(OSError):
                    client.send(piece)
        assert server.call("/ping")[0] == 200
        assert server.invoke() == 200
        assert memory_of(server) - before < 1_300_000_000, "the budget of 1 GiB for bodies, not 300 times 6 MB"
        for client in clients:
            client.close()  # with bytes unread: the connection is reset
        server.wait_for_connections(0)
        assert memory_of(server) - before < 400_000_000, "what the clients had sent has been given up"
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(300) == 0


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


def test_few_descriptors_neither_make_it_deaf_nor_flood_its_log(folder: Path) -> None:
    with running(str(folder), "--workers", "1", descriptors=120) as server:
        idle = [connect(server) for _ in range(300)]
        for _ in range(20):
            assert server.call("/ping")[0] == 200
            assert server.invoke() == 200
        assert len(server.log()) < 20_000
        assert "Traceback" not in server.log()
        for connection in idle:
            connection.close()


def test_the_soft_limit_of_descriptors_is_raised(folder: Path) -> None:
    with running(str(folder), "--workers", "1", descriptors=120, most_descriptors=1000) as server:
        connections = [connect(server) for _ in range(500)]
        for connection in connections:
            connection.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert all(connection.recv(100).startswith(b"HTTP/1.1 200") for connection in connections)
        for connection in connections:
            connection.close()


def slowest_ping(server: Server, work: Callable[[], object]) -> float:
    """Seconds that the slowest of the pings took which were sent while `work` was done."""
    done = threading.Event()
    slowest = 0.0
    thread = threading.Thread(target=lambda: (work(), done.set()))
    thread.start()
    while not done.is_set():
        started = time.monotonic()
        assert server.call("/ping")[0] == 200
        slowest = max(slowest, time.monotonic() - started)
    thread.join()
    return slowest


def test_what_an_answer_costs_is_known_before_it_is_computed(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", make_pca(784, 10))
    with running(str(folder), "--workers", "1") as server:
        empty = write_recordio(csr_array((37_000, 784), dtype=np.float32))
        assert len(empty) < 1_100_000
        kind = "application/x-recordio-protobuf"
        status, body, _ = server.call("/invocations?output=reconstruction", empty, content_type=kind)
        assert status == 400, "one megabyte that would have become six hundred"
        assert b"Send at most" in body
        assert memory_of(server) < 300_000_000
        some = write_recordio(csr_array((5_000, 784), dtype=np.float32))
        got = []
        wait = slowest_ping(
            server,
            lambda: got.append(server.call("/invocations?output=reconstruction", some, content_type=kind)[0]),
        )
        assert got == [200]
        # It was computed in a thread; computed on the event loop, the pings would have waited for all of it.
        assert wait < 30


def test_a_broken_cell_of_a_megabyte_does_not_stop_the_others(folder: Path) -> None:
    with running(str(folder), "--workers", "1") as server:
        for cell in (b"1" * 1_000_000 + b"x", b"1" * 60_000 + b"e", b"-" * 500_000, b'"' * 300_001):
            status, _, _ = server.call("/invocations", cell + b",1,1,1", content_type="text/csv")
            assert status == 400
            assert server.invoke() == 200
        assert "TIMEOUT" not in server.log()
