"""Lines of plain numbers to a matrix, fast: a SIMD JSON parser, then numpy's own, then the caller's strict one."""

from __future__ import annotations

import io
import re
import warnings
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eigenline.formats.json.parser import parser

# Put between lines, so that ragged ones show: a value that is exactly as frequent as there are lines, and last in
# each, cannot be one of theirs.
_LINE_END: Final = 9e-303
_LINE_END_TEXT: Final = b",9e-303,"
_LAST_LINE_END_TEXT: Final = b",9e-303]"
_QUOTED_CELL: Final = re.compile(rb'(^|[,\n])[ \t]*"([^",\r\n]+)"(?=[ \t]*(?:,|\r?\n|\r?\Z))')
_PLAIN: Final = b"0123456789+-.eE, \t\r\n"  # all that numbers need: loadtxt also takes words and other blanks


def parse_lines(text: bytes) -> NDArray[np.float64] | None:
    """Parse whole lines of comma-separated numbers into shape (lines, columns).

    Returns None for anything that is not plain numbers in lines of one width: the strict parser then decides,
    and words the error. JSON's grammar refuses ``nan``, empty cells, ``.5`` and ``1.``, so the last two take
    the second, slower way.

    Parameters
    ----------
    text
        Lines, the last with or without its line end; no blank lines.
    """
    if b'"' in text:
        text = _QUOTED_CELL.sub(rb"\1\2", text)
        if b'"' in text:  # a quote that does not enclose a whole cell
            return None
    rows = _parse_as_json(text)
    return _parse_as_table(text) if rows is None else rows


def _parse_as_json(text: bytes) -> NDArray[np.float64] | None:
    if b"[" in text:  # a nested array would be flattened silently
        return None
    if text.endswith(b"\n"):
        text = text[:-1]
    marked = text.replace(b"\n", _LINE_END_TEXT)
    lines = (len(marked) - len(text)) // (len(_LINE_END_TEXT) - 1) + 1  # `count` would take longer than `replace`
    document = b"[" + marked + _LAST_LINE_END_TEXT
    try:
        values = np.frombuffer(parser().parse(document).as_buffer(of_type="d"))
    except (ValueError, RuntimeError, TypeError):
        return None
    rows, remainder = divmod(values.size, lines)
    if remainder or rows < 2:
        return None
    table = values.reshape(lines, rows)
    ends = table[:, -1] == _LINE_END
    if not ends.all() or np.count_nonzero(values == _LINE_END) != lines:
        return None
    return table[:, :-1]


def _parse_as_table(text: bytes) -> NDArray[np.float64] | None:
    if text.translate(None, _PLAIN) or b"\r" in text.replace(b"\r\n", b"\n"):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # "input contained no data"
            table = np.loadtxt(io.StringIO(text.decode()), delimiter=",", comments=None, ndmin=2)
    except (ValueError, UserWarning, OverflowError):
        return None
    return table if np.isfinite(table).all() else None
