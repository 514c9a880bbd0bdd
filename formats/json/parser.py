"""The SIMD JSON parser of each thread, which also reads the numbers of CSV."""

from __future__ import annotations

import threading
from typing import Any

import simdjson

_parsers = threading.local()  # a parser serves one thread at a time


def parser() -> Any:
    """Return this thread's JSON parser; what it parsed last must be dropped before it parses again."""
    try:
        return _parsers.parser
    except AttributeError:
        _parsers.parser = simdjson.Parser()
        return _parsers.parser
