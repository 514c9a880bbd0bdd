"""Worker processes that turn lines of plain numbers into matrices, ahead of the computation with them.

The SIMD parser holds the interpreter's lock, so threads would take turns. The workers are forked, and share memory
with this process: text goes in and numbers come out without being pickled, and nothing is imported again.
"""

from __future__ import annotations

import ctypes
import mmap
import multiprocessing
import os
import signal
import warnings
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eigenline.formats.csv.lines import HANDED_OVER_BYTES, count_lines, piece_end
from eigenline.formats.csv.numbers import parse_lines

MOST_PROCESSES: Final = 8  # this process hands over text and copies numbers no faster than that many parse
_SLOTS_EACH: Final = 3  # one that a worker parses, one that waits for it, one that is being copied
_PR_SET_PDEATHSIG: Final = 1


class Parsed(NamedTuple):
    """What became of a piece of text.

    Attributes
    ----------
    text
        The lines, uint8.
    numbers
        Shape (rows, columns), float32: valid until the next call of `Workers`. None where the text is not plain
        numbers in lines of one width, all within float32, or where its worker died.
    lines
        How many lines the text has, blank ones included, where `numbers` is not None.
    """

    text: NDArray[np.uint8]
    numbers: NDArray[np.float32] | None
    lines: int


class _Counts(NamedTuple):
    rows: int
    columns: int
    lines: int


class _Piece(NamedTuple):
    text: NDArray[np.uint8]
    slot: int
    outcome: Future[_Counts | None] | None


class _Memory(NamedTuple):
    """What this process and its workers both see: all of the text, or slots for it; and slots for numbers."""

    text: NDArray[np.uint8]
    numbers: NDArray[np.float32]


class Workers:
    """Parses pieces of text in several processes; pieces come out in the order in which they were put in.

    Nothing is lost with a worker: the text of a dead one comes back without numbers, and so does all that follows.

    Parameters
    ----------
    processes
        How many, at least one; no more than `MOST_PROCESSES` are started.
    whole
        The source where it is a buffer: workers then read its pages themselves. None for a stream, whose pieces
        are copied into shared slots.
    """

    def __init__(self, processes: int, whole: NDArray[np.uint8] | None) -> None:
        processes = min(processes, MOST_PROCESSES)
        slots = processes * _SLOTS_EACH
        self._streamed = whole is None
        text = np.frombuffer(mmap.mmap(-1, slots * HANDED_OVER_BYTES), np.uint8) if whole is None else whole
        # A value takes two bytes of text at least, but for the last one of a text without a final line end.
        self._room = HANDED_OVER_BYTES // 2 + 1
        self._memory = _Memory(text, np.frombuffer(mmap.mmap(-1, 4 * slots * self._room), np.float32))
        self._free = deque(range(slots))
        self._pieces: deque[_Piece] = deque()
        # Not multiprocessing.shared_memory: Docker gives its folder, /dev/shm, 64 MB.
        self._pool = ProcessPoolExecutor(
            processes, multiprocessing.get_context("fork"), _begin, (self._memory, os.getpid())
        )
        self._alive = self._start()

    @property
    def full(self) -> bool:
        """Whether a piece must be received before another is put."""
        return not self._free

    @property
    def busy(self) -> bool:
        """Whether any piece is left to be received."""
        return bool(self._pieces)

    def put(self, text: NDArray[np.uint8], place: int) -> None:
        """Hand over whole lines.

        Parameters
        ----------
        text
            Shape (m,), uint8: the lines.
        place
            Where they lie in the source, in bytes.
        """
        if text.size > HANDED_OVER_BYTES:
            self._pieces.append(_Piece(text.copy(), -1, None))
            return
        slot = self._free.popleft()
        if self._streamed:
            place = slot * HANDED_OVER_BYTES
            self._memory.text[place : place + text.size] = text
            text = self._memory.text[place : place + text.size]
        self._pieces.append(_Piece(text, slot, self._submit(place, place + text.size, slot * self._room)))

    def receive(self) -> Parsed:
        """Return the oldest piece, when it is done."""
        text, slot, outcome = self._pieces.popleft()
        if slot >= 0:
            self._free.append(slot)
        try:
            counts = outcome.result() if outcome is not None else None
        except BrokenProcessPool:  # killed, perhaps for memory: this process parses what is left itself
            counts = None
        if counts is None:
            return Parsed(text, None, 0)
        numbers = self._memory.numbers[slot * self._room :][: counts.rows * counts.columns]
        return Parsed(text, numbers.reshape(counts.rows, counts.columns), counts.lines)

    def close(self) -> None:
        """End the processes; pieces that were not received are dropped."""
        self._pool.shutdown(cancel_futures=True)

    def _start(self) -> bool:
        with warnings.catch_warnings():
            # Python warns of forks beside threads, which may hold locks. OpenBLAS's end before a fork, and the
            # workers use nothing that another thread of this process could have locked.
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                self._pool.submit(os.getpid)  # the first task forks all workers
            except OSError:  # no memory, or no right, for more processes
                return False
        return True

    def _submit(self, start: int, stop: int, first: int) -> Future[_Counts | None] | None:
        try:
            return self._pool.submit(_parse, start, stop, first) if self._alive else None
        except BrokenProcessPool:
            self._alive = False
            return None


def parse_ahead(pieces: Iterator[tuple[NDArray[np.uint8], int]], workers: Workers) -> Iterator[Parsed]:
    """Put pieces of whole lines, and yield them in their order when parsed.

    Where the source fails, what came before is yielded first, as without workers.

    Parameters
    ----------
    pieces
        Lines, shape (m,), uint8, each with its place in the source, in bytes.
    workers
        The processes that parse.
    """
    failure: Exception | None = None
    while failure is None:
        try:
            piece = next(pieces, None)
        except Exception as error:
            failure = error
            break
        if piece is None:
            break
        if workers.full:
            yield workers.receive()
        workers.put(*piece)
    while workers.busy:
        yield workers.receive()
    if failure is not None:
        raise failure


_inherited: list[_Memory] = []  # of a worker: what it was forked with


def _begin(memory: _Memory, parent: int) -> None:
    """Prepare a worker: it ends with its parent, and leaves signals to it."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the job's handler would only set its own flag
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent decides
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    _inherited.append(memory)


def _parse(start: int, stop: int, first: int) -> _Counts | None:
    """Parse the text from `start` to `stop` to the numbers from `first` on; return rows, columns and lines."""
    memory = _inherited[0]
    text = memory.text[start:stop]
    place, rows, columns = 0, 0, 0
    while place < text.size:
        end = piece_end(text, place)
        table = parse_lines(text[place:end].tobytes())
        if table is None or columns not in {0, table.shape[1]}:
            return None
        target = memory.numbers[first : first + table.size].reshape(table.shape)
        with np.errstate(over="ignore"):
            target[...] = table
        if not np.isfinite(target).all():
            return None
        place, rows, columns, first = end, rows + len(table), table.shape[1], first + table.size
    return _Counts(rows, columns, count_lines(text))
