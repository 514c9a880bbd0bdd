"""The zip archive of a Linear Learner artifact: written uncompressed, read member by member within bounds."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final, TypeAlias, cast

from eigenline.algorithms.errors import DataError, excerpt
from eigenline.formats.artifact.memory_budget import ArtifactTooLarge

TimeStamp: TypeAlias = tuple[int, int, int, int, int, int]
FIRST_TIME_STAMP: Final[TimeStamp] = (1980, 1, 1, 0, 0, 0)  # the earliest that the zip format can express
_REGULAR_0644: Final = 0o100644 << 16
_UNIX: Final = 3
_MOST_MEMBERS: Final = 64
# All that the zipfile module raises for damaged, encrypted or exotic archives.
_ZIP_ERRORS: Final = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    ValueError,
    EOFError,
    OSError,
    IndexError,
    OverflowError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True)
class Member:
    """One file of an archive."""

    name: str
    content: bytes
    time_stamp: TimeStamp = FIRST_TIME_STAMP


def looks_like_zip(data: bytes) -> bool:
    """Return whether bytes begin as a zip archive with at least one member does."""
    return bytes(data[:4]) == b"PK\x03\x04"


def write_zip(members: Sequence[Member]) -> bytes:
    """Write members uncompressed, in order, as SageMaker does: mode 0644, made on Unix, no extra fields."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for member in members:
            info = zipfile.ZipInfo(member.name, member.time_stamp)
            info.external_attr = _REGULAR_0644
            info.create_system = _UNIX
            archive.writestr(info, member.content)
    return buffer.getvalue()


class ZipReader:
    """The members of an open archive, each with a bound on its size that is checked before anything is read.

    Names are only ever compared, never used as paths.

    Parameters
    ----------
    archive
        The archive.
    archive_bytes
        Size of the archive: no stored member can be larger.
    limit_bytes
        Most bytes that a compressed member may unpack to.
    name
        What errors call the archive.
    """

    def __init__(self, archive: zipfile.ZipFile, archive_bytes: int, limit_bytes: int, name: str) -> None:
        self._archive = archive
        self._archive_bytes = archive_bytes
        self._limit_bytes = limit_bytes
        self._name = name
        self.infos = archive.infolist()
        if len(self.infos) > _MOST_MEMBERS:
            raise DataError(f"{name} has {len(self.infos)} members; a model artifact has four.")
        self.names = frozenset(info.filename for info in self.infos)

    @contextmanager
    def open(self, info: zipfile.ZipInfo | str, most_bytes: int | None = None) -> Iterator[tuple[BinaryIO, int]]:
        """Open a member for reading; gives the stream and how many bytes it must yield.

        Parameters
        ----------
        info
            The member, or its name.
        most_bytes
            Most bytes that it may have; None: as many as any.

        Raises
        ------
        ArtifactTooLarge
            If its header claims more.
        """
        info = self._archive.getinfo(info) if isinstance(info, str) else info
        if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            # Others may claim gigabytes for their tables; the service stores its members as they are.
            raise DataError(f"{self._name}: member {excerpt(info.filename)} is compressed in an unknown way.")
        limit = self._archive_bytes if info.compress_type == zipfile.ZIP_STORED else self._limit_bytes
        limit = limit if most_bytes is None else min(limit, most_bytes)
        if info.file_size > limit:
            raise ArtifactTooLarge(
                f"{self._name}: member {excerpt(info.filename)} claims {info.file_size} bytes; refused."
            )
        with self._archive.open(info) as stream:
            yield cast(BinaryIO, stream), info.file_size

    def read(self, info: zipfile.ZipInfo | str, most_bytes: int | None = None) -> bytes:
        """Return a member's content; see `open`."""
        with self.open(info, most_bytes) as (stream, size):
            return stream.read(size)


@contextmanager
def open_zip(data: bytes, *, name: str, limit_bytes: int) -> Iterator[ZipReader]:
    """Open an archive for reading some of its members.

    Parameters
    ----------
    data
        The archive.
    name
        What errors call it.
    limit_bytes
        Most bytes that a member may unpack to.

    Raises
    ------
    DataError
        If the archive is damaged or encrypted; also from the body.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            yield ZipReader(archive, len(data), limit_bytes, name)
    except _ZIP_ERRORS as error:
        raise DataError(f"{name} is not a readable zip archive: {excerpt(str(error), 120)}.") from None


def read_zip(data: bytes, *, name: str = "the archive", limit_bytes: int = 1 << 30) -> list[Member]:
    """Read all members of an archive into memory.

    Parameters
    ----------
    data
        The archive.
    name
        What errors call it.
    limit_bytes
        Most bytes that a compressed member may unpack to.

    Raises
    ------
    DataError
        If the archive is damaged, encrypted, or would unpack to more than a model can be.
    """
    with open_zip(data, name=name, limit_bytes=limit_bytes) as archive:
        return [_member(archive, info) for info in archive.infos]


def _member(archive: ZipReader, info: zipfile.ZipInfo) -> Member:
    year, month, day, hour, minute, second = info.date_time
    return Member(info.filename, archive.read(info), (year, month, day, hour, minute, second))
