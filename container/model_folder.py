"""What a finished job leaves behind: complete files that appear together, or nothing at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_PARTIAL = ".partial-"


def write_together(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a folder so that a reader never sees half of one, and never the last without the others.

    Every file is first written whole under a hidden name; only then are all renamed, in the order given. Put the
    file whose presence means "complete" last. When anything fails (a full disk, most often), the hidden files are
    removed and what was in the folder before is as it was.

    Parameters
    ----------
    folder
        Made where it does not exist.
    files
        Plain file names to contents.

    Raises
    ------
    OSError
        Whatever the operating system said, with the final name of the file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in files:
        if not name or Path(name).name != name or name.startswith("."):
            raise ValueError(f"not a plain file name: {name!r}")
    remove_partial(folder)
    try:
        for name, content in files.items():
            _write_whole(folder / f"{_PARTIAL}{name}", content, folder / name)
        for name in files:
            os.replace(folder / f"{_PARTIAL}{name}", folder / name)
    except BaseException:
        remove_partial(folder)
        raise


def _write_whole(path: Path, content: bytes, final: Path) -> None:
    try:
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # a full or failing disk says so here, not after the rename
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(final)) from error


def remove_partial(folder: Path) -> None:
    """Remove what a killed process left half-written in a folder."""
    for path in folder.glob(f"{_PARTIAL}*"):
        path.unlink(missing_ok=True)


def models_in(folder: Path) -> frozenset[tuple[str, int]]:
    """Return name and time of every complete model in a folder, as far as it can be listed.

    What is in two such sets was not written in between.
    """
    try:
        return frozenset((path.name, path.stat().st_mtime_ns) for path in folder.glob("model_*"))
    except OSError:
        return frozenset()
