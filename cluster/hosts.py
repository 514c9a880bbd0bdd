"""The hosts of one job: the first leads, with Dask's scheduler and a worker in its own process; the others work.

Each host listens on one address and at fixed ports, so that a security group can name them, and Dask's HTTP
servers, which cannot be switched off, listen on the loopback interface. All hosts end together: the leader sends
every worker the outcome, and a worker whose connection to the leader ends without one fails. A host that is lost
fails the job, because nobody replaces it; the checkpoint is what makes that cheap.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import dask
import psutil
from distributed import Client, Future, Scheduler, Security, Status, Worker, get_worker
from distributed.diagnostics.plugin import SchedulerPlugin, WorkerPlugin

from eigenline.algorithms.errors import UserError
from eigenline.cluster.dask_engine import DaskEngine
from eigenline.cluster.dask_settings import dask_settings
from eigenline.cluster.parts import Part

Result = TypeVar("Result")

# Chosen: the built-in algorithms' own port between hosts, so existing security groups let it through.
SCHEDULER_PORT: Final = 9000
WORKER_PORT: Final = 9001
PATIENCE_SECONDS: Final = 300.0
DONE: Final = "done"
_LOOPBACK: Final = "127.0.0.1:0"
_POLL_SECONDS: Final = 0.1
_PLUGIN: Final = "eigenline"
_STOP: Final = "eigenline-stop"  # the topic of a host that was asked to stop
_CONNECT: Final = (
    f"The hosts of a job must be able to connect to each other on ports {SCHEDULER_PORT} and {WORKER_PORT} "
    "(security group: allow all traffic between its members)."
)


class HostLost(UserError):  # noqa: N818 -- names what happened, not a kind of error
    """Another host of the job did not come up, is gone, or did not succeed."""


@dataclass(frozen=True)
class Host:
    """A host among the hosts of its job.

    Attributes
    ----------
    name, names
        Its own, and those of all; the first in the order of the alphabet leads.
    interface
        The network interface between the hosts, for names that mean the loopback interface; may be empty.
    patience_seconds
        Within which all hosts must have come.
    """

    name: str
    names: tuple[str, ...]
    interface: str = ""
    patience_seconds: float = field(default_factory=lambda: PATIENCE_SECONDS)

    @property
    def first(self) -> str:
        """The host that leads."""
        return min(self.names)

    def address(self, deadline: float) -> str:
        """Return the address that this host listens on."""
        address = resolved(self.name, deadline)
        if not address.startswith("127."):
            return address
        # Some machines' own names mean the loopback interface, on which nobody else could reach them.
        found = psutil.net_if_addrs().get(self.interface, ())
        return next((one.address for one in found if one.family == socket.AF_INET), address)


def resolved(name: str, deadline: float) -> str:
    """Return a host's IPv4 address; names of hosts that start at the same time are not known at once.

    Raises
    ------
    HostLost
        Where there is none at the deadline.
    """
    while True:
        try:
            return str(socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)[0][4][0])
        except (OSError, UnicodeError) as error:
            if time.monotonic() > deadline:
                raise HostLost(f"The name of host {name} has no address: {error}.") from error
            time.sleep(_POLL_SECONDS)


class Leader:
    """The first host's end.

    Parameters
    ----------
    host
        This one.
    here
        What tasks on this host find as `here()`.
    stopping
        True once this host was asked to stop; the others are then asked too.
    request_stop
        Called on a host when the leader was asked to stop.

    Raises
    ------
    HostLost
        Where a port cannot be opened.
    """

    def __init__(
        self, host: Host, here: Any, stopping: Callable[[], bool], request_stop: Callable[[], None]
    ) -> None:
        self._host = host
        self._stopping = stopping
        self._told_to_stop = False
        self._ended = False
        self._loop = _Loop()
        self._lost = _LostHosts()
        deadline = time.monotonic() + host.patience_seconds
        address = host.address(deadline)
        try:
            self._scheduler = self._loop.run(_scheduler(address, self._lost))
            self._worker = self._loop.run(
                _worker(host, address, self._scheduler.address, here, request_stop, self._loop.folder)
            )
        except (OSError, RuntimeError) as error:
            raise HostLost(
                f"Host {host.name}, which leads, cannot listen on {address}, ports {SCHEDULER_PORT} and "
                f"{WORKER_PORT}: {_reason(error)}."
            ) from error
        self._client = Client(self._scheduler.address, set_as_default=False, timeout=60, security=Security())
        self._addresses: dict[str, str] | None = None
        self._deadline = deadline

    @property
    def addresses(self) -> Mapping[str, str]:
        """Dask's address of each host's worker; the first time, all hosts are waited for.

        Raises
        ------
        HostLost
            Where a host does not come, or is gone again.
        """
        while self._addresses is None:
            found = self._workers()
            missing = sorted(set(self._host.names) - set(found))
            if not missing:
                self._addresses = {name: found[name] for name in sorted(found)}
            elif time.monotonic() > self._deadline:
                several = len(missing) > 1
                raise HostLost(
                    f"Host{'s' * several} {', '.join(missing)} did not come up within "
                    f"{self._host.patience_seconds:.0f} seconds. {_CONNECT}"
                )
            else:
                self.check()
                time.sleep(_POLL_SECONDS / 4)
        return self._addresses

    def on(self, name: str, task: Callable[..., Result], *arguments: Any) -> Result:
        """Run a task on one host and return its result; what it raises is raised."""
        future = self._client.submit(task, *arguments, workers=[self.addresses[name]], pure=False)
        while future.status == "pending":
            time.sleep(_POLL_SECONDS / 50)
            self.check()
        result: Result = future.result()
        return result

    def engine(self, parts: Sequence[tuple[str, Callable[[], Part]]]) -> DaskEngine:
        """Return what runs passes on the hosts named, each with a part that is made there."""
        workers = [self.addresses[name] for name, _ in parts]
        made: list[Future[Part]] = [
            self._client.submit(make, workers=[worker], pure=False)
            for (_, make), worker in zip(parts, workers, strict=True)
        ]
        return DaskEngine(self._client, made, workers, check=self.check, direct=True)

    def check(self) -> None:
        """Raise where a host is lost; ask the others to stop where this one was asked.

        Raises
        ------
        HostLost
            Naming the host.
        """
        if self._lost.names and not self._ended:
            raise HostLost(
                f"Host {self._lost.names[0]} was lost (killed, or out of memory?); its own failure file or log "
                "says why. A job with checkpoints goes on from the newest one, with any number of hosts."
            )
        if not self._told_to_stop and (self._stopping() or self._scheduler.get_events(_STOP)):
            self._told_to_stop = True
            self._client.run(_stop, wait=False)

    def end(self, failure: str = "") -> None:
        """Tell all hosts that the job succeeded, or why not; those still to come are waited for."""
        self._ended = True
        patience = 0.0 if self._lost.names else self._host.patience_seconds
        deadline = min(self._deadline, time.monotonic() + patience)
        while (
            len(self._workers()) < len(self._host.names) and time.monotonic() < deadline and not self._stopping()
        ):
            time.sleep(_POLL_SECONDS)
        others = [address for name, address in self._workers().items() if name != self._host.name]
        if others:
            with suppress(OSError, TimeoutError):  # those that are gone by now do not need to know
                self._client.run(_end, failure or DONE, workers=others, on_error="ignore")
        self._loop.close()

    def _workers(self) -> dict[str, str]:
        return {str(worker.name): address for address, worker in list(self._scheduler.workers.items())}


def follow(
    host: Host,
    here: Any,
    stopping: Callable[[], bool],
    request_stop: Callable[[], None],
    log: Callable[[str], None] = lambda text: None,
) -> None:
    """Work for the leader until it says how the job ended.

    Parameters
    ----------
    host, here, stopping, request_stop
        As those of `Leader`; it is told of a stop, which is one for all hosts.
    log
        Receives a sentence once the leader was reached.

    Raises
    ------
    HostLost
        Where the leader cannot be reached, is gone, or says that the job failed.
    """
    deadline = time.monotonic() + host.patience_seconds
    loop = _Loop()
    own, first = host.address(deadline), resolved(host.first, deadline)
    scheduler = f"{_protocol()}://{first}:{SCHEDULER_PORT}"
    try:
        worker = loop.run(_worker(host, own, scheduler, here, request_stop, loop.folder))
    except (OSError, RuntimeError, TimeoutError) as error:
        raise HostLost(
            f"Host {host.first}, which leads, was not reached from {own} on port {SCHEDULER_PORT} within "
            f"{host.patience_seconds:.0f} seconds: {_reason(error)}. {_CONNECT}"
        ) from error
    log(f"Connected to {host.first}.")
    plugin = _plugin(worker)
    told_to_stop = False
    # Not `worker.finished()`: that waits for the pass under way.
    while not plugin.outcome and worker.status == Status.running:
        if stopping() and not told_to_stop:
            told_to_stop = True
            worker.log_event(_STOP, host.name)
        time.sleep(_POLL_SECONDS)
    loop.close()
    if plugin.outcome != DONE:
        reason = plugin.outcome or "it ended without a word (killed, or out of memory)"
        raise HostLost(f"Host {host.first}, which leads, failed: {reason}")


def here() -> Any:
    """Return, in a task, what its host was given as `here`."""
    return _plugin(get_worker()).here


class _Loop:
    """An event loop on a thread of its own, in which Dask's servers live."""

    def __init__(self) -> None:
        for name in ("distributed", "tornado", "asyncio"):
            # A closed connection is an outcome here, of which a host writes one sentence.
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        self._settings = dask_settings()
        self._settings.__enter__()
        self.folder = Path(tempfile.mkdtemp(prefix="eigenline-"))
        dask.config.set({"temporary-directory": str(self.folder)})
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True, name="dask").start()

    def close(self) -> None:
        """Remove what Dask's servers wrote; they end with this process."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine there and return its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


class _LostHosts(SchedulerPlugin):
    """Notices at once when a worker is gone."""

    name = _PLUGIN

    def __init__(self) -> None:
        self.names: list[str] = []
        self._known: dict[str, str] = {}

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """Remember the worker's name."""
        self._known[worker] = str(scheduler.workers[worker].name)

    def remove_worker(self, scheduler: Scheduler, worker: str, **details: Any) -> None:
        """Note that it is gone."""
        self.names.append(self._known.get(worker, worker))


class _HostPlugin(WorkerPlugin):
    """What tasks find on their host, and the outcome that the leader leaves there."""

    name = _PLUGIN

    def __init__(self, here: Any, request_stop: Callable[[], None]) -> None:
        self.here = here
        self.request_stop = request_stop
        self.outcome = ""


def _plugin(worker: Worker) -> _HostPlugin:
    plugin = worker.plugins[_PLUGIN]
    assert isinstance(plugin, _HostPlugin)
    return plugin


async def _stop(dask_worker: Worker) -> None:  # only what is asynchronous need not be waited for
    _plugin(dask_worker).request_stop()


def _end(outcome: str, dask_worker: Worker) -> None:
    _plugin(dask_worker).outcome = outcome


def _protocol() -> str:
    return "tls" if Security().require_encryption else "tcp"


async def _scheduler(address: str, lost: _LostHosts) -> Scheduler:
    return await Scheduler(
        host=address,
        port=SCHEDULER_PORT,
        protocol=_protocol(),
        security=Security(),
        dashboard=False,
        dashboard_address=_LOOPBACK,
        plugins=[lost],
    )


async def _worker(
    host: Host, address: str, scheduler: str, here: Any, request_stop: Callable[[], None], folder: Path
) -> Worker:
    return await Worker(
        scheduler,
        name=host.name,
        host=address,
        port=WORKER_PORT,
        protocol=_protocol(),
        security=Security(),
        nthreads=1,
        memory_limit=0,
        death_timeout=host.patience_seconds,
        dashboard=False,
        dashboard_address=_LOOPBACK,
        local_directory=str(folder),
        plugins=(_HostPlugin(here, request_stop),),
    )


def _reason(error: BaseException) -> str:
    """Return the innermost reason of an error, without a period."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).rstrip(".") or type(error).__name__
