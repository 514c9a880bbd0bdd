"""Fetches MNIST once: from the usual mirrors in turn, verified, into the user's cache folder."""

from __future__ import annotations

import hashlib
import os
import sys
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from examples.interrupts import interrupts

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_CHUNK_BYTES = 1 << 16
_FRAME_BYTES = 1 << 10  # of gzip itself, around content that cannot be compressed


class _Content(NamedTuple):
    size: int  # bytes
    sha256: str


# What is inside the .gz files: mirrors compress them differently.
FILES = {
    "train-images-idx3-ubyte.gz": _Content(
        47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    ),
    "train-labels-idx1-ubyte.gz": _Content(
        60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
    ),
    "t10k-images-idx3-ubyte.gz": _Content(
        7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
    ),
    "t10k-labels-idx1-ubyte.gz": _Content(
        10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
    ),
}


class FetchError(Exception):
    """One mirror did not give the files; the text says why."""


def cache_folder() -> Path:
    """Return the folder that keeps MNIST between runs."""
    named = os.environ.get("XDG_CACHE_HOME")
    return (Path(named) if named else Path.home() / ".cache") / "eigenline" / "mnist"


def fetch_mnist(timeout_seconds: float = 5) -> tuple[Path | None, str]:
    """Return the cached files' folder, fetched now if need be, or None and one sentence that says why not.

    EIGENLINE_MNIST_MIRRORS replaces the mirrors: addresses of folders, separated by spaces.

    Parameters
    ----------
    timeout_seconds
        How long a mirror may be silent before the next one is tried.
    """
    folder = cache_folder()
    missing = [name for name in FILES if not (folder / name).is_file()]
    reasons = []
    for mirror in os.environ.get("EIGENLINE_MNIST_MIRRORS", " ".join(MIRRORS)).split():
        if not missing:
            break
        try:
            folder.mkdir(parents=True, exist_ok=True)
            while missing:
                _fetch(mirror.rstrip("/") + "/" + missing[0], folder / missing[0], timeout_seconds)
                missing.pop(0)
        except FetchError as error:
            reasons.append(f"{urlsplit(mirror).hostname}: {error}")
        except OSError as error:
            return None, f"MNIST cannot be kept in {folder}: {error.strerror}."
    if missing:
        return None, f"MNIST could not be fetched ({'; '.join(reasons) or 'no mirror is named'})."
    return folder, ""


def _fetch(address: str, path: Path, timeout_seconds: float) -> None:
    """Fetch one file; it appears in its place only when it is whole and right."""
    expected, compressed = FILES[path.name], bytearray()
    progress = f"  Fetching {path.name} from {urlsplit(address).hostname}"
    for chunk in _chunks(address, timeout_seconds):
        compressed += chunk
        if len(compressed) > expected.size + _FRAME_BYTES:
            raise FetchError(f"{path.name} is longer than MNIST's")
        _show(f"{progress}: {len(compressed) / 1e6:.1f} MB")
    _show("")
    try:
        content = zlib.decompressobj(wbits=31).decompress(compressed, expected.size + 1)
    except zlib.error as error:
        raise FetchError(f"{path.name} is no gzip file") from error
    if hashlib.sha256(content).hexdigest() != expected.sha256:
        raise FetchError(f"{path.name} is not MNIST's: its checksum differs")
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(compressed)
    partial.replace(path)


def _chunks(address: str, timeout_seconds: float) -> Iterator[bytes]:
    try:
        with urllib.request.urlopen(address, timeout=timeout_seconds) as answer:
            while chunk := answer.read1(_CHUNK_BYTES):
                interrupts.check()
                yield chunk
    except urllib.error.HTTPError as error:
        raise FetchError(f"it answered {error.code}") from error
    # URLError and TimeoutError are OSErrors; a strange address is a ValueError
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        silent = isinstance(reason, TimeoutError)
        raise FetchError(f"silent for {timeout_seconds:g} s" if silent else f"{reason}") from error


def _show(text: str) -> None:
    """Write the progress into one line of a terminal, over what was there."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
