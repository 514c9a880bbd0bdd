"""Bytes that a worker may hold for all requests together: bodies as they arrive, answers before they are made."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

# Amounts up to this are free of charge: the server holds that much of every connection anyway, and a small request
# must not wait behind large ones.
SMALL: Final = 64 * 1024


def charge(size: int) -> int:
    """Return what `size` bytes of one request cost the budget."""
    return size if size > SMALL else 0


class Budget:
    """Bytes that may be held at once; requests for more than is free wait, first come, first served.

    Bytes are taken as they arrive and not as they are announced, so that a client which announces much and sends
    it slowly holds only what it has sent. Used on one event loop; nothing here blocks.

    Parameters
    ----------
    total
        Bytes.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._free = total
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()

    @property
    def free(self) -> int:
        """Bytes that can be taken at once; none while somebody waits."""
        return 0 if self._waiting else max(self._free, 0)

    def take(self, amount: int, granted: Callable[[], None]) -> bool:
        """Take bytes now, or return False and call `granted` once they have been taken."""
        if not amount:
            return True
        if amount <= self._free and not self._waiting:
            self._free -= amount
            return True
        self._waiting.append((amount, granted))
        return False

    def take_held(self, amount: int) -> None:
        """Take bytes that are held already; others wait for longer where there are none."""
        self._free -= amount

    def cancel(self, granted: Callable[[], None]) -> None:
        """Forget a waiting request for bytes; those behind it may fit now."""
        self._waiting = deque(entry for entry in self._waiting if entry[1] != granted)
        self._serve_waiting()

    def give_back(self, amount: int) -> None:
        """Return bytes, and let the next ones in."""
        if amount:
            self._free += amount
            self._serve_waiting()

    def _serve_waiting(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            amount, granted = self._waiting.popleft()
            self._free -= amount
            granted()
