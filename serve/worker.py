"""Gunicorn's ASGI worker, ready for bursts, and rid of connections that ask nothing.

Four things the stock worker (gunicorn 27) leaves open. Connections that a client resets while the server does not
read from it are never closed. Its queue of new connections is asyncio's 100. A client
that connects and never completes a request's headers keeps its connection for ever. And on SIGTERM it waits for
idle connections as long as for requests under way: 25 of the 30 seconds that SageMaker grants.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.workers import gasgi

_HEADER_SECONDS: Final = 15.0


class Connection(ASGIProtocol):  # type: ignore[misc]
    """One client connection, known to its worker."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock for the first request's headers; the keep-alive time covers those of later ones."""
        super().connection_made(transport)
        self.worker.connections.add(self)
        self._patience = self.worker.loop.call_later(_HEADER_SECONDS, self.hang_up_if_silent)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._patience.cancel()
        self.worker.connections.discard(self)
        super().connection_lost(exc)

    def _close_transport(self) -> None:
        """Close the connection, also one that the client has reset.

        The stock method says end-of-file first; where that fails, it takes the connection for closed and keeps
        its socket and its place in the worker's count for ever.
        """
        super()._close_transport()
        if self.transport is not None and not self.transport.is_closing():
            self.transport.abort()

    def hang_up_if_silent(self) -> None:
        """Close the connection if not one request has come over it."""
        if self.req_count <= 1:
            self.hang_up_if_idle()

    def hang_up_if_idle(self) -> None:
        """Close the connection unless a request is being answered."""
        if self._awaiting_request and not self._finishing_calls:
            self._keepalive_timeout()


class Worker(gasgi.ASGIWorker):  # type: ignore[misc]
    """An event loop that answers requests; made by gunicorn from `serve.server.gunicorn_options`."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.connections: set[Connection] = set()
        self._backlog_restored = False

    def notify(self) -> None:
        """Show a sign of life; the first time, after asyncio has begun to listen, lengthen its queue again.

        asyncio's servers listen with a backlog of 100: of a burst of clients the rest would wait a second for
        their SYN to be sent again, and SageMaker wants a connection accepted within 250 ms.
        """
        super().notify()
        if not self._backlog_restored:
            self._backlog_restored = True
            for listener in self.sockets:
                listener.sock.listen(self.cfg.backlog)

    def handle_exit_signal(self) -> None:
        """Stop gracefully: requests under way are answered, idle connections are closed now."""
        super().handle_exit_signal()
        for connection in list(self.connections):
            connection.hang_up_if_idle()


gasgi.ASGIProtocol = Connection  # the worker makes its connections from this name and has no setting for it
