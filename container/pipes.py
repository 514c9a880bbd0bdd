"""Pipe mode: one FIFO per channel and epoch, opened late, waited for, and never blocked on for good."""

from __future__ import annotations

import io
import os
import select
import time
from collections.abc import Callable
from pathlib import Path

from eigenline.algorithms.errors import DataError, Stopped

TIMEOUT_SECONDS = 600.0  # for the FIFO to appear and for its writer to send the first byte
_POLL_SECONDS = 0.2


class Pipe(io.RawIOBase):
    """The reading end of one epoch's FIFO.

    Waiting happens in short polls, so that a request to stop is seen within a fraction of a second even when the
    writer sends nothing.

    Parameters
    ----------
    path
        ``/opt/ml/input/data/<channel>_<epoch>``. SageMaker may create it only after the previous epoch was closed.
    stopping
        True once the job was asked to stop.
    timeout_seconds
        To wait for the FIFO and its first byte.

    Attributes
    ----------
    first_bytes, last_byte
        The first two bytes of what was read so far, and the last one.

    Raises
    ------
    DataError
        When nothing came within `timeout_seconds`.
    Stopped
        Where the job was asked to stop.
    """

    def __init__(self, path: Path, stopping: Callable[[], bool], timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        super().__init__()
        self._path = path
        self._stopping = stopping
        self._deadline = time.monotonic() + timeout_seconds
        self.first_bytes = self.last_byte = b""  # of what was read so far
        self._descriptor = -1
        self._descriptor = self._open()
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)
        self._wait(first=True)

    def _open(self) -> int:
        while True:
            try:
                # Without O_NONBLOCK the call would hang, deaf to SIGTERM, until a writer opens its end.
                return os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
            except FileNotFoundError:
                self._give_up_or_sleep("does not exist; SageMaker makes one FIFO for each epoch that is read")
            except OSError as error:
                raise DataError(f"{self._path} cannot be opened: {error.strerror}.") from error

    def _give_up_or_sleep(self, reason: str) -> None:
        if self._stopping():
            raise Stopped
        if time.monotonic() > self._deadline:
            raise DataError(f"The pipe {self._path} {reason}; training waited long enough and gave up.")
        time.sleep(_POLL_SECONDS / 4)

    def _wait(self, first: bool = False) -> None:
        # A FIFO that no writer has opened yet polls as idle; one whose writer has closed polls as POLLHUP.
        while not self._poll.poll(_POLL_SECONDS * 1000):
            if self._stopping():
                raise Stopped
            if first and time.monotonic() > self._deadline:
                raise DataError(f"The pipe {self._path} has no writer; training waited long enough and gave up.")

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read some bytes, waiting for the first; 0 once the writer closed its end."""
        while True:
            if self._stopping():
                raise Stopped
            self._wait()
            try:
                count = os.readv(self._descriptor, [buffer])
            except BlockingIOError:  # polled readable, emptied by nobody else: a spurious wake-up
                continue
            if count:
                self.first_bytes = (self.first_bytes + bytes(buffer[:2]))[:2]
                self.last_byte = bytes(buffer[count - 1 : count])
            return count

    def close(self) -> None:
        """Close the FIFO, early or late; SageMaker then ends its writer."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        super().close()
