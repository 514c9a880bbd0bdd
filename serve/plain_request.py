"""The plain case of HTTP/1.1, read in one go: a POST whose head came whole and whose body has a known length.

Nearly every prediction is one. Whatever is not exactly that is left to gunicorn's parser, bytes untouched: other
methods, percent signs in the path, chunks, expectations, upgrades, repeated or folded fields, pipelined requests,
and everything malformed. What is read here, gunicorn's parser reads in the same way; a test compares the two.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

LONGEST_HEAD: Final = 8192
_MOST_FIELDS: Final = 100

# RFC 3986: a path of unreserved and sub-delimiter signs, and a query; no '%' in the path, so nothing to decode.
_LINE: Final = re.compile(
    rb"POST (/[A-Za-z0-9/._~!$&'()*+,;=:@-]*)(?:\?([A-Za-z0-9/._~!$&'()*+,;=:@?%-]*))? HTTP/1\.1"
)
# RFC 9110, 5.1 and 5.5: tokens but for '_', which servers treat in several ways; visible signs, blanks, obs-text.
_FIELDS: Final = re.compile(rb"(?:\r\n[A-Za-z0-9!#$%&'*+.^`|~-]+:[\t\x20-\x7e\x80-\xff]*)*")
_HOST: Final = re.compile(rb"[A-Za-z0-9.-]+(?::[0-9]{1,5})?")
# Fields that change how a message is framed or answered (RFC 9110, 7.6.1 and 10.1; RFC 9112, 6 and 7).
_NOT_PLAIN: Final = frozenset(
    (b"transfer-encoding", b"expect", b"upgrade", b"te", b"trailer", b"connection", b"http2-settings")
)


@dataclass(frozen=True, slots=True)
class PlainRequest:
    """A request's head, and the length of its body.

    Attributes
    ----------
    path, query
        As they came; `query` without the question mark.
    headers
        Names in lower case to values, each once.
    body_starts, ends
        Where the body begins in the bytes that were read, and where it ends.
    """

    path: str
    query: bytes
    headers: dict[bytes, bytes]
    body_starts: int
    ends: int
    version: tuple[int, int] = (1, 1)


def read_plain_request(data: bytes, arrived: int, longest_body: int) -> PlainRequest | None:
    """Read the head of a plain request from the first bytes of a message, or return None.

    Parameters
    ----------
    data
        The first `LONGEST_HEAD` bytes, or all, of what has come from the client since its last request.
    arrived
        How many bytes have come: the head, and no more than one body.
    longest_body
        Bytes of a body; a longer one is not plain.
    """
    end = data.find(b"\r\n\r\n", 0, LONGEST_HEAD)
    line_end = data.find(b"\r\n", 0, end + 2)
    line = _LINE.fullmatch(data, 0, max(line_end, 0))
    if end < 0 or line is None or _FIELDS.fullmatch(data, line_end, end) is None:
        return None
    fields = data[line_end + 2 : end].split(b"\r\n")
    headers: dict[bytes, bytes] = {}
    for field in fields:
        name, _, value = field.partition(b":")
        headers[name.lower()] = value.strip(b" \t")
    length = headers.get(b"content-length", b"")
    if (
        len(headers) != len(fields)
        or len(fields) > _MOST_FIELDS
        or not _HOST.fullmatch(headers.get(b"host", b""))
        or not (length.isdigit() and len(length) <= 12 and arrived - end - 4 <= int(length) <= longest_body)
        or not (_NOT_PLAIN.isdisjoint(headers) or _only_keeps_alive(headers))
    ):
        return None
    return PlainRequest(line[1].decode("ascii"), line[2] or b"", headers, end + 4, end + 4 + int(length))


def _only_keeps_alive(headers: dict[bytes, bytes]) -> bool:
    """Tell whether all that is not plain is a wish for what HTTP/1.1 does anyway."""
    return not (_NOT_PLAIN - {b"connection"}) & headers.keys() and headers[b"connection"].lower() == b"keep-alive"
