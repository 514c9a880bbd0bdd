"""Hours of mixed load in small: `python -m benchmarks.bench_serve_soak --minutes 30`.

Two workers, twelve connections: single records of CSV, JSON and recordIO, a hundred of each, bodies of 5 MB,
refusals, clients that leave in the middle. Every answer is compared with the one that the first such request got.
Prints the answers that differed (none, if all is well) and each worker's memory per minute.
"""

from __future__ import annotations

import argparse
import random
import socket
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import replace
from pathlib import Path

from benchmarks.bench_serve import TYPES, started, write_bodies, write_model
from benchmarks.load import family, resident_bytes
from benchmarks.serve_peers import peers
from benchmarks.timing import print_machine, print_table

CLIENTS = 12
PORT = 18790


def call(path: str, body: bytes | None, kind: str) -> tuple[int, bytes]:
    """Send one request; returns status and body."""
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", body, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=120) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, b""  # its request id is another one each time


def leave(body: bytes) -> None:
    """Send half of a request, and go."""
    with socket.create_connection(("127.0.0.1", PORT), timeout=30) as connection:
        head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nContent-Length: %d\r\n\r\n"
        connection.sendall(head % len(body) + body[: len(body) // 2])


def requests_of(folder: Path) -> dict[str, tuple[str, bytes | None, str]]:
    """Return name -> path, body, content type of what is sent."""
    found: dict[str, tuple[str, bytes | None, str]] = {}
    for kind, media_type in TYPES.items():
        for rows in (1, 100):
            found[f"{rows} {kind}"] = ("/invocations", (folder / f"{rows}.{kind}").read_bytes(), media_type)
    hundred = (folder / "100.csv").read_bytes()
    found["5 MB"] = ("/invocations", (hundred + b"\n") * 6, TYPES["csv"])
    found["contributions"] = ("/invocations?output=contributions,score", hundred, TYPES["csv"])
    found["too large"] = ("/invocations", b"1" * 7_000_000, TYPES["csv"])
    found["too narrow"] = ("/invocations", b"1,2,3", TYPES["csv"])
    found["ping"] = ("/ping", None, "")
    found["OpenAPI"] = ("/openapi.json", None, "")
    return found


def client(seed: int, sent: dict[str, tuple[str, bytes | None, str]], until: float, counts: Counter[str]) -> None:
    """Send requests in a random order until the end; count those whose answer is another one than it should be."""
    order = random.Random(seed)
    names = [*sent, *[name for name in sent if name.startswith("1 ")] * 10]
    while time.monotonic() < until:
        name = order.choice(names)
        path, body, kind = sent[name]
        if order.random() < 0.02 and body is not None:
            leave(body)
            counts["left in the middle"] += 1
            continue
        answer = call(path, body, kind)
        expected = _expected.setdefault(name, answer)
        counts[f"{name}: {answer[0]}"] += 1
        if answer != expected:
            counts["DIFFERED"] += 1


_expected: dict[str, tuple[int, bytes]] = {}


def main() -> None:
    """Put two workers under load for as long as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    minutes = parser.parse_args().minutes
    print_machine()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        write_bodies(work)
        ours = peers(work / "peers", write_model(work / "model"), range(PORT, PORT + 11))[0]
        ours = replace(ours, command=[*ours.command[:-1], "--workers=2"])
        counts: Counter[str] = Counter()
        memory: list[tuple[object, ...]] = []
        with started(ours, work, PORT) as pid:
            until = time.monotonic() + 60 * minutes
            threads = [
                threading.Thread(target=client, args=(seed, requests_of(work), until, counts))
                for seed in range(CLIENTS)
            ]
            for thread in threads:
                thread.start()
            step = min(60.0, 60 * minutes / 8)
            while any(thread.is_alive() for thread in threads):
                time.sleep(step)
                workers = [resident_bytes(worker) / 1e6 for worker in family(pid)[1:3]]
                memory.append((f"{(time.monotonic() - until) / 60 + minutes:.1f}", *workers))
        print_table("Answers", ("request: status", "how many"), sorted(counts.items()))
        print_table("Memory (PSS), MB", ("minute", "worker 1", "worker 2"), memory)
        print(f"Answers that differed: {counts['DIFFERED']}")


if __name__ == "__main__":
    main()
