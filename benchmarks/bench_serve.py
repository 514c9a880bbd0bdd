"""Requests per second, latency and CPU of one worker beside other servers: `python -m benchmarks.bench_serve`.

With --before CHECKOUT (`git worktree add ../before COMMIT`), beside this server as another commit has it.

Needs `wrk` (Debian's package). With --install, makes an environment for each peer below --peers, which takes
minutes; without it, peers that have none are left out.
All servers run at once, each on one core with one worker; they are put under load in turn, never together.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np

from benchmarks.load import Measured, pinned, put_under_load, resident_bytes
from benchmarks.serve_peers import Peer, before, install, is_installed, peers
from benchmarks.timing import print_machine, print_table
from eigenline import write_recordio
from eigenline.algorithms.linear_learner.model import LinearLearnerModel
from eigenline.formats.artifact.model_file import write_artifact

FEATURES = 784
TYPES = {"csv": "text/csv", "json": "application/json", "recordio": "application/x-recordio-protobuf"}
EVERYTHING = [(rows, kind, many) for many in (8, 1, 64) for rows in (1, 100) for kind in TYPES]


def write_bodies(folder: Path) -> None:
    """Write requests of 1 and 100 records of grey values in [0, 1), as MNIST's walkthroughs send them."""
    pixels = np.random.default_rng(0).integers(0, 256, (100, FEATURES)).astype(np.float32) / 256
    for rows in (1, 100):
        texts = ["[" + ", ".join(map(repr, row)) + "]" for row in pixels[:rows].tolist()]
        (folder / f"{rows}.json").write_text(
            '{"instances": [' + ", ".join(f'{{"features": {text}}}' for text in texts) + "]}"
        )
        (folder / f"{rows}.csv").write_text("\n".join(text[1:-1].replace(" ", "") for text in texts))
        (folder / f"{rows}.recordio").write_bytes(write_recordio(pixels[:rows]))


def write_model(folder: Path) -> Path:
    """Write the artifact of a binary classifier of 784 features."""
    weights = np.random.default_rng(1).normal(size=(FEATURES, 1)).astype(np.float32) / 30
    model = LinearLearnerModel(weights, np.zeros(1, np.float32), "binary_classifier", "logistic")
    folder.mkdir()
    (folder / "model_algo-1").write_bytes(write_artifact(model))
    return folder / "model_algo-1"


@contextmanager
def started(peer: Peer, folder: Path, port: int) -> Iterator[int]:
    """Run a server and wait until it listens; yields its process id."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "BENTOML_DO_NOT_TRACK": "true"}
    environment["PYTHONPATH"] = str(peer.root) if not peer.packages else ""
    with (folder / f"{peer.name}.log").open("wb") as log:
        process = subprocess.Popen(
            [*pinned(0), *peer.command],
            cwd=folder if peer.packages else peer.root,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            _wait_for(port, process, folder / f"{peer.name}.log")
            yield process.pid
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what some servers leave behind


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"{log.stem} did not start: {log.read_text()[-2000:]}")


def measure(
    cases: list[tuple[int, str, int]],
    folder: Path,
    seconds: int,
    rounds: int,
    *,
    with_install: bool,
    checkout: Path | None,
) -> None:
    """Print one table per case."""
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        work = Path(temporary)
        write_bodies(work)
        ports = range(18700, 18711)
        servers = []
        artifact = write_model(work / "model")
        compared = peers(folder, artifact, ports)
        if checkout is not None:
            compared = [compared[0], before(checkout, artifact, ports[10])]
        for peer in compared:
            number = 10 if peer.name == "before" else compared.index(peer)
            if with_install:
                install(peer, folder)
            if not is_installed(peer, folder):
                print(f"{peer.name} is left out: not installed (--install does that; the Java server needs Java)")
                continue
            servers.append((peer, ports[number], stack.enter_context(started(peer, folder, ports[number]))))
        for rows, kind, connections in cases:
            table: dict[str, list[Measured]] = {}
            for round_number in range(rounds + 1):  # the first one warms up
                for peer, port, pid in servers:
                    if peer.only_json and kind != "json":
                        continue
                    url, headers = (
                        f"http://127.0.0.1:{port}/invocations",
                        {"Content-Type": TYPES[kind]},
                    )
                    length = seconds if round_number else 1
                    run = put_under_load(url, work / f"{rows}.{kind}", headers, connections, length, pid)
                    if round_number:
                        table.setdefault(peer.name, []).append(run)
            _print_case(f"{rows} record{'s' * (rows > 1)} of {kind}, {connections} connections", table)
        print_table(
            "Memory of each server after all that (PSS)",
            ("server", "MB"),
            [(peer.name, resident_bytes(pid) / 1e6) for peer, _, pid in servers],
        )


def _print_case(title: str, table: dict[str, list[Measured]]) -> None:
    def median(name: str, field: str) -> float:
        return statistics.median(getattr(run, field) for run in table[name])

    first = median("eigenline", "requests_per_second")
    rows = [
        (
            name,
            round(median(name, "requests_per_second")),
            f"{first / max(median(name, 'requests_per_second'), 0.1):.2f}x",  # 0: nothing in the whole time
            median(name, "p50"),
            median(name, "p99"),
            round(median(name, "cpu")),
        )
        for name in table
    ]
    print_table(title, ("server", "requests/s", "eigenline is", "p50 ms", "p99 ms", "CPU us/request"), rows)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, default=Path(tempfile.gettempdir()) / "serve-peers")
    parser.add_argument("--before", type=Path, help="compare with another checkout of this repository alone")
    parser.add_argument("--install", action="store_true", help="make the peers' environments first")
    parser.add_argument("--cases", help="for example 1:csv:8,100:recordio:8; all by default")
    parser.add_argument("--seconds", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()
    if shutil.which("wrk") is None:
        print("wrk is not installed: apt-get install wrk")
        return
    cases = EVERYTHING
    if given.cases:
        parts = [case.split(":") for case in given.cases.split(",")]
        cases = [(int(rows), kind, int(connections)) for rows, kind, connections in parts]
    print_machine()
    measure(
        cases,
        given.peers.resolve(),
        given.seconds,
        given.rounds,
        with_install=given.install,
        checkout=given.before.resolve() if given.before else None,
    )


if __name__ == "__main__":
    main()
