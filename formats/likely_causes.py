"""Why data probably are not what they should be: the sentence with which an error ends."""

from __future__ import annotations

from typing import Final

_TEXT_FORMATS: Final = " Save it as 'CSV UTF-8'."
# First bytes -> what they are.
_MAGIC: Final = {
    b"\x1f\x8b": " These are gzip data; give them as a file of their own, or unpack them first.",
    b"PK\x03\x04": " This is a zip archive, as an Excel workbook (.xlsx) is." + _TEXT_FORMATS,
    b"\xd0\xcf\x11\xe0": " This is an Excel workbook (.xls)." + _TEXT_FORMATS,
    b"\xff\xfe": " This is UTF-16 text, as Excel's 'Unicode text' is." + _TEXT_FORMATS,
    b"\xfe\xff": " This is UTF-16 text, as Excel's 'Unicode text' is." + _TEXT_FORMATS,
    b"PAR1": " This is a Parquet file; convert it to CSV or recordIO-protobuf first.",
    b"\x93NUMPY": " This is a numpy file; convert it to CSV or recordIO-protobuf first.",
    b"\x89HDF": " This is an HDF5 file; convert it to CSV or recordIO-protobuf first.",
    b"%PDF": " This is a PDF document.",
}
_RECORDIO_MAGIC: Final = b"\x0a\x23\xd7\xce"


def other_format(head: bytes, expected: str) -> str:
    """Name the format that data seem to have instead; nothing where that is not to be seen.

    Parameters
    ----------
    head
        The first bytes of the data; eight suffice.
    expected
        What the content type says: ``CSV``, ``JSON`` or ``recordIO``.
    """
    for magic, sentence in _MAGIC.items():
        if head.startswith(magic):
            return sentence
    if expected != "recordIO" and head.startswith(_RECORDIO_MAGIC):
        return f" These are recordIO data, but the content type says {expected}."
    if head[1:2] == b"\0" and head[3:4] == b"\0" and head[:1].isascii() and head[:1].decode().isprintable():
        return " This is UTF-16 text." + _TEXT_FORMATS
    return ""


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
