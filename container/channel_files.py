"""Which files of a channel's folder are its data, and whether they are the same as before."""

from __future__ import annotations

import hashlib
import json
import os
from io import FileIO
from pathlib import Path

from eigenline.algorithms.errors import DataError, excerpt

WHOLE_BYTES = 256 << 20  # read whole in about a quarter of a second
_SAMPLES, _SAMPLE_BYTES = 64, 1 << 14


def find_files(channel: str, folder: Path) -> list[Path]:
    """List the data files of a File or FastFile channel, at any depth, in the order of their names.

    Chosen: names that begin with ``.`` or ``_`` (``_SUCCESS``, ``.part-0.crc``), which Spark and Hadoop leave
    beside their data and call hidden, are passed over, and so are files without a byte. A ``*.manifest`` file is
    not data but a list of it, as ``S3DataType=ManifestFile`` defines it: where one lies in the folder, its list
    decides.

    Raises
    ------
    DataError
        Naming the channel: no such folder, nothing to read in it, or a folder that cannot be listed.
    """
    if not folder.is_dir():
        raise DataError(
            f"Channel {channel!r} is missing: there is no folder {folder}. Mount or copy the channel's files "
            "there."
        )
    files = []
    for path in _all_files(channel, folder):
        if path.name.endswith(".manifest"):
            files = _listed(path)
            break
        if not path.name.startswith((".", "_")) and path.stat().st_size:
            files.append(path)
    if not files:
        raise DataError(
            f"Channel {channel!r} is empty: {folder} holds no file with data. Check the S3 prefix or the mounted "
            "folder."
        )
    return files


def _all_files(channel: str, folder: Path) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise DataError(f"Channel {channel!r}: {error.filename} cannot be listed: {error.strerror}.")

    found = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "_")))
        found += [Path(parent, name) for name in names]
    manifests_first = sorted(found, key=lambda path: (not path.name.endswith(".manifest"), str(path)))
    return [path for path in manifests_first if path.is_file()]


def _listed(manifest: Path) -> list[Path]:
    """Return the files that a manifest lists, ``[{"prefix": "s3://bucket/key/"}, "a.pbr", ...]``."""
    try:
        entries = json.loads(manifest.read_bytes())
        prefix, *names = entries
        if not (isinstance(prefix, dict) and "prefix" in prefix and all(isinstance(n, str) for n in names)):
            raise ValueError("other structure")
    except (ValueError, TypeError) as error:
        raise DataError(
            f'{manifest} is not a manifest: expected a JSON list [{{"prefix": "s3://..."}}, "file", ...].'
        ) from error
    files = [manifest.parent / name for name in names]
    for path in files:
        if not path.is_file() or manifest.parent.resolve() not in path.resolve().parents:
            raise DataError(f"{manifest} lists {excerpt(path.name)}, which is not a file beside it.")
    return files


def fingerprint(file: FileIO, whole: bool) -> str:
    """Return a digest of a file: of all its bytes, or of its size and blocks spread evenly over it.

    Chosen: a checkpoint must not be continued with other data, and names and sizes are the same for any two arrays
    of one shape. Reading a large channel twice would cost minutes on a slow disk, so of more than `WHOLE_BYTES` a
    sample has to do, with the first block and the last: it tells other data, but not a few edited numbers.
    """
    digest = hashlib.sha256()
    size = os.fstat(file.fileno()).st_size
    digest.update(size.to_bytes(8, "little"))
    if whole or size <= _SAMPLES * _SAMPLE_BYTES:
        while block := file.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()
    for sample in range(_SAMPLES):
        digest.update(os.pread(file.fileno(), _SAMPLE_BYTES, sample * (size - _SAMPLE_BYTES) // (_SAMPLES - 1)))
    return digest.hexdigest()
