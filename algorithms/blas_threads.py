"""The threads of the linear algebra, and work of our own on threads beside which it has to stand back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def blas_out_of_the_way() -> Iterator[None]:
    """Let BLAS use one thread only, for as long as our own work runs on threads.

    OpenBLAS's threads do not sleep between products, they spin; beside as many threads of ours, on as many cores,
    they double the time of a product, and beside other people's processes they multiply it.
    """
    with _blas().limit(limits=1):
        yield


def blas_threads() -> int:
    """Threads that BLAS uses: as many as our own work may use where nobody says otherwise."""
    return max((int(library["num_threads"]) for library in _blas().info()), default=1)


def in_order(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Yield ``work(item)`` of all items in their order, up to `threads` of them under way at a time.

    Items are taken in the calling thread, and no more of them than there are threads wait.
    """
    if threads < 2:
        yield from map(work, items)
        return
    from concurrent.futures import Future, ThreadPoolExecutor

    with ThreadPoolExecutor(threads) as pool:
        under_way: deque[Future[Result]] = deque()
        for item in items:
            if len(under_way) > threads:
                yield under_way.popleft().result()
            under_way.append(pool.submit(work, item))
        while under_way:
            yield under_way.popleft().result()


@cache
def _blas() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")
