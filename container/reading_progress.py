"""How far the reading of a channel is: a line now and then, with the share of the bytes and the time left."""

from __future__ import annotations

from typing import Final

from eigenline.container.job_log import JobLog

_SECONDS_BETWEEN_LINES: Final = 10.0


class ReadingProgress:
    """Logs how much of a channel's pass is done, where a pass takes long.

    Parameters
    ----------
    channel
        Its name.
    num_bytes
        Of all its files; None for a pipe, whose end nobody knows.
    log
        The job's log, and its clock.
    """

    def __init__(self, channel: str, num_bytes: int | None, log: JobLog) -> None:
        self._channel = channel
        self._num_bytes = num_bytes
        self._log = log
        self._passes = 0
        self._before = 0  # bytes of the files of this pass that are done
        self._began = self._last_line = log.clock()

    def begin(self) -> None:
        """Begin a pass."""
        self._passes += 1
        self._before = 0
        self._began = self._last_line = self._log.clock()

    def end_file(self, num_bytes: int) -> None:
        """Go on to the next file of the pass."""
        self._before += num_bytes

    def update(self, offset: int) -> None:
        """Log how far the pass is, if it is time.

        Parameters
        ----------
        offset
            Bytes of the current file that were read by now.
        """
        now = self._log.clock()
        if now - self._last_line < _SECONDS_BETWEEN_LINES:
            return
        self._last_line = now
        seconds, read = now - self._began, self._before + offset
        which = f"Reading {self._channel!r}" + (f", pass {self._passes}" if self._passes > 1 else "")
        if not self._num_bytes or not read:
            self._log.info(f"{which}: {read / 1e6:,.0f} MB in {seconds:.0f} s.")
            return
        whole = self._num_bytes
        left = seconds * max(0, whole - read) / read
        self._log.info(
            f"{which}: {read / 1e6:,.0f} of {whole / 1e6:,.0f} MB ({100 * read / whole:.0f} %) in "
            f"{seconds:.0f} s; the rest of this pass takes about {left:.0f} s."
        )
