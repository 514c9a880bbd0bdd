"""Training on a Dask cluster of the user's: chunks become parts, one worker coordinates, the client waits.

The passes are coordinated by a task on a worker, not by the client: the first sums, samples of records and every
pass's result then travel within the cluster only, and the client may be a laptop far away. What is lost with a
worker is computed again by Dask, the coordination too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError
from typing import Any, Final, NamedTuple, TypeVar
from uuid import uuid4

import dask
import numpy as np
from dask.utils import parse_timedelta
from distributed import Client, Event, Future, KilledWorker, default_client, wait, worker_client
from distributed.comm.core import CommClosedError
from numpy.typing import NDArray

from eigenline.algorithms.errors import UserError
from eigenline.algorithms.records import Records
from eigenline.cluster.dask_chunks import Survey, part_of, survey, survey_of
from eigenline.cluster.dask_engine import DaskEngine
from eigenline.cluster.records_on_workers import RecordsOnWorkers
from eigenline.version import version

Result = TypeVar("Result")

_LOOK: Final = 1.0  # seconds between two looks at the cluster
# In Dask's configuration: how long a cluster may be without any worker.
NO_WORKERS_TIMEOUT: Final = "eigenline.no-workers-timeout"


class Packed(NamedTuple):
    """A channel on the workers.

    Attributes
    ----------
    parts
        One future of a `Part` for each worker.
    first_units
        The place of each part's first chunk.
    """

    parts: list[Future[Any]]
    first_units: list[int]


class UsersCluster:
    """A Dask cluster that somebody else started.

    Parameters
    ----------
    client
        Of the cluster; None for the default one.

    Raises
    ------
    ValueError
        Where there is none.
    """

    def __init__(self, client: Client | None) -> None:
        if client is None:
            try:
                client = default_client()
            except ValueError:
                raise ValueError(
                    "There is no Dask client. Make one, distributed.Client(address), or give it as client=."
                ) from None
        if client.status in ("closing", "closed"):
            raise ValueError("The Dask client is closed. Make another one, distributed.Client(address).")
        self.client: Client = client
        self._limit = parse_timedelta(dask.config.get(NO_WORKERS_TIMEOUT, "60s"))
        self._looked = self._seen = time.monotonic()

    def require_same_version(self) -> None:
        """Refuse workers with another version of this package, or without it."""

        # A function within one travels as its code, so that the worker need not have this package to run it.
        def installed() -> str | None:
            try:
                from eigenline.version import version as here
            except ImportError:
                return None
            return here()

        self._fetch([self.client.submit(_nothing_to_do(), pure=False)])
        for address, found in self._guarded(lambda: self.client.run(installed)).items():
            if found != version():
                has = "has no eigenline" if found is None else f"has eigenline {found}"
                raise ValueError(
                    f"Worker {address} {has}, this process has {version()}. Expected the same version everywhere."
                )

    def computed(self, tasks: Sequence[Any]) -> list[Any]:
        """Return the values of delayed tasks."""
        return self._fetch(self.client.compute(list(tasks)))

    def survey(self, name: str, tasks: Sequence[Any]) -> tuple[list[Future[Any]], Survey]:
        """Compute the pieces of a channel, and return them with what is known of the records."""
        pieces: list[Future[Any]] = self.client.compute(list(tasks))
        return pieces, survey_of(name, self._fetch(self.client.map(survey, pieces, pure=False)))

    def packed(
        self, pieces: Sequence[Future[Any]], dtype: np.dtype[Any], classes: NDArray[Any] | None = None
    ) -> Packed:
        """Make one part of the pieces of each worker."""
        holders = self._guarded(lambda: self.client.who_has(list(pieces)))
        threads = self._guarded(self.client.nthreads)
        somewhere = next(iter(threads), None)
        mine: dict[str | None, list[int]] = {}
        for unit, piece in enumerate(pieces):
            mine.setdefault(next(iter(holders.get(piece.key, ())), somewhere), []).append(unit)
        parts = [
            self.client.submit(
                part_of,
                units,
                dtype,
                classes,
                threads.get(address, 1),
                *(pieces[unit] for unit in units),
                workers=None if address is None else [address],
                allow_other_workers=address is not None,
                pure=False,
            )
            for address, units in mine.items()
        ]
        self._await(parts)
        return Packed(parts, [units[0] for units in mine.values()])

    def coordinate(
        self,
        work: Callable[[Mapping[str, Records]], Result],
        channels: Mapping[str, Packed],
        block_bytes: int | None = None,
    ) -> Result:
        """Call a function on some worker with records that lie on all, and return what it returns.

        Parameters
        ----------
        work
            Called with the records of each channel.
        channels
            As packed.
        block_bytes
            Of passes; None for the usual.

        Raises
        ------
        ValueError
            For what is wrong with the records; where workers die again and again; where none is left.
        """
        stop = Event(f"eigenline-{uuid4().hex}", client=self.client)
        keys = {
            name: ([part.key for part in packed.parts], packed.first_units) for name, packed in channels.items()
        }
        coordination = self.client.submit(_coordinate, work, keys, block_bytes, stop.name, pure=False)
        try:
            result: Result = self._fetch([coordination])[0]
        except BaseException:
            if not coordination.done() and self.client.status == "running":
                stop.set()  # nobody waits for it any more
            raise
        return result

    def _fetch(self, futures: Sequence[Future[Any]]) -> list[Any]:
        self._await(futures)
        return list(self._guarded(lambda: self.client.gather(list(futures))))

    def _await(self, futures: Sequence[Future[Any]]) -> None:
        """Wait, and fail where no worker is left: Dask itself would wait for one forever."""
        self._seen = time.monotonic()
        while True:
            try:
                self._guarded(lambda: wait(list(futures), timeout=_LOOK))
            except TimeoutError:
                self._look()
            else:
                break
        for future in futures:
            if future.status == "error":
                self._guarded(future.result)

    def _look(self) -> None:
        now = time.monotonic()
        if self._guarded(self.client.nthreads):
            self._seen = now
        elif now - self._seen > self._limit:
            raise ValueError(
                f"The Dask cluster of {self._address()} has had no worker for {self._limit:g} seconds. Expected "
                f"at least one; Dask's configuration {NO_WORKERS_TIMEOUT} sets another time."
            )

    def _address(self) -> str:
        scheduler = self.client.scheduler
        return str(scheduler.address) if scheduler is not None else "a scheduler that is gone"

    def _guarded(self, act: Callable[[], Result]) -> Result:
        try:
            return act()
        except UserError as error:
            raise ValueError(str(error)) from None
        except KilledWorker as error:
            raise ValueError(
                f"{error.allowed_failures + 1} workers died one after the other with the same task, the last was "
                f"{error.last_worker.address}. Most likely they ran out of memory: give them more, or use more "
                "workers or smaller chunks. Their logs have the reason."
            ) from None
        except TimeoutError:
            raise
        except (CommClosedError, CancelledError, OSError) as error:
            raise ValueError(
                f"The Dask scheduler was lost, or the client closed, before training was done: {error}"
            ) from error


def _nothing_to_do() -> Callable[[], None]:
    def nothing() -> None:
        return None

    return nothing


def _coordinate(
    work: Callable[[Mapping[str, Records]], Result],
    channels: Mapping[str, tuple[list[str], list[int]]],
    block_bytes: int | None,
    stop_name: str,
) -> Result:
    """Run on a worker; see `UsersCluster.coordinate`."""
    with worker_client() as client:
        stop = Event(stop_name, client=client)
        looked = time.monotonic()

        def check() -> None:
            nonlocal looked
            if time.monotonic() - looked > _LOOK:
                if stop.is_set():
                    raise CancelledError("nobody waits for this training any more")
                looked = time.monotonic()

        channels_here: dict[str, Records] = {}
        for name, (keys, first_units) in channels.items():
            parts = [Future[Any](key, client) for key in keys]  # held by the user's client
            records = RecordsOnWorkers(DaskEngine(client, parts, check=check), first_units)
            records.block_bytes = block_bytes or records.block_bytes
            channels_here[name] = records
        return work(channels_here)
