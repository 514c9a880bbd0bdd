"""One HTTP request as a value, as it left the parser, and what its target and fields say."""

from __future__ import annotations

import ipaddress
import re
import time
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_to_bytes

from eigenline.algorithms.errors import UserError
from eigenline.serve.answers import Refusal

# RFC 3986, 3.2.2 and 3.2.3: a name or an address, and a port.
_HOST: Final = re.compile(rb"[A-Za-z0-9._~!$&'()*+;=%-]*(?::[0-9]{0,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{0,5})?")
_AUTHORITY: Final = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)


@dataclass(slots=True)
class Request:
    """One request of a connection.

    Attributes
    ----------
    method, target
        As they came.
    headers
        Names in lower case to values; values of a repeated field are joined by commas.
    body
        Complete when the request leaves its connection.
    refusal
        Why it is not answered, where it cannot be: then the connection ends behind it.
    keep_alive
        Whether the connection may serve another request.
    version
        ``1.1`` or ``1.0``.
    charged
        Bytes that it has taken from the worker's budget.
    started
        `time.perf_counter()` when it began.
    """

    method: bytes = b""
    target: bytes = b""
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    refusal: UserError | None = None
    keep_alive: bool = False
    version: str = "1.1"
    charged: int = 0
    started: float = field(default_factory=time.perf_counter)

    @property
    def path(self) -> str:
        """The path, decoded as WSGI has it: one character per byte."""
        target = self.target
        if not target.startswith(b"/"):
            target = _AUTHORITY.sub(b"", target, count=1) or b"/"  # the absolute form, RFC 9112, 3.2.2
        path = target.partition(b"?")[0]
        return (unquote_to_bytes(path) if b"%" in path else path).decode("latin-1")

    @property
    def query(self) -> str:
        """What follows the question mark, undecoded."""
        target = self.target
        return target.partition(b"?")[2].decode("latin-1") if b"?" in target else ""

    def text(self, name: bytes) -> str:
        """Return a field's value, or an empty text."""
        value = self.headers.get(name)
        return "" if value is None else value.decode("latin-1")


def is_host(value: bytes) -> bool:
    """Return whether a Host field can be one."""
    return _HOST.fullmatch(value) is not None


def check_change(host: str, origin: str | None, media_type: str, *, body: bool, loopback: bool) -> None:
    """Refuse a request that changes what the server serves, where a foreign web page may have sent it.

    A browser names the page's origin with every such request, and asks before it sends JSON across origins.
    A page of another origin is refused, and one whose name is not an address: a name can be made to point here
    while the browser watches (DNS rebinding), an address cannot. A server that listens on loopback only
    is refused any other name too.

    Parameters
    ----------
    host, origin
        The fields ``Host`` and ``Origin``.
    media_type
        Of the body, if `body`.
    loopback
        Whether the server listens on the loopback interface only.

    Raises
    ------
    Refusal
        403, or 415 for a body that is not JSON.
    """
    if loopback and not _is_local(host):
        raise Refusal(403, f"Host {host[:60]!r} is not a name of this server, which listens on loopback only.")
    if origin is not None:
        scheme, _, site = origin.partition("://")
        if scheme not in ("http", "https") or site != host or not _is_address(host):
            raise Refusal(403, f"A page of {origin[:60]!r} may not change what is served here.")
    if body and media_type.partition(";")[0].strip().lower() != "application/json":
        raise Refusal(415, f"Content-Type must be 'application/json' here; got {media_type[:60]!r}.")


def _name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _is_local(host: str) -> bool:
    name = _name(host)
    return name == "localhost" or (_is_address(host) and ipaddress.ip_address(name).is_loopback)


def _is_address(host: str) -> bool:
    name = _name(host)
    if name == "localhost":
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
