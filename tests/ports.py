"""TCP ports for servers of the tests: one that nobody else gets, however many test processes there are."""

import os
import socket
from pathlib import Path

# The kernel hands out ports of this range to clients; a server must not hope for one of them.
_CLIENTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST = 10_000
_claims: list[socket.socket] = []  # held until this process ends


def free_port() -> int:
    """Return a port on which nothing listens, and which no other process of these tests will be given.

    A port that was bound to 0 and closed may be given away again before the server has started: then the tests
    talk to somebody else's server, or to a client's end. Here the claim is a name in Linux's abstract namespace
    of sockets, which is as local as ports are, and vanishes with this process.
    """
    end = int(_CLIENTS.read_text().split()[0]) if _CLIENTS.exists() else 32_768
    count = max(end, _FIRST + 1000) - _FIRST
    for step in range(count):
        port = _FIRST + (os.getpid() * 37 + len(_claims) + step) % count
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0eigenline-tests-port-{port}")
            with socket.socket() as probe:
                probe.bind(("", port))
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        return port
    raise AssertionError("no port is free")
