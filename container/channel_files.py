"""Which files of a channel's folder are its data, and whether they are the same as before."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path

from eigenline.algorithms.errors import DataError, Stopped, UserError, excerpt
from eigenline.container.configuration import read_json

WHOLE_BYTES = 256 << 20  # read whole in about a quarter of a second
_SAMPLES, _SAMPLE_BYTES = 64, 1 << 14


def find_files(channel: str, folder: Path) -> list[Path]:
    """List the data files of a File or FastFile channel, at any depth, in the order of their names.

    Chosen: names that begin with ``.`` or ``_`` (``_SUCCESS``, ``.part-0.crc``), which Spark and Hadoop leave
    beside their data and call hidden, are passed over, and so are files without a byte. Links are followed, to
    files and to folders, because a link is made to be followed. A ``*.manifest`` file is not data but a
    list of it, as ``S3DataType=ManifestFile`` defines it: where one lies in the folder, its list decides.

    Raises
    ------
    DataError
        Naming the channel: no such folder, nothing to read in it, a folder that cannot be listed, a link that
        leads nowhere or in a circle, or something that is neither a file nor a folder.
    """
    if not folder.is_dir():
        raise DataError(
            f"Channel {channel!r} is missing: there is no folder {folder}. Mount or copy the channel's files "
            "there."
        )
    found = sorted(_all_files(channel, folder), key=str)
    manifest = next((path for path in found if path.name.endswith(".manifest")), None)
    files = found if manifest is None else _listed(manifest)
    files = [path for path in files if path.stat().st_size]
    if not files:
        raise DataError(
            f"Channel {channel!r} is empty: {folder} holds no file with data. Check the S3 prefix or the mounted "
            "folder."
        )
    return files


def _all_files(channel: str, folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, links followed."""
    # Each folder goes with the identity of every folder on the way to it: a link back to one of them has no end.
    waiting: list[tuple[Path, frozenset[tuple[int, int]]]] = [(folder, frozenset())]
    while waiting:
        parent, above = waiting.pop()
        try:
            place = parent.stat()
            entries = list(os.scandir(parent))
        except OSError as error:
            raise DataError(f"Channel {channel!r}: {parent} cannot be listed: {error.strerror}.") from error
        above |= {(place.st_dev, place.st_ino)}
        for entry in entries:
            if entry.name.startswith((".", "_")) and not entry.name.endswith(".manifest"):
                continue
            path, status = Path(entry.path), _status(channel, entry)
            if stat.S_ISREG(status.st_mode):
                yield path
            elif not stat.S_ISDIR(status.st_mode):
                raise DataError(f"Channel {channel!r}: {path} is neither a file nor a folder.")
            elif (status.st_dev, status.st_ino) in above:
                raise DataError(f"Channel {channel!r}: {path} is a link to a folder that it lies in itself.")
            else:
                waiting.append((path, above))


def _status(channel: str, entry: os.DirEntry[str]) -> os.stat_result:
    try:
        return entry.stat()
    except OSError as error:
        if entry.is_symlink() and isinstance(error, FileNotFoundError):
            raise DataError(
                f"Channel {channel!r}: {entry.path} is a link to {excerpt(os.readlink(entry.path))}, which is not "
                "there. Links must not lead out of a folder that is mounted into a container."
            ) from error
        raise DataError(f"Channel {channel!r}: {entry.path} cannot be read: {error.strerror}.") from error


def _listed(manifest: Path) -> list[Path]:
    """Return the files that a manifest lists, ``[{"prefix": "s3://bucket/key/"}, "a.pbr", ...]``."""
    try:
        entries = read_json(manifest)
    except UserError as error:
        raise DataError(f"{manifest} is not a manifest. {error}") from error
    if not (
        isinstance(entries, list)
        and entries
        and isinstance(entries[0], dict)
        and "prefix" in entries[0]
        and all(isinstance(name, str) for name in entries[1:])
    ):
        raise DataError(
            f'{manifest} is not a manifest: expected a JSON list [{{"prefix": "s3://..."}}, "file", ...].'
        )
    folder = manifest.parent
    files = [folder / name for name in entries[1:]]
    for path in files:
        inside = folder.absolute() in Path(os.path.normpath(path.absolute())).parents
        if not inside or "\0" in str(path) or not path.is_file():
            raise DataError(f"{manifest} lists {excerpt(path.name)}, which is not a file beside it.")
    return files


def fingerprint(file: FileIO, whole: bool, stopping: Callable[[], bool] = lambda: False) -> str:
    """Return a digest of a file: of all its bytes, or of its size and blocks spread evenly over it.

    Chosen: a checkpoint must not be continued with other data, and names and sizes are the same for any two arrays
    of one shape. Reading a large channel twice would cost minutes on a slow disk, so of more than `WHOLE_BYTES` a
    sample has to do, with the first block and the last: it notices other data, but not a few edited numbers.

    Raises
    ------
    Stopped
        Where `stopping` came true while the file was read.
    """
    digest = hashlib.sha256()
    size = os.fstat(file.fileno()).st_size
    digest.update(size.to_bytes(8, "little"))
    if whole or size <= _SAMPLES * _SAMPLE_BYTES:
        while block := file.read(1 << 20):
            digest.update(block)
            if stopping():
                raise Stopped
        return digest.hexdigest()
    for sample in range(_SAMPLES):
        digest.update(os.pread(file.fileno(), _SAMPLE_BYTES, sample * (size - _SAMPLE_BYTES) // (_SAMPLES - 1)))
        if stopping():
            raise Stopped
    return digest.hexdigest()
