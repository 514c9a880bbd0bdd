"""The models that a multi-model endpoint has loaded, the same for all workers, and each worker's copies.

The workers share one SQLite file: the models, and which unloads each worker has seen.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from eigenline.algorithms.errors import UserError, excerpt
from eigenline.serve.answers import Refusal
from eigenline.serve.models import ServedModel, files_of, load_model

PAGE_SIZE: Final = 100
_OVERHEAD_BYTES: Final = 4096  # Python objects of a loaded model beside its arrays (measured: about 3 kB)
_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS models (generation INTEGER PRIMARY KEY AUTOINCREMENT, "
    "name TEXT NOT NULL UNIQUE, url TEXT NOT NULL, bytes INTEGER NOT NULL, files TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS unloads (number INTEGER PRIMARY KEY AUTOINCREMENT, generation INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS workers (process INTEGER PRIMARY KEY, seen INTEGER NOT NULL)",
)
_BUSY_WORKER_SECONDS: Final = 2.0  # with workers that are busy, before an unload is answered all the same


@dataclass(frozen=True)
class Entry:
    """One loaded model: its opaque name, its folder, the number of this loading, and its files as JSON."""

    name: str
    url: str
    generation: int
    files: str = ""


@dataclass(frozen=True)
class _Copy:
    """What one worker has in memory of an entry."""

    generation: int
    model: ServedModel
    files: dict[str, tuple[int, int, int]]


class Registry:
    """The models of a multi-model endpoint.

    The list of what is loaded is one SQLite file that all workers of the server share, so load, get and
    unload mean the same whichever worker answers: SQLite's transactions decide who was first. The arrays are
    each worker's own, read on the model's first use; an entry's generation distinguishes a model that was
    unloaded and loaded again, perhaps from elsewhere, from its former self. Models that are no longer listed
    leave a worker's memory at its next `forget_unlisted`, which every worker calls several times per second.

    The list has the size, time and number of each file that a model came from. A model whose files have changed
    since is refused by all workers alike: some have it in memory and others would read another one.

    Parameters
    ----------
    file
        The shared file; made if it is not there.
    root
        Models are loaded from below this folder only.
    memory_bytes
        What the models of all workers together may take; a load beyond it is refused with 507.
    workers
        How many processes hold copies.
    """

    def __init__(self, file: Path, root: Path, memory_bytes: int, workers: int = 1) -> None:
        self._file = _RegistryFile(file)
        self._root = root
        self._memory_bytes = memory_bytes
        self._workers = workers
        self._models: dict[str, _Copy] = {}  # changed within transactions only
        self._seen_version = -1
        self._seen_unloads = -1

    def load(self, name: object, url: object) -> Entry:
        """Read a model and list it.

        Raises
        ------
        Refusal
            409 when the name is loaded already, 507 when memory does not suffice.
        UserError
            When there is no model at `url`, or it cannot be read.
        """
        name, url = _checked_name(name), _checked_url(url)
        if self._find(name) is not None:
            raise _already_loaded(name)
        model, files = self._read(name, url)
        needed = model.num_bytes + _OVERHEAD_BYTES
        with self._file.transaction(write=True) as connection:
            (taken,) = connection.execute("SELECT coalesce(sum(bytes), 0) FROM models").fetchone()
            if (taken + needed) * self._workers > self._memory_bytes:
                raise Refusal(
                    507,
                    f"No memory for model {excerpt(name)}: it needs {needed} bytes in each of {self._workers} "
                    f"worker(s), {taken} are taken, and all together may take {self._memory_bytes}. "
                    "Unload another model first.",
                )
            try:
                cursor = connection.execute(
                    "INSERT INTO models (name, url, bytes, files) VALUES (?, ?, ?, ?)",
                    (name, url, needed, json.dumps(files)),
                )
            except sqlite3.IntegrityError:
                raise _already_loaded(name) from None
            assert cursor.lastrowid is not None
            entry = Entry(name, url, cursor.lastrowid)
            self._models[name] = _Copy(entry.generation, model, files)
        return entry

    def unload(self, name: str) -> Entry:
        """Take a model off the list and out of every worker's memory; requests under way still finish.

        Returns when all workers have dropped it, as SageMaker wants it; one that is too busy for that for two
        seconds drops it later.
        """
        self.get(name)
        with self._file.transaction(write=True) as connection:
            row = connection.execute(
                "DELETE FROM models WHERE name = ? RETURNING name, url, generation", (name,)
            ).fetchone()
            if row is None:
                raise _not_loaded(name)
            unloads = connection.execute("INSERT INTO unloads (generation) VALUES (?)", (row[2],)).lastrowid
            self._models.pop(name, None)
        assert unloads is not None
        for _ in _attempts():
            self.forget_unlisted()
            if self._file.others_have_seen(unloads):
                break
        return Entry(*row)

    def get(self, name: str) -> Entry:
        """Return what is listed under a name, or raise 404."""
        entry = self._find(name)
        if entry is None:
            raise _not_loaded(name)
        return entry

    def page(self, token: str = "", size: int = PAGE_SIZE) -> tuple[list[Entry], str | None]:
        """Return up to `size` entries by name, those after `token`, and the token of the next page if any."""
        with self._file.transaction() as connection:
            rows = connection.execute(
                "SELECT name, url, generation FROM models WHERE name > ? ORDER BY name LIMIT ?", (token, size + 1)
            ).fetchall()
        entries = [Entry(*row) for row in rows[:size]]
        return entries, entries[-1].name if len(rows) > size else None

    def held(self, name: str) -> ServedModel | None:
        """Return a listed model that this worker has in memory."""
        held = self._models.get(name)
        if held is None:
            return None
        entry = self._find(name)
        if entry is None or entry.generation != held.generation or _have_changed(held.files):
            return None
        return held.model

    def model(self, name: str) -> ServedModel:
        """Return a listed model, reading it where this worker does not have it yet."""
        entry = self.get(name)
        held = self._models.get(name)
        if held is not None and held.generation == entry.generation:
            if _have_changed(held.files):
                raise _changed(name)
            return held.model
        listed_files = {path: tuple(stamp) for path, stamp in json.loads(entry.files).items()}
        try:
            model, files = self._read(name, entry.url)
        except UserError:
            self.get(name)  # unloaded, and its files removed, meanwhile: 404 is the truth then
            raise _changed(name) from None
        if files != listed_files:
            self.get(name)
            raise _changed(name)
        with self._file.transaction() as connection:
            listed = connection.execute(
                "SELECT 1 FROM models WHERE generation = ?", (entry.generation,)
            ).fetchone()
            if listed is None:
                raise _not_loaded(name)
            self._models[name] = _Copy(entry.generation, model, files)
        return model

    def forget_unlisted(self) -> None:
        """Drop this worker's copies of models that some worker has unloaded, and record that for the others."""
        with self._file.transaction() as connection:
            (version,) = connection.execute("PRAGMA data_version").fetchone()
            if version == self._seen_version and self._seen_unloads >= 0:
                return
            self._seen_version = version
            (unloads,) = connection.execute("SELECT coalesce(max(number), 0) FROM unloads").fetchone()
            listed = {row[0] for row in connection.execute("SELECT generation FROM models")}
            for name in [name for name, held in self._models.items() if held.generation not in listed]:
                del self._models[name]
        if unloads != self._seen_unloads:  # else workers would wake each other for ever
            self._seen_unloads = unloads
            self._file.note_seen(unloads)

    def _find(self, name: str) -> Entry | None:
        if not _is_unicode(name):
            return None
        with self._file.transaction() as connection:
            row = connection.execute(
                "SELECT name, url, generation, files FROM models WHERE name = ?", (name,)
            ).fetchone()
        return None if row is None else Entry(*row)

    def _read(self, name: str, url: str) -> tuple[ServedModel, dict[str, tuple[int, int, int]]]:
        """Read a model, and what its files were like all the while; its reports, which may be large, are left."""
        place = self._inside_root(url)
        files = files_of(place)
        model = load_model(place, with_reports=False)
        if files_of(place) != files:
            raise Refusal(409, f"The files of model {excerpt(name)} changed while they were read; load it again.")
        return model, files

    def _inside_root(self, url: str) -> Path:
        root = self._root.resolve()
        try:
            path = Path(url).resolve()
            there = path.exists()
        except (OSError, RuntimeError) as error:  # too long for the file system, or a loop of links
            reason = getattr(error, "strerror", None) or "its links lead in a circle"
            raise Refusal(400, f"url {excerpt(url)} cannot be followed: {reason}.") from None
        if not path.is_relative_to(root):
            raise Refusal(400, f"url {excerpt(url)} lies outside {root}, where models are loaded from.")
        if not there:
            raise Refusal(400, f"url {excerpt(url)}: there is no such file or folder.")
        return path


def _checked_name(name: object) -> str:
    if (
        not isinstance(name, str)
        or not 1 <= len(name) <= 1024
        or not _is_unicode(name)
        or any(ord(sign) < 32 or sign == "/" for sign in name)
    ):
        raise Refusal(400, f"model_name must be a text of 1 to 1,024 characters without '/'; got {excerpt(name)}.")
    return name


def _checked_url(url: object) -> str:
    if not isinstance(url, str) or not url or "\0" in url or not _is_unicode(url):
        raise Refusal(400, f"url must be the path of the model's folder; got {excerpt(url)}.")
    return url


def _is_unicode(text: str) -> bool:
    """Return whether a text can be written as UTF-8; JSON may hold halves of surrogate pairs, which cannot."""
    return not any("\ud800" <= sign <= "\udfff" for sign in text)


def _have_changed(files: dict[str, tuple[int, int, int]]) -> bool:
    for path, (size, changed, number) in files.items():
        try:
            status = os.stat(path)
        except OSError:
            return True
        if (status.st_mtime_ns, status.st_ino) != (changed, number) or (size and status.st_size != size):
            return True
    return False


def _changed(name: str) -> Refusal:
    return Refusal(
        409, f"The files of model {excerpt(name)} have changed since it was loaded. Unload it and load it again."
    )


def _already_loaded(name: str) -> Refusal:
    return Refusal(409, f"Model {excerpt(name)} is already loaded.")


def _not_loaded(name: str) -> Refusal:
    return Refusal(404, f"Model {excerpt(name)} is not loaded; POST /models loads it, GET /models lists all.")


class _RegistryFile:
    """One process's connection to the shared file; made again after a fork, which no connection may cross.

    Parameters
    ----------
    path
        Made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()  # one transaction of this process at a time
        self._connection: sqlite3.Connection | None = None
        self._process = 0
        with self.transaction(write=True) as connection:
            for table in _TABLES:
                connection.execute(table)
        self.close()  # before the workers fork

    def close(self) -> None:
        """Close this process's connection; the next transaction opens another."""
        with self._lock:
            if self._connection is not None and self._process == os.getpid():
                self._connection.close()
            self._connection = None

    @contextmanager
    def transaction(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        """Hold the connection; with `write`, all that is done in the block happens at once or not at all."""
        with self._lock:
            if self._connection is None or self._process != os.getpid():
                self._process = os.getpid()
                self._connection = sqlite3.connect(
                    self._path, timeout=30, isolation_level=None, check_same_thread=False
                )
                self._connection.execute("PRAGMA synchronous = OFF")  # the list need not outlive the server
            if not write:  # one statement is a transaction of its own
                yield self._connection
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def note_seen(self, unloads: int) -> None:
        """Record that this process has dropped what the first `unloads` unloads took off the list."""
        with self.transaction(write=True) as connection:
            connection.execute(
                "INSERT INTO workers (process, seen) VALUES (?, ?) "
                "ON CONFLICT DO UPDATE SET seen = max(seen, excluded.seen)",
                (os.getpid(), unloads),
            )

    def others_have_seen(self, unloads: int) -> bool:
        """Return whether all other living processes that ever looked have dropped what those unloads removed."""
        with self.transaction() as connection:
            behind = connection.execute(
                "SELECT process FROM workers WHERE seen < ? AND process != ?", (unloads, os.getpid())
            ).fetchall()
        return not any(_lives(process) for (process,) in behind)


def _attempts() -> Iterator[None]:
    """Yield again and again, a hundredth of a second apart, while it is worth waiting for busy workers."""
    ends = time.monotonic() + _BUSY_WORKER_SECONDS
    while time.monotonic() < ends:
        yield
        time.sleep(0.01)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
