"""The zip layer of a Linear Learner artifact: uncompressed members, kept with their order and time stamps."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from eigenline.algorithms.errors import DataError, excerpt

TimeStamp: TypeAlias = tuple[int, int, int, int, int, int]
FIRST_TIME_STAMP: Final[TimeStamp] = (1980, 1, 1, 0, 0, 0)  # the earliest that the zip format can express
_REGULAR_0644: Final = 0o100644 << 16
_UNIX: Final = 3
_MOST_MEMBERS: Final = 64
_MOST_BYTES: Final = 1 << 30  # of one compressed member; stored ones are bounded by the file itself
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


def read_zip(data: bytes, *, name: str = "the archive") -> list[Member]:
    """Read all members of an archive into memory, with bounds on their number and size.

    Names are only ever compared, never used as paths.

    Raises
    ------
    DataError
        If the archive is damaged, encrypted, or would unpack to more than a model can be.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            if len(infos) > _MOST_MEMBERS:
                raise DataError(f"{name} has {len(infos)} members; a model artifact has four.")
            return [_read_member(archive, info, len(data), name) for info in infos]
    except _ZIP_ERRORS as error:
        raise DataError(f"{name} is not a readable zip archive: {excerpt(str(error), 120)}.") from None


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, archive_bytes: int, name: str) -> Member:
    limit = archive_bytes if info.compress_type == zipfile.ZIP_STORED else _MOST_BYTES
    if info.file_size > limit:
        raise DataError(f"{name}: member {excerpt(info.filename)} claims {info.file_size} bytes; refused.")
    with archive.open(info) as stream:
        content = stream.read(limit + 1)  # at most what the header claims, whose size is checked above
    year, month, day, hour, minute, second = info.date_time
    return Member(info.filename, content, (year, month, day, hour, minute, second))
