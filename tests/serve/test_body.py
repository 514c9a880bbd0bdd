"""Bodies are read with bounded memory: a limit each, a budget for all, a deadline."""

import asyncio
from collections.abc import Iterable

import pytest

from eigenline.serve import body as body_module
from eigenline.serve.answers import Refusal
from eigenline.serve.body import Budget, Disconnected, Message, Receive, read_body


@pytest.fixture(autouse=True)
def even_small_bodies_are_charged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_module, "SMALL", 0)


def sender(messages: Iterable[Message], delay: float = 0) -> Receive:
    waiting = iter(messages)

    async def receive() -> Message:
        if delay:
            await asyncio.sleep(delay)
        return next(waiting)

    return receive


def pieces(*parts: bytes, whole: bool = True) -> list[Message]:
    last = len(parts) - 1
    return [
        {"type": "http.request", "body": part, "more_body": not whole or i < last} for i, part in enumerate(parts)
    ]


def read(messages: Iterable[Message], limit: int = 10, budget: Budget | None = None, **more: float) -> bytes:
    async def run() -> bytes:
        receive = sender(messages, more.get("delay", 0))
        return await read_body(receive, {}, limit, budget or Budget(100), more.get("seconds", 5))

    return asyncio.run(run())


def status(messages: Iterable[Message], **more: float) -> int:
    with pytest.raises(Refusal) as caught:
        read(messages, **more)  # type: ignore[arg-type]
    return caught.value.status


@pytest.mark.parametrize("parts", [[b""], [b"abc"], [b"a", b"b", b"c"], [b"", b"abc", b""], [b"0123456789"]])
def test_bodies_in_any_pieces(parts: list[bytes]) -> None:
    assert read(pieces(*parts)) == b"".join(parts)


def test_the_limit_holds_however_the_body_arrives() -> None:
    assert status(pieces(b"0123456789a")) == 413
    assert status(pieces(b"01234", b"56789", b"a")) == 413

    async def announced() -> None:
        async def never() -> Message:
            raise AssertionError("nothing is read of a body that is announced too large")

        await read_body(never, {b"content-length": b"11"}, 10, Budget(100), 5)

    with pytest.raises(Refusal, match="larger than 10 bytes"):
        asyncio.run(announced())


def test_a_body_has_to_arrive_in_time() -> None:
    assert status(pieces(b"1", b"2", b"3"), delay=0.05, seconds=0.08) == 408


def test_a_client_that_leaves_gives_its_bytes_back() -> None:
    budget = Budget(5)
    with pytest.raises(Disconnected):
        read([*pieces(b"12345", whole=False), {"type": "http.disconnect"}], budget=budget)
    assert read(pieces(b"12345"), budget=budget) == b"12345"


def test_the_budget_is_shared_first_come_first_served() -> None:
    async def run() -> list[str]:
        budget, order = Budget(10), []

        async def work(name: str, size: int) -> None:
            await budget.take(size)
            order.append(name)
            await asyncio.sleep(0.01)
            budget.give_back(size)

        await asyncio.gather(work("a", 6), work("b", 6), work("c", 1), work("d", 10))
        await asyncio.wait_for(budget.take(10), 1)  # everything came back
        return order

    assert asyncio.run(run()) == ["a", "b", "c", "d"]


def test_who_waits_too_long_is_sent_away_and_blocks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_module, "_PATIENCE_SECONDS", 0.05)

    async def run() -> None:
        budget = Budget(10)
        await budget.take(10)
        with pytest.raises(Refusal) as caught:
            await budget.take(5)
        assert (caught.value.status, dict(caught.value.headers)["Retry-After"]) == (503, "5")
        budget.give_back(10)
        await asyncio.wait_for(budget.take(10), 1)

    asyncio.run(run())


def test_a_cancelled_wait_takes_nothing() -> None:
    async def run() -> None:
        budget = Budget(10)
        await budget.take(10)
        waiting = asyncio.create_task(budget.take(5))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        budget.give_back(10)
        await asyncio.wait_for(budget.take(10), 1)

    asyncio.run(run())


def test_a_body_larger_than_all_memory_for_bodies_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_module, "_PATIENCE_SECONDS", 0.05)
    with pytest.raises(Refusal) as caught:
        read(pieces(b"x" * 20), limit=30, budget=Budget(10))
    assert caught.value.status == 503


def test_small_bodies_do_not_wait_behind_large_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_module, "SMALL", 5)

    async def run() -> bytes:
        budget = Budget(10)
        await budget.take(10)
        waiting = asyncio.create_task(budget.take(8))
        await asyncio.sleep(0)
        small = await asyncio.wait_for(read_body(sender(pieces(b"12", b"345")), {}, 10, budget, 5), 1)
        waiting.cancel()
        return small

    assert asyncio.run(run()) == b"12345"
