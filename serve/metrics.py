"""Counters of requests and their times over all workers, in shared memory: `GET /metrics`, for Prometheus."""

from __future__ import annotations

import mmap
import os
from bisect import bisect_left
from pathlib import Path
from typing import Final

# Upper bounds in seconds; the last bucket has none.
_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
# A fixed set: a label taken from requests would grow without bound.
ROUTES: Final = ("/invocations", "/models/{model_name}/invoke", "/ping", "other")
_STATUSES: Final = (
    *(200, 204, 400, 403, 404, 405, 406, 408, 409, 413, 414, 415, 417, 424, 431, 500, 501, 503, 507),
    0,  # any other
)
_PLACE: Final = {status: place for place, status in enumerate(_STATUSES)}
# Of each route: requests per status, requests per bucket, microseconds.
_ROUTE_WORDS: Final = len(_STATUSES) + len(_BUCKETS) + 2
_PROCESS, _CONNECTIONS, _FIRST_ROUTE = 0, 1, 2
_WORDS: Final = _FIRST_ROUTE + len(ROUTES) * _ROUTE_WORDS


class Metrics:
    """Counters in memory that forked processes share.

    Each worker adds to a slot of its own, so nothing is locked; a worker that replaces another continues in that
    slot, so no counter ever falls.

    Parameters
    ----------
    slots
        The most workers at a time.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._words = memoryview(mmap.mmap(-1, slots * _WORDS * 8)).cast("Q")
        self._start = 0

    def use_slot(self, slot: int) -> None:
        """Count in this slot from now on: the one of this process."""
        self._start = slot % self._slots * _WORDS
        self._words[self._start + _PROCESS] = os.getpid()

    def leave_slot(self, slot: int) -> None:
        """Forget the process of a slot, which has ended; its counters stay."""
        start = slot % self._slots * _WORDS
        self._words[start + _PROCESS] = self._words[start + _CONNECTIONS] = 0

    def count(self, route: int, status: int, seconds: float) -> None:
        """Count one answered request; `route` is a place in `ROUTES`."""
        words = self._words
        start = self._start + _FIRST_ROUTE + route * _ROUTE_WORDS
        words[start + _PLACE.get(status, len(_STATUSES) - 1)] += 1
        start += len(_STATUSES)
        words[start + bisect_left(_BUCKETS, seconds)] += 1
        words[start + len(_BUCKETS) + 1] += int(seconds * 1e6)

    def set_connections(self, count: int) -> None:
        """Note how many connections this process has."""
        self._words[self._start + _CONNECTIONS] = count

    def text(self) -> str:
        """Return all workers' counters in Prometheus' text format, version 0.0.4."""
        totals = [sum(self._words[word::_WORDS].tolist()) for word in range(_WORDS)]
        lines = [
            "# HELP eigenline_requests_total Requests that were answered.",
            _type("requests_total", "counter"),
        ]
        for number, route in enumerate(ROUTES):
            start = _FIRST_ROUTE + number * _ROUTE_WORDS
            lines += [
                f'eigenline_requests_total{{route="{route}",status="{status or "other"}"}} {totals[start + place]}'
                for place, status in enumerate(_STATUSES)
                if totals[start + place]
            ]
        lines += [
            "# HELP eigenline_request_seconds Time from a request's last header to its answer.",
            _type("request_seconds", "histogram"),
        ]
        for number, route in enumerate(ROUTES):
            start, count = _FIRST_ROUTE + number * _ROUTE_WORDS + len(_STATUSES), 0
            for place, bound in enumerate((*map(str, _BUCKETS), "+Inf")):
                count += totals[start + place]
                lines.append(f'eigenline_request_seconds_bucket{{route="{route}",le="{bound}"}} {count}')
            seconds = totals[start + len(_BUCKETS) + 1] / 1e6
            lines.append(f'eigenline_request_seconds_sum{{route="{route}"}} {seconds}')
            lines.append(f'eigenline_request_seconds_count{{route="{route}"}} {count}')
        lines += ["# HELP eigenline_connections Open connections.", _type("connections", "gauge")]
        lines += [f"eigenline_connections {totals[_CONNECTIONS]}"]
        lines += [
            "# HELP eigenline_worker_memory_bytes Resident memory of a worker process, shared pages included.",
            _type("worker_memory_bytes", "gauge"),
        ]
        for slot in range(self._slots):
            resident = _resident_bytes(self._words[slot * _WORDS + _PROCESS])
            if resident is not None:
                lines.append(f'eigenline_worker_memory_bytes{{worker="{slot}"}} {resident}')
        return "\n".join([*lines, ""])


def _type(name: str, kind: str) -> str:
    return f"# TYPE eigenline_{name} {kind}"


def _resident_bytes(process: int) -> int | None:
    """Return the resident memory of a process that lives."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
