"""Line ends within blocks of text, and pieces of whole lines."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

NEWLINE: Final = 10
PIECE_BYTES: Final = 128 << 10  # what the JSON parser takes at once: text and values then stay in the cache
# What a worker process takes at once: short enough for an even end, long beside the cost of handing over.
HANDED_OVER_BYTES: Final = 1 << 20


def count_lines(text: NDArray[np.uint8]) -> int:
    """Return how many lines a text has, the last with or without its line end; faster than `bytes.count`.

    Parameters
    ----------
    text
        Shape (m,), uint8.
    """
    return int(np.count_nonzero(text == NEWLINE)) + int(text.size > 0 and text[-1] != NEWLINE)


def piece_end(text: NDArray[np.uint8], start: int, piece_bytes: int = PIECE_BYTES) -> int:
    """Return where a piece of whole lines ends.

    Parameters
    ----------
    text
        Shape (m,), uint8.
    start
        Where the piece begins, in bytes.
    piece_bytes
        About how long it is; longer where a line is.
    """
    stop = min(start + piece_bytes, text.size)
    if stop == text.size:
        return stop
    newline = after_last_newline(text[start:stop])
    return start + newline if newline else after_next_newline(text, stop)


def after_last_newline(text: NDArray[np.uint8]) -> int:
    """Return the position after the last line end; 0 where there is none.

    Parameters
    ----------
    text
        Shape (m,), uint8.
    """
    for span in (1 << 12, 1 << 18, text.size):  # most often it is near the end
        tail = text[max(0, text.size - span) :]
        places = np.flatnonzero(tail == NEWLINE)
        if places.size:
            return text.size - tail.size + int(places[-1]) + 1
    return 0


def after_next_newline(text: NDArray[np.uint8], start: int) -> int:
    """Return the position after the first line end from `start` on; the text's end where there is none.

    Parameters
    ----------
    text
        Shape (m,), uint8.
    start
        Where to begin, in bytes.
    """
    span = 1 << 12
    while start < text.size:
        places = np.flatnonzero(text[start : start + span] == NEWLINE)
        if places.size:
            return start + int(places[0]) + 1
        start += span
        span *= 4
    return text.size
