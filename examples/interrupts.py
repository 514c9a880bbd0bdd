"""Ctrl-C and SIGTERM end a walkthrough wherever it is, also where Python alone would lose them.

A program that a script starts in the background ignores Ctrl-C unless it sets a handler of its own. An exception
that a handler raises while an object is destroyed is printed and dropped. And one that is raised between the start
of a process and the line that keeps its number leaves that process behind.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """Whether this program was interrupted, and whether that may be raised now."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._held = False

    def handle(self) -> None:
        """Take over Ctrl-C and SIGTERM, whatever the program that started this one did with them."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        if not self._held:
            raise KeyboardInterrupt

    def check(self) -> None:
        """Raise KeyboardInterrupt if an interrupt came, once more if the first exception was dropped."""
        if self.received:
            raise KeyboardInterrupt

    @contextmanager
    def held(self) -> Iterator[None]:
        """Run a block to its end; an interrupt that comes meanwhile is raised behind it."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        self.check()


interrupts = Interrupts()  # a process has one handler for each signal
