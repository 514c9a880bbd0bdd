"""Gunicorn's ASGI worker with a short way for plain predictions, ready for bursts, rid of silent clients.

The short way: a plain POST (see `serve.plain_request`) with a body that is small enough to be answered on the
event loop is answered where its last byte arrives, without a task, a queue and a copy for each of its pieces.
gunicorn's own protocol has all the rest; it has not seen a byte of what goes the short way.

Four things the stock worker (gunicorn 27) leaves open. Connections that a client resets while the server does not
read from it are never closed. Its queue of new connections is asyncio's 100. A client
that connects and never completes a request's headers keeps its connection for ever. And on SIGTERM it waits for
idle connections as long as for requests under way: 25 of the 30 seconds that SageMaker grants.
"""

from __future__ import annotations

import asyncio
import mmap
from http import HTTPStatus
from typing import Any, Final, cast

from gunicorn.asgi import protocol
from gunicorn.workers import gasgi

from eigenline.serve.answers import unreadable
from eigenline.serve.front import LONGEST_PLAIN_BODY, Front, headers_of
from eigenline.serve.plain_request import LONGEST_HEAD, PlainRequest, read_plain_request

_HEADER_SECONDS: Final = 15.0
_READ_BYTES: Final = 256 * 1024  # of a request of which nothing is known yet
_MEMORY_BYTES: Final = LONGEST_HEAD + LONGEST_PLAIN_BODY  # the system gives pages only where bytes have come
_MOST_ARRIVING: Final = 16


class Connection(protocol.ASGIProtocol, asyncio.BufferedProtocol):  # type: ignore[misc]
    """One client connection: it answers plain requests itself, and hands others to gunicorn's protocol."""

    app: Front
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock for the first request's headers; the keep-alive time covers those of later ones."""
        self._request: PlainRequest | None = None  # whose body is arriving,
        self._memory: memoryview | None = None  # what holds its bytes,
        self._arrived = 0  # and how many have come
        self._with_gunicorn = False  # its parser holds bytes of a request that has not been answered
        self._answered = False
        self._started = self._quiet_since = self.worker.loop.time()
        super().connection_made(transport)
        self._client = (transport.get_extra_info("peername") or ("-",))[0]
        self.worker.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._forget_plain_request()
        self.worker.connections.discard(self)
        super().connection_lost(exc)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Say where the next bytes go: behind those of the request that is arriving, if one is."""
        if self._memory is None:
            return cast(memoryview, self.worker.memories[-1][:_READ_BYTES])
        return self._memory[self._arrived :]

    def buffer_updated(self, nbytes: int) -> None:
        """Answer a plain request whose last byte has come, wait for the rest of one, hand over all others."""
        memory = self.worker.memories[-1] if self._memory is None else self._memory
        arrived = self._arrived + nbytes
        request = self._request or self._plain_request(memory, arrived)
        if request is None or not (arrived == request.ends or self._memory or self.worker.memories[1:]):
            self.data_received(bytes(memory[:arrived]))
        elif arrived < request.ends:
            if self._memory is None:
                self._request, self._memory = request, self.worker.memories.pop()
                self._started = self.worker.loop.time()
            self._arrived = arrived
        else:
            body = bytes(memory[request.body_starts : arrived])
            self._forget_plain_request()
            self._answer(request, body)

    def _plain_request(self, memory: memoryview, arrived: int) -> PlainRequest | None:
        """Read a request's head, if it may go the short way."""
        if (
            self._with_gunicorn
            or not self._awaiting_request
            or not self.worker.alive
            or self.transport.get_write_buffer_size()  # a client that does not read its answers
        ):
            return None
        head = bytes(memory[: min(arrived, LONGEST_HEAD)])
        request = read_plain_request(head, arrived, self.app.longest_plain_body)
        return request if request is not None and self.app.accepts(request) else None

    def _answer(self, request: PlainRequest, body: bytes) -> None:
        answer = self.app.answer(request, body, self._client)
        self._answered = True
        self._quiet_since = self.worker.loop.time()
        self._send_response_start(answer.status, headers_of(answer), request)
        self._send_body(answer.body)

    def _forget_plain_request(self) -> None:
        if self._memory is not None:
            self.worker.memories.append(self._memory)
            self._request, self._memory, self._arrived = None, None, 0

    def hand_over(self) -> None:
        """Let gunicorn's protocol read a body that is slow to arrive: it has a deadline and a way to say so."""
        if self._memory is not None:
            data = bytes(self._memory[: self._arrived])
            self._forget_plain_request()
            self.data_received(data)

    def _feed_callback_parser(self, data: bytes) -> bool:
        self._with_gunicorn = True
        return bool(super()._feed_callback_parser(data))

    async def _serve_http_request(self, *arguments: Any) -> bool:
        keepalive = await super()._serve_http_request(*arguments)
        self._with_gunicorn = False  # what it holds of a next request, it feeds to its parser again
        self._answered = True
        return bool(keepalive)

    def _arm_keepalive_timer(self) -> None:
        """Note when the connection fell silent; the worker looks at it each second."""
        self._quiet_since = self.worker.loop.time()

    def look(self, now: float) -> None:
        """Hand over a body that is slow, and hang up on a client that has asked nothing for too long."""
        if self._request is not None:
            if now - self._started > 1:
                self.hand_over()
        elif now - self._quiet_since > (self.cfg.keepalive if self._answered else _HEADER_SECONDS):
            self.hang_up_if_idle()

    def hang_up_if_idle(self) -> None:
        """Close the connection unless a request is being answered."""
        if self._awaiting_request and not self._request_ready.is_set() and not self._finishing_calls:
            self._keepalive_timeout()

    def _close_transport(self) -> None:
        """Close the connection, also one that the client has reset.

        The stock method says end-of-file first; where that fails, it takes the connection for closed and keeps
        its socket and its place in the worker's count for ever.
        """
        super()._close_transport()
        if self.transport is not None and not self.transport.is_closing():
            self.transport.abort()

    def _send_error_response(self, status: int, message: str, extra_headers: tuple[Any, ...] = ()) -> None:
        """Refuse what gunicorn cannot read as HTTP, in the form of all our refusals."""
        if self._closed:
            return  # the client has left in the middle of its request
        answer = unreadable(status, message)
        self._send_response_start(
            answer.status, [*headers_of(answer, b"close"), *extra_headers], PlainRequest("", b"", {}, 0, 0)
        )
        self._send_body(answer.body)


class Worker(gasgi.ASGIWorker):  # type: ignore[misc]
    """An event loop that answers requests; made by gunicorn from `serve.server.gunicorn_options`."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.connections: set[Connection] = set()
        self.memories: list[memoryview] = []
        self._backlog_restored = False

    def init_process(self) -> None:
        """Prepare this process, and serve until its end."""
        # One for what arrives at this moment, the others for plain requests of which more is to come.
        self.memories = [
            memoryview(mmap.mmap(-1, _MEMORY_BYTES, flags=mmap.MAP_PRIVATE)) for _ in range(_MOST_ARRIVING + 1)
        ]
        super().init_process()

    def notify(self) -> None:
        """Show a sign of life, once a second, and look at each connection.

        The first time, after asyncio has begun to listen, lengthen its queue again: asyncio's servers listen with
        a backlog of 100, so of a burst of clients the rest would wait a second for
        their SYN to be sent again, and SageMaker wants a connection accepted within 250 ms.
        """
        super().notify()
        now = self.loop.time()
        for connection in list(self.connections):
            connection.look(now)
        if not self._backlog_restored:
            self._backlog_restored = True
            for listener in self.sockets:
                listener.sock.listen(self.cfg.backlog)

    def handle_exit_signal(self) -> None:
        """Stop gracefully: requests under way are answered, idle connections are closed now."""
        super().handle_exit_signal()
        for connection in list(self.connections):
            connection.hand_over()
            connection.hang_up_if_idle()


gasgi.ASGIProtocol = Connection  # the worker makes its connections from this name and has no setting for it
protocol._REASON_PHRASES.update(
    {status.value: status.phrase for status in HTTPStatus}
)  # it lacks 406, 424, 431, 507
