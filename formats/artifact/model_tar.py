"""``model.tar.gz``: a model folder's files packed as SageMaker packs them, and unpacked without trusting them."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Final, cast

from eigenline.algorithms.errors import DataError, excerpt

_MODE: Final = 0o644
_MOST_MEMBERS: Final = 1000
_COMPRESSION: Final = 6  # the service's level: its gzip header is flagged neither "fastest" nor "best"
_TAR_ERRORS: Final = (tarfile.TarError, EOFError, OSError, ValueError, IndexError, OverflowError, zlib.error)


def write_model_tar(members: Mapping[str, bytes], *, mtime: int = 0) -> bytes:
    """Pack files in the service's layout: gzip without name or time, ustar, owner 0/0, mode 0644.

    Parameters
    ----------
    mtime
        Modification time of the members, seconds since the epoch. Chosen: 0, so that equal models give equal
        archives.
    """
    packed = io.BytesIO()
    with (
        gzip.GzipFile("", "wb", compresslevel=_COMPRESSION, fileobj=packed, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w|", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = len(content), mtime, _MODE
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def read_model_tar(
    data: bytes | BinaryIO, *, name: str = "model.tar.gz", limit_bytes: int = 2 << 30
) -> dict[str, bytes]:
    """Unpack the regular files of a ``.tar.gz`` (or plain ``.tar``) into memory, without touching a disk.

    Parameters
    ----------
    limit_bytes
        Most bytes that the archive may unpack to.

    Returns
    -------
    Relative path -> content. Folders are left out, and a leading ``./`` too.

    Raises
    ------
    DataError
        If the archive is damaged, holds links or devices, names a path outside itself, or unpacks to more
        than the limit.
    """
    stream = io.BytesIO(data) if isinstance(data, bytes | bytearray | memoryview) else data
    start = stream.read(2)
    stream.seek(-len(start), io.SEEK_CUR)
    opened: Any = gzip.GzipFile(fileobj=stream) if start == b"\x1f\x8b" else stream
    files: dict[str, bytes] = {}
    bounded = _Bounded(opened, limit_bytes, name)
    try:
        with tarfile.open(fileobj=cast(BinaryIO, bounded), mode="r|") as archive:
            for number, member in enumerate(archive):
                if number >= _MOST_MEMBERS:
                    raise DataError(f"{name} has more than {_MOST_MEMBERS} members; a model has a few.")
                path = _safe_path(member, name)
                content = archive.extractfile(member) if member.isreg() else None
                if content is not None:
                    files[path] = content.read()
        while bounded.read(1 << 16):  # to the end, where gzip keeps its checksum
            pass
    except _TAR_ERRORS as error:
        raise DataError(f"{name} is not a readable tar archive: {excerpt(str(error), 120)}.") from None
    return files


def _safe_path(member: tarfile.TarInfo, name: str) -> str:
    if not (member.isreg() or member.isdir()):
        raise DataError(f"{name}: {excerpt(member.name)} is a link or a device; a model holds only plain files.")
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or "\0" in member.name:
        raise DataError(f"{name}: the path {excerpt(member.name)} leads out of the archive.")
    return str(path)


class _Bounded:
    """A readable stream that refuses to yield more than a limit: the guard against decompression bombs."""

    def __init__(self, stream: BinaryIO, limit: int, name: str) -> None:
        self._stream = stream
        self._left = limit
        self._limit = limit
        self._name = name

    def read(self, size: int) -> bytes:
        piece = self._stream.read(min(size, self._left + 1))
        self._left -= len(piece)
        if self._left < 0:
            raise DataError(f"{self._name} unpacks to more than {self._limit} bytes; refused.")
        return piece
