"""How soon `serve` answers its first /ping, and what imports cost: `python -m benchmarks.bench_serve_start`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.bench_serve import write_model
from benchmarks.timing import interleaved, print_machine, print_table

PORT = 18730


def first_ping(command: list[str]) -> float:
    """Start a server, and return the seconds until /ping was answered with 200."""
    environment = {**os.environ, "SAGEMAKER_CONTAINER_LOG_LEVEL": "ERROR", "OPENBLAS_NUM_THREADS": "1"}
    start = time.perf_counter()
    server = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        while time.perf_counter() - start < 60:
            try:
                with socket.create_connection(("127.0.0.1", PORT), timeout=5) as connection:
                    connection.sendall(b"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    if b" 200 " in connection.recv(1000):
                        return time.perf_counter() - start
            except OSError:
                time.sleep(0.002)
        raise RuntimeError("the server did not start")
    finally:
        server.terminate()
        server.wait(40)


def main() -> None:
    """Time starts of our server, of gunicorn around a bare function, and of Python with our imports alone."""
    print_machine()
    here = sys.executable
    with tempfile.TemporaryDirectory() as temporary:
        folder = write_model(Path(temporary) / "model").parent
        bare = Path(temporary) / "bare.py"
        bare.write_text(
            "def app(environ, start):\n    start('200 OK', [('Content-Length', '0')])\n    return [b'']\n"
        )
        gunicorn = [here, "-m", "gunicorn", f"-b:{PORT}", "-w1", f"--chdir={temporary}", "bare:app"]
        imports = {
            "Python alone": "pass",
            "numpy": "import numpy",
            "Flask": "import flask",
            "all that serve imports": "import eigenline.serve.app, eigenline.serve.worker, gunicorn.app.base",
        }
        waited: dict[str, list[float]] = {"serve": [], "gunicorn around a bare function": []}
        for _ in range(7):
            waited["serve"].append(
                first_ping([here, "-m", "eigenline.serve.server", str(folder), f"--port={PORT}", "--workers=1"])
            )
            waited["gunicorn around a bare function"].append(first_ping(gunicorn))
        rows = [(name, 1000 * sorted(times)[len(times) // 2], 1000 * min(times)) for name, times in waited.items()]
        print_table("First /ping after the start", ("server", "median ms", "least ms"), rows)
        runs = {
            name: (lambda code=code: subprocess.run([here, "-c", code], check=True))
            for name, code in imports.items()
        }
        seconds = interleaved(runs, 7)
        print_table("A Python process that imports", ("what", "ms"), [(k, 1000 * v) for k, v in seconds.items()])


if __name__ == "__main__":
    main()
