"""The real `serve` command: start, contract, stop, log, what it imports."""

import contextlib
import json
import os
import re
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from ..ports import free_port
from .conftest import ROOT, connect, running, wait_for, wait_until_ready

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
            timeout=300,
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
    for arguments, words in (
        (["--port", "80000"], "--port: must be a port number from 1 to 65535; got '80000'"),
        (["--port", "0"], "--port: must be a port number"),
        (["--port", "http"], "got 'http'"),
        (["--workers", "0"], "--workers: must be a number from 1 to 1000; got '0'"),
        (["--host", "no such host"], "cannot be listened on"),
        (["--host", "192.0.2.1"], "cannot be listened on"),
    ):
        code, text = serve(str(tmp_path), *arguments)
        assert code in (1, 2)
        assert words in text
        assert "Traceback" not in text
    code, text = serve("--version")
    assert code == 0
    assert text.startswith("eigenline ")
    code, text = serve(str(tmp_path), MODEL_SERVER_WORKERS="many")
    assert (code, "MODEL_SERVER_WORKERS must be" in text) == (1, True)


def test_a_port_that_is_taken_ends_with_an_error(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))
        taken.listen()
        done = subprocess.run(
            [sys.executable, "-m", "eigenline.serve.server", str(folder), "--port", str(taken.getsockname()[1])],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert done.returncode == 1
    assert "in use" in done.stderr
    assert done.stderr.count("\n") == 1, "one line"


def test_sigterm_finishes_requests_in_flight_and_hangs_up_on_idle_clients(folder: Path) -> None:
    with running(str(folder), "--workers", "1") as server:
        idle, kept, slow = connect(server), connect(server), connect(server)
        kept.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert kept.recv(1000).startswith(b"HTTP/1.1 200")
        head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nContent-Length: 7\r\n\r\n"
        slow.sendall(head + b"1,2")
        server.wait_for_connections(3)
        server.process.send_signal(signal.SIGTERM)
        assert idle.recv(10) == kept.recv(10) == b"", "hung up on while the slow one is waited for"
        slow.sendall(b",3,4")
        answer = b""
        while piece := slow.recv(4096):
            answer += piece
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"predicted_label" in answer
        assert server.process.wait(300) == 0
        for connection in (idle, kept, slow):
            connection.close()


def test_chunked_bodies_and_many_requests_on_one_connection(folder: Path) -> None:
    with (
        running(str(folder), "--workers", "1") as server,
        connect(server) as connection,
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
        server.process.wait(300)
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


def test_it_listens_on_this_machine_only_unless_told_otherwise(folder: Path) -> None:
    with running(str(folder), "--workers", "1") as server:
        listening = Path("/proc/net/tcp").read_text()
        assert f"0100007F:{server.port:04X}" in listening
        assert f"00000000:{server.port:04X}" not in listening
    with running(str(folder), "--workers", "1", "--host", "0.0.0.0") as server:
        assert f"00000000:{server.port:04X}" in Path("/proc/net/tcp").read_text()
        assert server.invoke() == 200
    assert "--host 0.0.0.0" in (ROOT / "image" / "serve").read_text(), "SageMaker connects from outside"


def test_a_short_timeout_kills_no_healthy_worker(folder: Path) -> None:
    with running(str(folder), "--workers", "2", MODEL_SERVER_TIMEOUT="1") as server:
        before = server.wait_for_workers(2)
        time.sleep(6)
        assert server.workers() == before
        assert "TIMEOUT" not in server.log()


def test_a_worker_that_hangs_is_replaced(folder: Path) -> None:
    with running(str(folder), "--workers", "1", MODEL_SERVER_TIMEOUT="1") as server:
        (hanging,) = server.wait_for_workers(1)
        os.kill(hanging, signal.SIGSTOP)
        wait_for(lambda: server.workers() not in ([hanging], []), server.log)
        wait_until_ready(server)
        assert server.invoke() == 200


as_root = pytest.mark.skipif(not shutil.which("unshare") or os.geteuid() != 0, reason="needs unshare, as root")


@as_root
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("delay", [0, 0.003, 0.01, 0.03, 0.06, 0.15, 0.4, 1.0])
def test_a_signal_to_process_1_ends_it_at_any_time(
    folder: Path, tmp_path: Path, delay: float, number: signal.Signals
) -> None:
    """As in a container, where `serve` is process 1: as soon as the shell that it begins with can be signalled."""
    script = shutil.copy(ROOT / "image" / "serve", tmp_path / "serve")
    (tmp_path / "python").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    (tmp_path / "python").chmod(0o755)
    process = subprocess.Popen(
        ["unshare", "--pid", "--fork", "--mount-proc", script, str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "SAGEMAKER_BIND_TO_PORT": str(free_port())},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        wait_for(lambda: bool(children.read_text().split()), lambda: "unshare started nothing")
        first = int(children.read_text().split()[0])

        def can_be_signalled() -> bool:
            found = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{first}/status").read_text())
            return found is not None and bool(int(found[1], 16) & (1 << (number - 1)))

        while not can_be_signalled():
            time.sleep(0.0005)
        time.sleep(delay)
        os.kill(first, number)
        assert process.wait(300) in (0, 143)
    finally:
        process.kill()


READ_ONLY = """
set -e
mount --make-rprivate /
while read -r _ place _; do mount -o remount,bind,ro "$place" 2>/dev/null || true; done < /proc/mounts
{more}
if touch {folder}/x 2>/dev/null || touch /tmp/x 2>/dev/null; then echo "still writable"; exit 9; fi
exec {command}
"""


def read_only(folder: Path, port: int, more: str) -> subprocess.Popen[bytes]:
    """Start the server where no file system can be written to, but for what `more` mounts."""
    arguments = ["-m", "eigenline.serve.server", str(folder), "--port", str(port), "--workers", "2"]
    command = shlex.join([sys.executable, *arguments])
    return subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", READ_ONLY.format(more=more, folder=folder, command=command)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@as_root
@pytest.mark.parametrize("multi_model", ["false", "true"])
def test_a_read_only_container_serves(folder: Path, multi_model: str) -> None:
    """As docker run --read-only: everything is read-only but the 64 MB of /dev/shm, which Docker always mounts."""
    os.environ["SAGEMAKER_MULTI_MODEL"] = multi_model
    os.environ["SAGEMAKER_BASE_DIR"] = str(folder.parent)
    port = free_port()
    process = read_only(folder, port, "mount -t tmpfs -o size=64m tmpfs /dev/shm")
    try:

        def answers() -> bool:
            assert process.poll() is None, process.communicate()[0].decode()
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/ping") as answer:
                return bool(answer.status == 200)
            return False

        wait_for(answers, lambda: "it does not answer")
        url, kind, body = f"http://127.0.0.1:{port}/invocations", "text/csv", b"1,2,3,4"
        if multi_model == "true":
            load = json.dumps({"model_name": "a", "url": str(folder)}).encode()
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/models", load, {"Content-Type": "application/json"}
            )
            urllib.request.urlopen(request).close()
            url = f"http://127.0.0.1:{port}/models/a/invoke"
        with urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": kind})) as answer:
            assert b"predicted_label" in answer.read()
    finally:
        process.terminate()
        text = process.communicate(timeout=300)[0].decode()
    assert process.returncode == 0
    assert "Traceback" not in text


@as_root
def test_no_place_to_write_at_all_is_one_sentence(folder: Path) -> None:
    process = read_only(folder, free_port(), "mount -t tmpfs -o ro tmpfs /dev/shm")
    text = process.communicate(timeout=300)[0].decode()
    assert process.returncode == 1, text
    assert "--tmpfs /tmp" in text
    assert "Traceback" not in text


def test_no_folder_for_temporary_files_is_no_traceback(folder: Path) -> None:
    """As in a container with --read-only: no file can be written, but /dev/shm may hold empty ones."""

    def no_file_can_grow() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "eigenline.serve.server", str(folder), "--port", str(port), "--workers", "1"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=no_file_can_grow,
    )
    try:
        deadline = time.monotonic() + 300
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/ping") as answer:
                assert answer.status == 200
                break
            time.sleep(0.1)
    finally:
        process.terminate()
        text = process.communicate(timeout=300)[0].decode()
    assert "Traceback" not in text
    assert process.returncode == 0 or (process.returncode == 1 and "--tmpfs /tmp" in text)


def test_metrics_count_over_all_workers_and_never_fall(folder: Path) -> None:
    with running(str(folder), "--workers", "2") as server:
        answered = 'eigenline_requests_total{route="/invocations",status="200"}'
        for _ in range(40):
            assert server.invoke() == 200
        server.call("/invocations", b"1", content_type="text/csv")
        assert server.metric(answered) == 40
        assert server.metric('eigenline_requests_total{route="/invocations",status="400"}') == 1
        assert server.metric('eigenline_request_seconds_bucket{route="/invocations",le="+Inf"}') == 41
        assert server.metric('eigenline_request_seconds_count{route="/invocations"}') == 41
        assert server.metric("eigenline_worker_memory_bytes") > 2e7
        for pid in server.wait_for_workers(2):
            os.kill(pid, signal.SIGKILL)
        wait_until_ready(server)
        assert server.invoke() == 200
        assert server.metric(answered) == 41
        text = server.call("/metrics")[1].decode()
    for line in text.splitlines():
        assert re.fullmatch(r"# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{([a-z]+=\"[^\"]*\",?)*\})? [0-9.e+-]+", line), (
            line
        )
