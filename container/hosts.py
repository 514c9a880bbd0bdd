"""Several hosts: the first by name trains and writes the model, the others wait and end together with it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from eigenline.algorithms.errors import UserError

PORT = 9000  # Chosen: the built-in algorithms' own port between hosts, so existing security groups let it through
TIMEOUT_SECONDS = 300.0
_POLL_SECONDS = 0.25


class FirstHostFailed(UserError):  # noqa: N818 -- names what happened, not a kind of error
    """The host that trains did not succeed, so neither does this one."""


class Followers:
    """The first host's end: the others connect at any time during the job and are sent how it went.

    Until then their connections wait in the listening socket's queue, so training needs no thread for them; should
    this process be killed, the operating system resets them and every host fails at once instead of waiting.
    """

    def __init__(self, count: int, port: int = PORT) -> None:
        self._count = count
        self._socket = socket.create_server(("", port), backlog=count) if count else None

    def send(self, outcome: str, timeout_seconds: float = TIMEOUT_SECONDS) -> int:
        """Send the outcome (``done``, or the failure text) to every host; return how many received it.

        A host that starts later than the training ends is waited for, `timeout_seconds` at most.
        """
        if self._socket is None:
            return 0
        deadline = time.monotonic() + timeout_seconds
        connections: list[socket.socket] = []
        with self._socket:
            while len(connections) < self._count and (left := deadline - time.monotonic()) > 0:
                self._socket.settimeout(left)
                try:
                    connections.append(self._socket.accept()[0])
                except TimeoutError:
                    break
        for connection in connections:
            with connection:
                try:
                    connection.sendall(outcome.encode(errors="backslashreplace"))
                except OSError:
                    continue  # that host is gone; nothing here depends on it
        return len(connections)


def wait_for_first(
    first: str,
    stopping: Callable[[], bool],
    port: int = PORT,
    timeout_seconds: float = TIMEOUT_SECONDS,
    log: Callable[[str], None] = lambda text: None,
) -> None:
    """Wait until the first host has written the model.

    Parameters
    ----------
    first
        Its name; resolving it is tried again, because hosts start in any order.
    stopping
        Ends the wait without an error.
    timeout_seconds
        Until the first host must be reachable. The wait for its end has no limit.
    log
        Receives a sentence once the first host was reached.

    Raises
    ------
    FirstHostFailed
        When the first host reports a failure, ends without a report, or cannot be reached.
    """
    connection = _connect(first, stopping, port, timeout_seconds)
    if connection is None:
        return
    log(f"Connected to {first}.")
    received = b""
    with connection:
        _notice_death(connection)
        connection.settimeout(_POLL_SECONDS)
        while not stopping():
            try:
                chunk = connection.recv(4096)
            except TimeoutError:
                continue
            except ConnectionError:
                chunk = b""
            if chunk:
                received += chunk
                continue
            if received == b"done":
                return
            reason = received.decode(errors="replace") or "it ended without a word (killed, or out of memory)"
            raise FirstHostFailed(f"Host {first}, which trains for all hosts, failed: {reason}")


def _notice_death(connection: socket.socket) -> None:
    """Fail reads half a minute after the other machine vanished; by default Linux would wait for two hours."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):  # macOS calls the first one differently
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _connect(first: str, stopping: Callable[[], bool], port: int, timeout_seconds: float) -> socket.socket | None:
    deadline = time.monotonic() + timeout_seconds
    while not stopping():
        try:
            return socket.create_connection((first, port), timeout=5)
        except OSError as error:
            if time.monotonic() > deadline:
                raise FirstHostFailed(
                    f"Host {first}, which trains for all hosts, cannot be reached on port {port}: {error}. The "
                    "hosts of a job must be able to connect to each other."
                ) from error
            time.sleep(_POLL_SECONDS)
    return None
