"""Why data probably are not what they should be: the sentence with which an error ends."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return ``1 value``, ``2 values``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def width_hint(width: int, expected: int) -> str:
    """Name the likely cause of a record that is one value too long or too short; else nothing."""
    if width == expected + 1:
        return " One more than expected: is the label still in it? Or an index column?"
    if width == expected - 1:
        return " One less than expected: is a value missing, or was the first feature taken for a label?"
    return ""
