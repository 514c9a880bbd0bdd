"""Passes over parts on Dask's workers: plain futures, each pinned to the worker that has its part.

What travels is a work and its sums, ten to sixty times per training; nothing else is sent between workers, so no
second way of communication is needed beside Dask's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Final

import numpy as np
from distributed import Client, Future

from eigenline.cluster.parts import Found, Part, Pass, joined

# Above so many bytes a work goes to one worker first, and sums are merged on the workers, two by two.
_LARGE: Final = 1_000_000
_FAN_IN: Final = 8
_SHORTEST_SLEEP, _LONGEST_SLEEP = 0.001, 0.02


class DaskEngine:
    """Runs passes on workers; see `records_on_workers.Engine`.

    Parameters
    ----------
    client
        Of the cluster.
    parts
        Futures of `Part`.
    workers
        The address of each part's worker, where it cannot be another one; None lets Dask choose, and recompute
        what is lost with a worker.
    check
        Called every few milliseconds while a result is awaited; raises where it will never come.
    direct
        Whether the client fetches results from the workers themselves, as `Client.gather`.
    """

    def __init__(
        self,
        client: Client,
        parts: Sequence[Future[Part]],
        workers: Sequence[str] | None = None,
        *,
        check: Callable[[], None] = lambda: None,
        direct: bool | None = None,
    ) -> None:
        self._client = client
        self._parts = parts
        self._workers = workers
        self._check = check
        self._direct = direct

    def head(self, part: int, block_bytes: int) -> Found:
        """Return the first block of a part."""
        found: Found = self._fetch([self._submit(_head, part, self._parts[part], block_bytes)])[0]
        return found

    def total(self, wanted: Pass) -> Found:
        """Make one pass over all parts."""
        sent: Any = wanted
        if _num_bytes(wanted.work) > _LARGE and len(self._parts) > 1:
            sent = self._client.scatter(wanted, hash=False)
        found = [self._submit(_total, place, part, sent) for place, part in enumerate(self._parts)]
        large = _num_bytes(wanted.work.begin()) > _LARGE
        fan_in = 2 if large else _FAN_IN
        while len(found) > fan_in:
            found = [
                group[0] if len(group) == 1 else self._client.submit(_joined, sent, *group, pure=False)
                for group in (found[start : start + fan_in] for start in range(0, len(found), fan_in))
            ]
        return joined(wanted.work, self._fetch(found))

    def _submit(self, task: Callable[..., Found], place: int, *arguments: Any) -> Future[Found]:
        workers = None if self._workers is None else [self._workers[place]]
        return self._client.submit(task, *arguments, workers=workers, pure=False)

    def _fetch(self, futures: Sequence[Future[Found]]) -> list[Found]:
        """Wait for results. Dask itself waits forever for a pinned task whose worker is gone."""
        sleep = _SHORTEST_SLEEP
        while not all(future.status != "pending" for future in futures):
            time.sleep(sleep)
            sleep = min(1.1 * sleep, _LONGEST_SLEEP)
            self._check()
        return list(self._client.gather(list(futures), direct=self._direct))


def _head(part: Part, block_bytes: int) -> Found:
    return part.head(block_bytes)


def _total(part: Part, wanted: Pass) -> Found:
    return part.total(wanted)


def _joined(wanted: Pass, *found: Found) -> Found:
    return joined(wanted.work, found)


def _num_bytes(value: Any) -> int:
    """Return the bytes of the arrays in a work or a sum."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if is_dataclass(value):
        return sum(_num_bytes(getattr(value, part.name, None)) for part in fields(value))
    if isinstance(value, list | tuple):
        return sum(map(_num_bytes, value))
    return 0
