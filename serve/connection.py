"""One client connection: its bytes to requests by httptools, their answers in order, within limits and deadlines.

Bytes are read into one buffer per worker and given to the parser in pieces that end where a head or a body of
known length ends. So each request is answered before the next one is looked at, whatever arrived together; what
cannot be looked at yet waits as bytes, and nothing more is read from the client meanwhile.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, Protocol

import httptools

from eigenline.algorithms.errors import UserError
from eigenline.serve.answers import Answer, Refusal, too_large
from eigenline.serve.budget import SMALL, charge
from eigenline.serve.dispatch import Dispatcher, busy
from eigenline.serve.request import Request, is_host

READ_BYTES: Final = (
    1024 * 1024
)  # pieces must be few: with 256 kB, 300 kB of recordIO were answered 0.6 times as fast
_LONGEST_TARGET: Final = 8 * 1024
_LONGEST_HEAD: Final = 32 * 1024
_LONGEST_BLANK: Final = 64
_MOST_FIELDS: Final = 100
_PIECE_BYTES: Final = 16 * 1024  # of a chunked body, whose end is not known beforehand
_MOST_AT_ONCE: Final = 64  # requests of one connection, before others have their turn

HEAD_SECONDS: Final = 15.0
KEEP_ALIVE_SECONDS: Final = 5.0
_MEMORY_SECONDS: Final = 10.0
_LINGER_SECONDS: Final = 2.0  # since the last byte,
_LONGEST_LINGER_SECONDS: Final = 30.0  # and in all

_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
_ON_EVERY_ANSWER: Final = (
    b"x-content-type-options: nosniff\r\n"
    b"cross-origin-resource-policy: same-origin\r\n"
    b"referrer-policy: no-referrer\r\n"
)
# Why nothing more of a connection can be looked at now.
_ANSWERING: Final = 1  # a request is being answered in a thread
_WRITING: Final = 2  # the client does not take its answers as fast as they are made
_NO_MEMORY: Final = 4  # for the body that is arriving
_GAVE_WAY: Final = 8  # to other connections
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Owner(Protocol):
    """What a connection needs of its worker: one read buffer for all connections, and who answers."""

    buffer: bytearray
    dispatcher: Dispatcher
    stopping: bool
    connections: set[Connection]

    def forget(self, connection: Connection) -> None:
        """Remove a connection that has ended."""


class Connection(asyncio.BufferedProtocol):
    """One client connection.

    Parameters
    ----------
    owner
        The worker.
    """

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._dispatcher = owner.dispatcher
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._client = "-"
        self._parser = httptools.HttpRequestParser(self)
        # What arrives: a request's head, then its body; finished ones wait for their turn.
        self._request: Request | None = None
        self._in_body = False
        self._head_bytes = 0
        self._body: list[bytes] = []
        self._chunked: bytearray | None = None
        self._body_bytes = 0
        self._left = 0  # of a body of known length
        self._silent_bytes = 0  # of a chunked body, since something came of them
        self._finished: deque[Request] = deque()
        # What has arrived and cannot be looked at yet.
        self._rest: bytes = b""
        self._rest_place = 0
        self._reading = True
        self._blocked = 0  # why it cannot
        self._answering: Request | None = None
        self._held = 0  # of the budget, for the answer that is being sent
        self._wanted = 0
        self._count = 0  # answers
        self._host: bytes | None = None  # the latest that was checked
        self._body_deadline = math.inf
        self._memory_deadline: float | None = None
        # The end of it.
        self._closed = False
        self._half_closed = False
        self._discarding = False
        self._linger_ends = math.inf
        self._unsent = 0
        self.quiet_since = self._loop.time()
        self._deadline = self.quiet_since + HEAD_SECONDS

    # --- asyncio's side --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self._client = peer[0] if isinstance(peer, tuple) and peer else "-"
        self._owner.connections.add(self)
        if self._owner.stopping:
            self._deadline = self._loop.time()  # it may have sent a request already, and no more

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget all that was under way, and give back what it held."""
        self._closed = self._discarding = True
        budget = self._dispatcher.budget
        if self._blocked & _NO_MEMORY:
            budget.cancel(self._memory_granted)
        for request in (self._request, *self._finished):
            if request is not None:
                budget.give_back(request.charged)
        budget.give_back(self._held)
        self._request, self._held, self._rest = None, 0, b""
        self._finished.clear()
        self._body.clear()
        self._chunked = None
        self._owner.forget(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the next bytes go: they are gone through before anything else is read into it."""
        free = self._dispatcher.budget.free
        return memoryview(self._owner.buffer)[: READ_BYTES if free >= READ_BYTES else max(SMALL, free)]

    def buffer_updated(self, nbytes: int) -> None:
        """Go through what has arrived."""
        self._go_through(self._owner.buffer, 0, nbytes)

    def eof_received(self) -> bool:
        """Answer a client that only sends no more; close where nothing is under way."""
        self._half_closed = True
        return not self._discarding and bool(self._blocked or self._finished)

    def pause_writing(self) -> None:
        """Stop until the client has taken what it was sent."""
        self._blocked |= _WRITING
        self._unsent = self._transport.get_write_buffer_size()
        self._deadline = self._loop.time() + self._dispatcher.settings.timeout_seconds

    def resume_writing(self) -> None:
        """Go on."""
        self._blocked &= ~_WRITING
        self._dispatcher.budget.give_back(self._held)
        self._held = 0
        self._await_next()
        self._go_on()

    # --- what the worker calls -------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether the client has sent nothing of a request, and is sent nothing."""
        busy = self._request is not None or self._blocked or self._finished
        return not (busy or self._discarding or self._transport.is_closing())

    def close(self) -> None:
        """Close the connection when what was written has been sent."""
        if not self._transport.is_closing():
            self._transport.close()

    def stop(self) -> None:
        """Close the connection if nothing is under way; a body that waits for memory waits no longer."""
        if self.is_idle:
            self.close()
        elif self._blocked & _NO_MEMORY:
            self._memory_is_late()

    def abort(self) -> None:
        """Close the connection now."""
        self._transport.abort()

    def check_deadline(self, now: float) -> None:
        """End what takes too long; called about once per second."""
        if now < self._deadline:
            return
        if self._blocked & _WRITING:
            unsent = self._transport.get_write_buffer_size()
            if unsent >= self._unsent:
                self._transport.abort()
            self._unsent = unsent
            self._deadline = now + self._dispatcher.settings.timeout_seconds
        elif self._discarding:
            self._transport.abort()
        elif self._blocked & _NO_MEMORY:
            self._memory_is_late()
        elif self._in_body:
            seconds = self._dispatcher.settings.timeout_seconds
            self._refuse(Refusal(408, f"The body did not arrive within {seconds:g} seconds."))
            self._go_on()
        elif not self._blocked:
            self.close()

    def _memory_is_late(self) -> None:
        if not self._blocked & _NO_MEMORY:
            return
        self._blocked &= ~_NO_MEMORY
        self._dispatcher.budget.cancel(self._memory_granted)
        self._refuse(busy())
        self._go_on()

    # --- bytes to requests -----------------------------------------------------------------------------------

    def _go_through(self, source: bytearray | bytes, place: int, end: int) -> None:
        """Parse and answer, until the bytes end or something has to be waited for."""
        view = memoryview(source)
        answered_before = self._count
        while place < end:
            if self._discarding:
                if self._linger_ends < math.inf:
                    self._deadline = min(self._loop.time() + _LINGER_SECONDS, self._linger_ends)
                self._rest = b""
                return
            if not self._blocked and self._count - answered_before >= _MOST_AT_ONCE:
                self._blocked |= _GAVE_WAY
                self._loop.call_soon(self._turn)
            if self._blocked:
                if source is not self._rest:
                    self._rest, place = bytes(view[place:end]), 0
                self._rest_place = place
                self._pause_reading()
                return
            stop = self._piece_end(source, place, end)
            self._parse(view[place:stop])
            place = stop
            if self._finished:
                self._answer_finished()
        if source is self._rest:
            self._rest = b""

    def _piece_end(self, source: bytearray | bytes, place: int, end: int) -> int:
        """Return where the next piece for the parser ends: with a head, or with a body."""
        if not self._in_body:
            end = min(end, place + _LONGEST_HEAD + 1 - self._head_bytes)
            found = source.find(b"\r\n\r\n", place, end)
            return end if found < 0 else found + 4
        return min(end, place + (self._left if self._chunked is None else _PIECE_BYTES))

    def _parse(self, data: memoryview) -> None:
        size = len(data)
        if self._in_body:
            self._silent_bytes += size
        else:
            if not self._head_bytes:
                self._deadline = self._loop.time() + HEAD_SECONDS
            self._head_bytes += size
        self._feed(data)
        request = self._request
        if request is None:
            if self._head_bytes > _LONGEST_BLANK:
                self._refuse(_not_http(400, "it begins with nothing but line ends"))
        elif not self._in_body:
            if self._head_bytes > _LONGEST_HEAD:
                self._refuse(_not_http(431, "its header is too large"))
        elif self._chunked is not None and self._silent_bytes > _LONGEST_HEAD:
            self._refuse(_not_http(431, "a chunk extension or a trailer is too large"))
        elif self._body_bytes > SMALL:
            self._take_memory(request)

    def _feed(self, data: memoryview | bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._unreadable(error)

    def _take_memory(self, request: Request) -> None:
        more = charge(self._body_bytes) - request.charged
        if more > 0:
            request.charged += more
            if not self._dispatcher.budget.take(more, self._memory_granted):
                request.charged -= more
                self._wanted = more
                self._blocked |= _NO_MEMORY
                # For all waits of one body together: each grant of a little would begin the time anew.
                if self._memory_deadline is None:
                    self._memory_deadline = self._loop.time() + _MEMORY_SECONDS
                self._deadline = self._memory_deadline
                if self._owner.stopping:
                    self._loop.call_soon(self._memory_is_late)

    def _memory_granted(self) -> None:
        assert self._request is not None
        self._request.charged += self._wanted
        self._blocked &= ~_NO_MEMORY
        self._deadline = self._body_deadline
        self._loop.call_soon(self._go_on)

    def _ignore_upgrade(self, rest: memoryview | bytes) -> None:
        """Read a request again without its upgrade, which may be ignored (RFC 9110, 7.8); its body may not."""
        request = self._finished.pop()
        self._parser = httptools.HttpRequestParser(self)
        headers = request.headers
        if request.method == b"CONNECT":
            self._request = request
            self._refuse(Refusal(405, "CONNECT is for proxies.", ("Allow", "GET, POST")))
            return
        closing = b"close" in headers.pop(b"connection", b"").lower()
        headers.pop(b"upgrade", None)
        lines = [b"%s %s HTTP/%s" % (request.method, request.target, request.version.encode())]
        lines += [b"%s: %s" % field for field in headers.items()]
        lines += [b"connection: close"] * closing
        self._feed(b"\r\n".join([*lines, b"", b""]))
        if rest and not (self._finished and self._finished[-1].refusal is not None):
            self._feed(rest)

    def _unreadable(self, error: httptools.HttpParserError) -> None:
        cause = error.__context__ if isinstance(error, httptools.HttpParserCallbackError) else None
        if isinstance(cause, UserError):
            self._refuse(cause)
        elif cause is not None:
            raise cause
        else:
            self._refuse(_not_http(400, str(error).rstrip(".")))

    def _refuse(self, refusal: UserError) -> None:
        """End the connection behind an answer that says why."""
        request = self._request or Request()
        request.refusal, request.keep_alive = refusal, False
        self._finish(request)

    def _finish(self, request: Request) -> None:
        self._request = None
        self._in_body = False
        self._head_bytes = self._silent_bytes = self._body_bytes = self._left = 0
        self._body, self._chunked = [], None
        self._memory_deadline = None
        self._finished.append(request)

    # --- httptools' side -------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._request = Request()

    def on_url(self, url: bytes) -> None:
        """Add to its target."""
        assert self._request is not None
        self._request.target += url
        if len(self._request.target) > _LONGEST_TARGET:
            raise _not_http(414, "its first line is too large")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a field; those behind a chunked body say nothing that counts here."""
        request = self._request
        assert request is not None
        if self._in_body:
            return
        headers, name = request.headers, name.lower()
        if name in headers:
            if name == b"host":
                raise _not_http(400, "it has two Host fields")
            value = headers[name] + b", " + value
        elif len(headers) >= _MOST_FIELDS:
            raise _not_http(431, f"it has more than {_MOST_FIELDS} header fields")
        headers[name] = value

    def on_headers_complete(self) -> None:
        """Decide from the head alone what can be decided from it."""
        request, parser = self._request, self._parser
        assert request is not None
        headers = request.headers
        request.method, request.version = parser.get_method(), parser.get_http_version()
        request.keep_alive = parser.should_keep_alive()
        if parser.should_upgrade():
            return  # it comes here again without that
        if request.version not in ("1.1", "1.0"):
            raise _not_http(400, f"its version is {request.version}")
        host = headers.get(b"host")
        if host is None:
            if request.version == "1.1":
                raise _not_http(400, "it has no Host field")
        elif host != self._host:
            if not is_host(host):
                raise _not_http(400, "its Host field names no host")
            self._host = host
        coding = headers.get(b"transfer-encoding")
        length = headers.get(b"content-length")
        if coding is not None:
            if coding.lower() != b"chunked":
                raise _not_http(501, "its transfer coding is not 'chunked'")
            self._chunked = bytearray()
        elif length is not None:
            self._left = int(length)  # the parser has let nothing but digits pass
            if self._left > self._dispatcher.settings.max_payload_bytes:
                raise Refusal(413, too_large(self._dispatcher.settings.max_payload_bytes))
        if coding is None and not self._left:
            return
        self._in_body = True
        self._silent_bytes = 0
        self._body_deadline = self._deadline = self._loop.time() + self._dispatcher.settings.timeout_seconds
        if b"expect" in headers and request.version == "1.1":
            if headers[b"expect"].lower() != b"100-continue":
                raise Refusal(417, "Expect is understood as '100-continue' only.")
            if not self._finished and not self._blocked:
                self._transport.write(_CONTINUE)

    def on_chunk_header(self) -> None:
        """Note that a chunk has begun."""
        self._silent_bytes = 0

    def on_body(self, data: bytes) -> None:
        """Add to the body."""
        self._body_bytes += len(data)
        self._silent_bytes = 0
        if self._chunked is None:
            self._body.append(data)
            self._left -= len(data)
            return
        if self._body_bytes > self._dispatcher.settings.max_payload_bytes:
            raise Refusal(413, too_large(self._dispatcher.settings.max_payload_bytes))
        self._chunked += data

    def on_message_complete(self) -> None:
        """Let the request take its turn."""
        request = self._request
        assert request is not None
        if self._chunked is not None:
            request.body = bytes(self._chunked)
        elif self._body:
            request.body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        if len(request.body) > SMALL:  # it is held already, so there is nothing to wait for
            self._dispatcher.budget.take_held(len(request.body) - request.charged)
            request.charged = len(request.body)
        self._finish(request)

    # --- requests to answers ---------------------------------------------------------------------------------

    def _answer_finished(self) -> None:
        while self._finished and not self._blocked and not self._discarding:
            request = self._finished.popleft()
            answer = self._dispatcher.answer(request, self._client, self._answer_later)
            if answer is not None:
                self._send(request, answer)
            else:
                self._answering = request
                self._blocked |= _ANSWERING
                self._deadline = math.inf

    def _answer_later(self, answer: Answer) -> None:
        request, self._answering = self._answering, None
        assert request is not None
        self._blocked &= ~_ANSWERING
        self._send(request, answer)
        self._go_on()

    def _send(self, request: Request, answer: Answer) -> None:
        self._count += 1
        request.body = b""
        if self._closed:
            self._dispatcher.budget.give_back(request.charged)
            return
        keep_alive = request.keep_alive and not self._owner.stopping and request.refusal is None
        if self._half_closed and not (self._rest or self._finished):
            keep_alive = False
        head = head_of(answer, keep_alive=keep_alive, version=request.version)
        body = b"" if request.method == b"HEAD" else answer.body
        if request.charged:
            self._dispatcher.budget.give_back(request.charged)
        if len(body) <= SMALL:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)
        if self._blocked & _WRITING:
            held = charge(len(body))  # until the client has taken it
            self._dispatcher.budget.take_held(held)
            self._held += held
        if keep_alive:
            self._await_next()
        elif (request.refusal is not None or self._rest) and not self._half_closed:
            self._linger()
        else:
            self._discarding = True
            self._rest = b""
            self._deadline = self._loop.time() + self._dispatcher.settings.timeout_seconds
            self._transport.close()

    def _await_next(self) -> None:
        now = self._loop.time()
        self.quiet_since = now
        if self._discarding:
            self._deadline = min(now + _LINGER_SECONDS, self._linger_ends)
        elif not self._blocked:
            self._deadline = now + KEEP_ALIVE_SECONDS

    def _linger(self) -> None:
        """Send no more, and drop what is still coming: a client that sends first then sees why it was refused."""
        self._discarding = True
        self._rest = b""
        now = self._loop.time()
        self._linger_ends = now + _LONGEST_LINGER_SECONDS
        self._deadline = now + _LINGER_SECONDS
        try:
            self._transport.write_eof()
        except OSError:  # the client has left
            self._transport.abort()
        self._resume_reading()

    def _turn(self) -> None:
        self._blocked &= ~_GAVE_WAY
        self._go_on()

    def _go_on(self) -> None:
        """Look at what had to wait."""
        if self._closed:
            return
        self._answer_finished()
        if self._rest and not self._blocked:
            self._go_through(self._rest, self._rest_place, len(self._rest))
        if self._blocked or self._rest:
            return
        if self._half_closed and not self._discarding:
            self.close()
        else:
            self._resume_reading()

    def _pause_reading(self) -> None:
        if self._reading and not self._transport.is_closing():
            self._reading = False
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if not self._reading and not self._transport.is_closing():
            self._reading = True
            self._transport.resume_reading()


def _not_http(status: int, complaint: str) -> Refusal:
    """Return the refusal of what is no request for this server: 400, 414, 431 or 501."""
    return Refusal(status, f"This is not an HTTP/1.1 request that can be read here: {complaint}.")


_common = (0, b"")


def _common_fields() -> bytes:
    """Return the fields of every answer; one of them is the date (RFC 9110, 6.6.1)."""
    global _common
    now = int(time.time())
    if _common[0] != now:
        _common = (now, _ON_EVERY_ANSWER + f"date: {formatdate(now, usegmt=True)}\r\n".encode())
    return _common[1]


def head_of(answer: Answer, *, keep_alive: bool, version: str = "1.1") -> bytes:
    """Return the status line and the fields of an answer."""
    fields, has_length = "", answer.status in (204, 304)
    for name, value in answer.headers:
        has_length = has_length or name.lower() == "content-length"
        fields += f"{name}: {value}\r\n"
    if not has_length:
        fields += f"content-length: {len(answer.body)}\r\n"
    if answer.content_type:
        fields += f"content-type: {answer.content_type}\r\n"
    if not keep_alive:
        fields += "connection: close\r\n"
    elif version == "1.0":
        fields += "connection: keep-alive\r\n"
    status = _STATUS_LINES.get(answer.status) or b"HTTP/1.1 %d Unknown\r\n" % answer.status
    return b"%b%b%b\r\n" % (status, fields.encode("latin-1", "replace"), _common_fields())
