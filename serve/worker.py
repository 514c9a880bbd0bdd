"""A worker process: gunicorn's documented worker base class around one asyncio event loop.

It accepts connections, gives them one read buffer, ends what takes too long, and on SIGTERM answers what is
under way.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import signal
import socket
from typing import Any, Final

from gunicorn.workers.base import Worker as GunicornWorker

from eigenline.serve.connection import READ_BYTES, Connection
from eigenline.serve.dispatch import Dispatcher
from eigenline.serve.metrics import Metrics

logger = logging.getLogger("serve")

# Descriptors that are none of connections: the event loop's, models that are read, the list of models.
_RESERVED: Final = 64
_MOST_CONNECTIONS: Final = 16_384  # about 6 kB each
_ACCEPTED_AT_ONCE: Final = 32  # SageMaker wants a connection accepted within 250 ms; the workers share a burst
_PAUSE_SECONDS: Final = 0.25  # in accepting, while there is no room
_WARNING_SECONDS: Final = 10.0
_STOP_SECONDS: Final = 24.0  # gunicorn kills after 25, SageMaker after 30
_OUT_OF_DESCRIPTORS: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def raise_descriptor_limit() -> int:
    """Let this process open as many files as it may; returns how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_CONNECTIONS + _RESERVED
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft if soft != resource.RLIM_INFINITY else wanted


class Worker(GunicornWorker):  # type: ignore[misc]
    """An event loop that answers requests; made by gunicorn from `serve.server.gunicorn_options`."""

    loop: asyncio.AbstractEventLoop
    dispatcher: Dispatcher
    slot: int = 0  # of the shared counters; set before the fork
    stopping = False

    def init_process(self) -> None:
        """Make the event loop, before the signals that are handled on it."""
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        super().init_process()

    def init_signals(self) -> None:
        """Stop gracefully at SIGTERM, at once at SIGINT and SIGQUIT; die where gunicorn finds the loop stuck."""
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        self.loop.add_signal_handler(signal.SIGTERM, self._stop)
        for number in (signal.SIGINT, signal.SIGQUIT):
            self.loop.add_signal_handler(number, self._stop_now)
        self.loop.add_signal_handler(signal.SIGUSR1, self.log.reopen_files)
        self.loop.add_signal_handler(signal.SIGWINCH, lambda: None)
        signal.signal(signal.SIGABRT, self.handle_abort)  # the loop may be what hangs

    def run(self) -> None:
        """Serve until the end."""
        try:
            self.loop.run_until_complete(self._serve())
        finally:
            self.loop.close()

    async def _serve(self) -> None:
        metrics: Metrics = self.wsgi.extensions["metrics"]
        metrics.use_slot(self.slot)
        self.buffer = bytearray(READ_BYTES)
        self.connections: set[Connection] = set()
        self.dispatcher = Dispatcher(self.wsgi, metrics)
        self.dispatcher.start()
        self._metrics = metrics
        self._most_connections = min(_MOST_CONNECTIONS, max(16, raise_descriptor_limit() - _RESERVED))
        self._next_warning = 0.0
        self._opening: set[asyncio.Task[Any]] = set()
        self._ended = asyncio.Event()
        self._accept_from(self.sockets)
        beat = self.loop.create_task(self._beat())
        await self._ended.wait()
        beat.cancel()
        self.dispatcher.stop()

    async def _beat(self) -> None:
        """Show a sign of life and look at each connection, about once per second."""
        while True:
            self.notify()
            now = self.loop.time()
            for connection in list(self.connections):
                try:
                    connection.check_deadline(now)
                except Exception:  # one connection's error ends neither the others nor this sign of life
                    logger.exception("A connection's deadline")
                    connection.abort()
            if os.getppid() != self.ppid:
                self._stop()  # gunicorn's first process has died
            await asyncio.sleep(min(1.0, self.timeout / 2))

    # --- connections -----------------------------------------------------------------------------------------

    def _accept_from(self, listeners: list[Any]) -> None:
        if not self.stopping:
            for listener in listeners:
                self.loop.add_reader(listener.fileno(), self._accept, listener)

    def _accept(self, listener: Any) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            if len(self.connections) + len(self._opening) >= self._most_connections and not self._make_room():
                self._pause("there are %d connections", self._most_connections)
                return
            try:
                accepted, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _OUT_OF_DESCRIPTORS:
                    raise
                self._pause("a connection cannot be opened: %s", error.strerror)
                return
            accepted.setblocking(False)
            task = self.loop.create_task(self._open(accepted))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open(self, accepted: socket.socket) -> None:
        try:
            await self.loop.connect_accepted_socket(lambda: Connection(self), accepted)
            self._metrics.set_connections(len(self.connections))
        except OSError as error:  # the client has left
            logger.debug("connection not opened: %s", error)
            accepted.close()

    def _make_room(self) -> bool:
        """Close the connections that have been idle for longest, a tenth of them; False where none is idle."""
        idle = sorted((c for c in self.connections if c.is_idle), key=lambda c: c.quiet_since)
        for connection in idle[: len(idle) // 10 + 1]:
            connection.close()
        return bool(idle)

    def _pause(self, why: str, detail: object) -> None:
        """Let new connections wait at the socket for a moment."""
        if self.loop.time() >= self._next_warning:
            self._next_warning = self.loop.time() + _WARNING_SECONDS
            logger.warning("New connections have to wait: " + why, detail)
        for listener in self.sockets:
            self.loop.remove_reader(listener.fileno())
        self.loop.call_later(_PAUSE_SECONDS, self._accept_from, self.sockets)

    def forget(self, connection: Connection) -> None:
        """Remove a connection that has ended; after SIGTERM, end behind the last one."""
        self.connections.discard(connection)
        self._metrics.set_connections(len(self.connections))
        if self.stopping and not self.connections and not self._opening:
            self._ended.set()

    # --- the end ---------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        """Accept no more, close idle connections, and end once the others have been answered."""
        if self.stopping:
            return
        self.stopping, self.alive = True, False
        for listener in self.sockets:
            self.loop.remove_reader(listener.fileno())
            listener.close()
        for connection in list(self.connections):
            connection.stop()
        self.loop.call_later(_STOP_SECONDS, self._ended.set)
        if not self.connections and not self._opening:
            self._ended.set()

    def _stop_now(self) -> None:
        self.alive = False
        self._ended.set()
