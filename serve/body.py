"""Reading a request's body with bounded memory: a limit a body, a budget for all bodies, and a deadline."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

from eigenline.serve.answers import Refusal

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]

SMALL: Final = 64 * 1024
_PATIENCE_SECONDS: Final = 10.0  # how long a body waits for memory before it is sent away with 503


class Disconnected(Exception):  # noqa: N818 -- not an error of anybody
    """The client has gone before its request was complete."""


class Budget:
    """Bytes that may be held at once; who wants more than is free waits, first come first served.

    Amounts up to `SMALL` are free of charge: the server holds that much of every connection anyway, and a small
    request must not wait behind large ones.

    Bytes are taken as they arrive and not as they are announced, so that a client which announces much and
    sends it slowly holds only what it has sent.
    """

    def __init__(self, total: int) -> None:
        self._free = total
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, amount: int, deadline: float | None = None) -> None:
        """Take bytes, waiting while there are none, until `deadline` of the loop's clock; then it is 503."""
        if not amount:
            return
        if amount <= self._free and not self._waiting:
            self._free -= amount
            return
        loop = asyncio.get_running_loop()
        seconds = _PATIENCE_SECONDS if deadline is None else deadline - loop.time()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append((amount, turn))
        try:
            await asyncio.wait_for(asyncio.shield(turn), seconds)
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self.give_back(amount)
            else:
                turn.cancel()
                self._serve_waiting()
            if isinstance(error, TimeoutError):
                raise Refusal(
                    503, "The server is busy with other large requests; try again shortly.", ("Retry-After", "5")
                ) from None
            raise

    def give_back(self, amount: int) -> None:
        """Return bytes, and let the next ones in."""
        self._free += amount
        self._serve_waiting()

    def _serve_waiting(self) -> None:
        while self._waiting:
            amount, turn = self._waiting[0]
            if turn.cancelled():
                self._waiting.popleft()
            elif amount <= self._free:
                self._waiting.popleft()
                self._free -= amount
                turn.set_result(None)
            else:
                return


async def read_body(
    receive: Receive, headers: dict[bytes, bytes], limit: int, budget: Budget, seconds: float
) -> bytes:
    """Read a body of at most `limit` bytes that is complete within `seconds`.

    What it took from `budget` stays taken; the caller gives ``charge(len(body))`` back after the answer.

    Raises
    ------
    Refusal
        413 before anything is read where Content-Length says too much, and as soon as an unannounced body
        exceeds the limit; 408 when it takes too long; 503 when there is no memory for it.
    Disconnected
        When the client has gone.
    """
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced[:20]) > limit:
        raise _too_large(limit)
    message = await receive()
    if not message.get("more_body"):  # most requests come in one piece
        return await _whole(message, limit, budget)
    try:
        async with asyncio.timeout(seconds):
            return await _pieces(message, receive, limit, budget)
    except TimeoutError:
        raise Refusal(408, f"The body did not arrive within {seconds:g} seconds.") from None


async def _whole(message: Message, limit: int, budget: Budget) -> bytes:
    if message["type"] == "http.disconnect":
        raise Disconnected
    body = bytes(message.get("body", b""))
    if len(body) > limit:
        raise _too_large(limit)
    await budget.take(charge(len(body)))
    return body


async def _pieces(message: Message, receive: Receive, limit: int, budget: Budget) -> bytes:
    body = bytearray()
    taken = 0
    patience_ends = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
    try:
        while True:
            if message["type"] == "http.disconnect":
                raise Disconnected
            piece = message.get("body", b"")
            if len(body) + len(piece) > limit:
                raise _too_large(limit)
            more = charge(len(body) + len(piece)) - taken
            await budget.take(more, patience_ends)
            taken += more
            body += piece
            if not message.get("more_body"):
                return bytes(body)
            message = await receive()
    except BaseException:
        budget.give_back(taken)
        raise


def charge(size: int) -> int:
    """Return what a body of `size` bytes takes from the budget."""
    return size if size > SMALL else 0


def _too_large(limit: int) -> Refusal:
    return Refusal(413, too_large(limit))


def too_large(limit: int) -> str:
    """Say how large a body may be, and how to change that."""
    return (
        f"The body is larger than {limit} bytes. Send fewer records at a time, or start the server with a larger "
        "MAX_CONTENT_LENGTH (bytes); SageMaker itself passes at most 6 MiB in real time."
    )
