"""``model.tar.gz``: a model folder's files packed as SageMaker packs them, and unpacked without trusting them."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Final, cast

from eigenline.algorithms.errors import DataError, excerpt
from eigenline.formats.artifact.columns_file import COLUMNS_FILE
from eigenline.formats.artifact.memory_budget import ArtifactTooLarge, unpacking_limit, within_memory
from eigenline.formats.preparation import FILE as PREPARATION_FILE

_MODE: Final = 0o644
_MOST_MEMBERS: Final = 1000
# Of all members' headers beyond their 512 bytes, which hold long names; tarfile reads ahead some kilobytes of it.
_MOST_HEADER_BYTES: Final = 1 << 20
SIDE_FILES: Final = frozenset({"report.json", COLUMNS_FILE, PREPARATION_FILE})
# Files beside the artifact that begin like one: cards and tables that people add.
_NOT_ARTIFACTS: Final = (".json", ".csv", ".txt", ".md", ".html", ".pdf", ".png", ".tar.gz", ".tar", ".gz")
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


def is_artifact_name(path: str) -> bool:
    """Return whether a file is named as an artifact: ``model_<host>``, with no ending of a card or a table."""
    name = path.rpartition("/")[2]
    return name.startswith("model_") and not name.endswith(_NOT_ARTIFACTS)


def is_served_member(path: str) -> bool:
    """Return whether `serve` needs a member of a model's archive: the artifact, its report, its columns."""
    return is_artifact_name(path) or path.rpartition("/")[2] in SIDE_FILES


def read_model_tar(
    data: bytes | BinaryIO,
    *,
    name: str = "model.tar.gz",
    limit_bytes: int | None = None,
    wanted: Callable[[str], bool] | None = None,
) -> dict[str, bytes]:
    """Unpack the regular files of a ``.tar.gz`` (or plain ``.tar``) into memory, without touching a disk.

    Parameters
    ----------
    data
        The archive, or a stream that can seek.
    name
        What errors call it.
    limit_bytes
        Most bytes that the archive may unpack to; None: `unpacking_limit()`.
    wanted
        Whether a relative path is kept; the others are passed over, in constant memory. None keeps all.

    Returns
    -------
    Relative path -> content. Folders are left out, and a leading ``./`` too.

    Raises
    ------
    ArtifactTooLarge
        If it unpacks to more than the limit, or memory does not suffice.
    DataError
        If the archive is damaged, holds links or devices, or names a path outside itself.
    """
    stream = io.BytesIO(data) if isinstance(data, bytes | bytearray | memoryview) else data
    start = stream.read(2)
    stream.seek(-len(start), io.SEEK_CUR)
    opened: Any = gzip.GzipFile(fileobj=stream) if start == b"\x1f\x8b" else stream
    bounded = _Bounded(opened, unpacking_limit() if limit_bytes is None else limit_bytes, name)
    try:
        with within_memory(name):
            files = _read_files(bounded, name, wanted)
            while bounded.read(1 << 16):  # to the end, where gzip keeps its checksum
                pass
    except _TAR_ERRORS as error:
        raise DataError(f"{name} is not a readable tar archive: {excerpt(str(error), 120)}.") from None
    return files


def _read_files(bounded: _Bounded, name: str, wanted: Callable[[str], bool] | None) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    end, extended, count = 0, 0, 0
    bounded.allow_headers(end, extended)
    with tarfile.open(fileobj=cast(BinaryIO, bounded), mode="r|") as archive:
        while (member := archive.next()) is not None:
            count += 1
            if count > _MOST_MEMBERS:
                raise DataError(f"{name} has more than {_MOST_MEMBERS} members; a model has a few.")
            extended += member.offset_data - end - tarfile.BLOCKSIZE
            end = member.offset_data + (
                -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE if member.isreg() else 0
            )
            path = _safe_path(member, name)
            bounded.allow_headers(end, extended)
            if member.isreg():
                bounded.check(end)
                if wanted is None or wanted(path):
                    content = archive.extractfile(member)
                    assert content is not None
                    files[path] = content.read()
    bounded.allow_all()
    return files


def _safe_path(member: tarfile.TarInfo, name: str) -> str:
    if not (member.isreg() or member.isdir()):
        raise DataError(f"{name}: {excerpt(member.name)} is a link or a device; a model holds only plain files.")
    if member.issparse():
        raise DataError(f"{name}: {excerpt(member.name)} is a sparse file; a model holds only plain files.")
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or "\0" in member.name:
        raise DataError(f"{name}: the path {excerpt(member.name)} leads out of the archive.")
    return str(path)


class _Bounded:
    """A readable stream with bounds: on all that it yields, and on what lies between two members' contents.

    Parameters
    ----------
    stream
        The unpacked archive.
    limit
        Most bytes that it may have.
    name
        What errors call it.
    """

    def __init__(self, stream: BinaryIO, limit: int, name: str) -> None:
        self._stream = stream
        self._limit = limit
        self._name = name
        self._place = 0
        self._headers_end = limit

    def allow_headers(self, end: int, extended: int) -> None:
        """Let the header that follows the contents up to `end` be read, with what is left for long names in it."""
        self._headers_end = end + _MOST_HEADER_BYTES - extended

    def allow_all(self) -> None:
        """Let everything up to the limit be read."""
        self._headers_end = self._limit

    def check(self, end: int) -> None:
        """Refuse contents that end behind the limit, before they are read."""
        if end > self._limit:
            raise ArtifactTooLarge(f"{self._name} unpacks to more than {self._limit} bytes; refused.")

    def read(self, size: int) -> bytes:
        piece = self._stream.read(min(size, self._limit - self._place + 1))
        self._place += len(piece)
        self.check(self._place)
        if self._place > self._headers_end:
            raise DataError(f"{self._name} has headers of more than {_MOST_HEADER_BYTES} bytes; refused.")
        return piece
