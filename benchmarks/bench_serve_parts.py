"""Where the time of a prediction goes: `python -m benchmarks.bench_serve_parts` (needs `wrk`).

The CPU time of a request is what the real server's worker spends under load, divided by the requests. Its parts in
Python are timed one by one in this process, with the server's own functions on the same bytes. What is left
over is the system's: sockets, copies between kernel and process, and the event loop.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy loads, as `serve` does

import asyncio
import shutil
import tempfile
import timeit
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from benchmarks.bench_serve import TYPES, started, write_bodies, write_model
from benchmarks.load import put_under_load
from benchmarks.serve_peers import peers
from benchmarks.timing import print_machine, print_table
from eigenline.formats.answers import write_answer
from eigenline.formats.content_types import JSON
from eigenline.formats.requests import read_features
from eigenline.serve.app import create_app
from eigenline.serve.connection import READ_BYTES, Connection
from eigenline.serve.dispatch import Dispatcher
from eigenline.serve.metrics import Metrics
from eigenline.serve.service import Call, Service

COLUMNS = (
    "request",
    "CPU in all",
    "HTTP",
    "decode",
    "maths",
    "encode",
    "checks, options",
    "system, event loop",
)


def least_microseconds(works: Sequence[Callable[[], object]]) -> list[float]:
    """Return the least time of one call of each, over many calls in turn."""
    timers = [timeit.Timer(work) for work in works]
    counts = [max(1, timer.autorange()[0] // 20) for timer in timers]
    rounds = [[timer.timeit(n) / n for timer, n in zip(timers, counts, strict=True)] for _ in range(25)]
    return [min(times) * 1e6 for times in zip(*rounds, strict=True)]


class Nowhere(asyncio.Transport):
    """A client that takes every answer at once."""

    answers: ClassVar[list[bytes]] = []

    def get_extra_info(self, name: str, default: object = None) -> object:
        """Return an address."""
        return ("127.0.0.1", 0) if name == "peername" else default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep the latest answer."""
        self.answers[:] = [bytes(data)]


class Worker:
    """What a connection needs of its worker."""

    stopping = False

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        self.buffer = bytearray(READ_BYTES)
        self.connections: set[Connection] = set()

    def forget(self, connection: Connection) -> None:
        """Nothing ends here."""


def parts_of(service: Service, connection: Connection, kind: str, body: bytes) -> list[float]:
    """Time HTTP, decoding, maths, encoding, and what else happens between head and answer."""
    data = (
        f"POST /invocations HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Type: {TYPES[kind]}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    model = service.model
    assert model is not None
    linear = model.linear
    assert linear is not None
    features = read_features(body, TYPES[kind], model.feature_dim)
    found = linear.predict(features)
    columns = {"score": found.score, "predicted_label": found.predicted_label}

    def request() -> None:
        connection.get_buffer(-1)[: len(data)] = data
        connection.buffer_updated(len(data))

    request()
    assert Nowhere.answers[0].startswith(b"HTTP/1.1 200")
    whole, service_time, decode, maths, encode = least_microseconds(
        [
            request,
            lambda: service.invoke(model, Call(body, TYPES[kind])),
            lambda: read_features(body, TYPES[kind], model.feature_dim),
            lambda: linear.predict(features),
            lambda: write_answer(columns, envelope="predictions", media_type=JSON),
        ]
    )
    other = max(0.0, service_time - decode - maths - encode)
    return [max(0.0, whole - service_time), decode, maths, encode, other]


async def _connected(dispatcher: Dispatcher) -> Connection:
    connection = Connection(Worker(dispatcher))
    connection.connection_made(Nowhere())
    return connection


def main() -> None:
    """Put the server under each kind of request, then time the parts."""
    if shutil.which("wrk") is None:
        print("wrk is not installed: apt-get install wrk")
        return
    print_machine()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        write_bodies(work)
        artifact = write_model(work / "model")
        ours, port = peers(work / "peers", artifact, range(18740, 18750))[0], 18740
        app = create_app(artifact.parent)
        dispatcher = Dispatcher(app, Metrics(1))
        dispatcher.log.on = False
        asyncio.set_event_loop(asyncio.new_event_loop())
        connection = asyncio.get_event_loop().run_until_complete(_connected(dispatcher))
        with started(ours, work, port) as pid:
            for count in (1, 100):
                for kind, media_type in TYPES.items():
                    url, path = f"http://127.0.0.1:{port}/invocations", work / f"{count}.{kind}"
                    runs = [put_under_load(url, path, {"Content-Type": media_type}, 8, 1, pid) for _ in range(4)]
                    total = min(run.cpu for run in runs[1:])
                    parts = parts_of(app.extensions["service"], connection, kind, path.read_bytes())
                    name = f"{count} record{'s' * (count > 1)} of {kind}, {path.stat().st_size / 1000:.0f} kB"
                    rows.append((name, *(round(part) for part in (total, *parts, total - sum(parts)))))
    print_table("Where the time of a request goes, in microseconds of CPU", COLUMNS, rows)


if __name__ == "__main__":
    main()
