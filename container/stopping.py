"""The request to stop: SIGTERM or Ctrl-C, remembered until the job looks."""

from __future__ import annotations

import signal
from types import FrameType


class StoppedBeforeModel(Exception):  # noqa: N818 -- a request, not an error
    """The job was asked to stop before it had any model that could be saved."""


class Stopping:
    """Becomes true once the process was asked to stop.

    A flag rather than an exception out of the handler: whoever trains ends between two batches, with all of its
    state whole, and keeps the best model so far.
    """

    def __init__(self) -> None:
        self.signal_name = ""

    def __call__(self) -> bool:
        """Tell whether a stop was requested."""
        return bool(self.signal_name)

    def listen(self) -> None:
        """Take SIGTERM and SIGINT from now on."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._take)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.signal_name = self.signal_name or signal.Signals(number).name
