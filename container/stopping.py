"""The request to stop: SIGTERM or Ctrl-C, noticed where records are read."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from eigenline.algorithms.errors import Stopped


class Stopping:
    """Becomes true once the process was asked to stop.

    A flag rather than an exception out of the handler: it ends training between two blocks of records, with all
    state whole, so that the best model so far can be saved. Only the reading of a block may be broken off.
    """

    def __init__(self) -> None:
        self.signal_name = ""
        self._breaks_off = False

    def __call__(self) -> bool:
        """Return whether a stop was requested."""
        return bool(self.signal_name)

    def install(self) -> None:
        """Handle SIGTERM and SIGINT from now on."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._receive)

    def request(self, name: str) -> None:
        """Request a stop; `name` is the signal, for the log."""
        self.signal_name = self.signal_name or name

    @contextmanager
    def breaking_off(self) -> Iterator[None]:
        """Raise `Stopped` out of the block at once, before it or in its midst, when a stop is requested.

        For code whose state is of no further use then: a reader of a slow or a very large block.
        """
        if self():
            raise Stopped
        # Python runs handlers in the main thread, so only what that thread does can be broken off.
        self._breaks_off = threading.current_thread() is threading.main_thread()
        try:
            yield
        finally:
            self._breaks_off = False

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.request(signal.Signals(number).name)
        if self._breaks_off:
            self._breaks_off = False
            raise Stopped
