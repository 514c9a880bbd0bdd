"""How much an artifact may unpack to, and the error for one that is larger than that or than memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from eigenline.algorithms.errors import DataError
from eigenline.formats.machine_limits import memory_limit

# Chosen: a quarter of the memory that this process may use. The unpacked bytes and the arrays made of them are in
# memory together for a moment, the bytes up to twice, so that three quarters suffice for any artifact.
_SHARE: Final = 4


class ArtifactTooLarge(DataError):  # noqa: N818 -- named after what it is about, as HTTP's 507 is
    """The artifact unpacks to more than the memory of this machine allows; HTTP 507."""


def unpacking_limit() -> int:
    """Return how many bytes one artifact may unpack to on this machine."""
    return memory_limit() // _SHARE


@contextmanager
def within_memory(name: str) -> Iterator[None]:
    """Turn a `MemoryError` of the body into a `ArtifactTooLarge` that names the artifact."""
    try:
        yield
    except MemoryError:
        raise ArtifactTooLarge(f"The memory of this machine does not suffice for {name}.") from None
