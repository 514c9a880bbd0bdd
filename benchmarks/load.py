"""Load on an HTTP server with wrk: requests per second, latencies, and the CPU that the server spent on each."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


@dataclass(frozen=True)
class Measured:
    """One run of load: latencies in milliseconds, server CPU in microseconds per request."""

    requests_per_second: float
    p50: float
    p99: float
    cpu: float


def put_under_load(
    url: str, body: Path, headers: dict[str, str], connections: int, seconds: int, pid: int
) -> Measured:
    """POST `body` to `url` over and over on `connections` kept-alive connections.

    Raises
    ------
    RuntimeError
        When any answer is not 2xx: figures of refusals mean nothing.
    """
    script = body.with_suffix(".lua")
    lines = [f'local file = io.open("{body}", "rb")', 'wrk.method = "POST"', 'wrk.body = file:read("*a")']
    lines += [f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items()]
    script.write_text("\n".join(lines))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "--latency"]
    before = _cpu_seconds(pid)
    done = subprocess.run(
        [*pinned(1), *command, "-s", str(script), url], capture_output=True, text=True, check=True
    )
    cpu = _cpu_seconds(pid) - before
    text = done.stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise RuntimeError(f"{url}: {text}")
    count = int(_first(r"(\d+) requests in", text))
    return Measured(
        float(_first(r"Requests/sec:\s+([\d.]+)", text)),
        _milliseconds(_first(r"\n\s+50%\s+(\S+)", text)),
        _milliseconds(_first(r"\n\s+99%\s+(\S+)", text)),
        1e6 * cpu / max(count, 1),
    )


def pinned(core: int) -> list[str]:
    """Return the words that hold a command on one core, where the machine has that many."""
    return ["taskset", "-c", str(core)] if len(os.sched_getaffinity(0)) > core else []


def _first(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise RuntimeError(f"wrk said something else than {pattern}: {text}")
    return match[1]


def _milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(number) * _UNITS[unit]


def _cpu_seconds(pid: int) -> float:
    """User and system time of a process and everything below it."""
    total = 0.0
    for process in family(pid):
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [pid]
    for process in found:
        try:
            children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        except OSError:
            continue
        found += [int(child) for child in children]
    return found


def resident_bytes(pid: int) -> int:
    """Return the memory of a process and its descendants, pages that they share counted once (PSS)."""
    total = 0
    for process in family(pid):
        try:
            text = Path(f"/proc/{process}/smaps_rollup").read_text()
        except OSError:
            continue
        total += 1024 * int(_first(r"\nPss:\s+(\d+) kB", text))
    return total
