"""Where the time of a prediction goes: `python -m benchmarks.bench_serve_parts` (needs `wrk`).

The CPU time of a request is what the real server's worker spends under load, divided by the requests. Its parts in
Python are timed one by one in this process, with the server's own functions on the same bytes. What is left
over is the system's: sockets, copies between kernel and process, and the event loop.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy loads, as `serve` does

import shutil
import tempfile
import timeit
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.bench_serve import TYPES, started, write_bodies, write_model
from benchmarks.load import put_under_load
from benchmarks.serve_peers import peers
from benchmarks.timing import print_machine, print_table
from eigenline.formats.answers import write_answer
from eigenline.formats.content_types import JSON
from eigenline.formats.requests import read_features
from eigenline.serve.app import create_app
from eigenline.serve.front import LONGEST_PLAIN_BODY, Front, headers_of
from eigenline.serve.models import load_model
from eigenline.serve.plain_request import LONGEST_HEAD, PlainRequest, read_plain_request

COLUMNS = (
    "request",
    "CPU in all",
    "HTTP",
    "decode",
    "maths",
    "encode",
    "checks, options, log",
    "system, event loop",
)


def least_microseconds(works: Sequence[Callable[[], object]]) -> list[float]:
    """Return the least time of one call of each, over many calls in turn."""
    timers = [timeit.Timer(work) for work in works]
    counts = [max(1, timer.autorange()[0] // 20) for timer in timers]
    rounds = [[timer.timeit(n) / n for timer, n in zip(timers, counts, strict=True)] for _ in range(25)]
    return [min(times) * 1e6 for times in zip(*rounds, strict=True)]


def parts_of(front: Front, folder: Path, kind: str, body: bytes) -> list[float]:
    """Time HTTP, decoding, maths, encoding, and what else happens between head and answer."""
    head = (
        f"POST /invocations HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Type: {TYPES[kind]}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    first_bytes, size = (head + body)[:LONGEST_HEAD], len(head) + len(body)
    request = read_plain_request(first_bytes, size, LONGEST_PLAIN_BODY)
    assert isinstance(request, PlainRequest)
    model = load_model(folder).linear
    assert model is not None
    features = read_features(body, TYPES[kind], model.feature_dim)
    found = model.predict(features)
    columns = {"score": found.score, "predicted_label": found.predicted_label}
    answer = front.answer(request, body, "127.0.0.1")
    assert answer.status == 200
    head_time, headers_time, decode, maths, encode, whole = least_microseconds(
        [
            lambda: read_plain_request(first_bytes, size, LONGEST_PLAIN_BODY),
            lambda: headers_of(answer),
            lambda: read_features(body, TYPES[kind], model.feature_dim),
            lambda: model.predict(features),
            lambda: write_answer(columns, envelope="predictions", media_type=JSON),
            lambda: front.answer(request, body, "127.0.0.1"),
        ]
    )
    return [head_time + headers_time, decode, maths, encode, max(0.0, whole - decode - maths - encode)]


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
        front = Front(create_app(artifact.parent))
        front.log.on = False  # its lines are written on the event loop, which there is none of here
        with started(ours, work, port) as pid:
            for count in (1, 100):
                for kind, media_type in TYPES.items():
                    url, path = f"http://127.0.0.1:{port}/invocations", work / f"{count}.{kind}"
                    runs = [put_under_load(url, path, {"Content-Type": media_type}, 8, 1, pid) for _ in range(4)]
                    total = min(run.cpu for run in runs[1:])
                    parts = parts_of(front, artifact.parent, kind, path.read_bytes())
                    name = f"{count} record{'s' * (count > 1)} of {kind}, {path.stat().st_size / 1000:.0f} kB"
                    rows.append((name, *(round(part) for part in (total, *parts, total - sum(parts)))))
    print_table("Where the time of a request goes, in microseconds of CPU", COLUMNS, rows)


if __name__ == "__main__":
    main()
