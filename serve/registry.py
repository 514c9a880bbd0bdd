"""Which models a multi-model endpoint has loaded, the same for all workers, and each worker's copy of them."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from algorithms.errors import UserError, excerpt
from serve.answers import Refusal
from serve.models import ServedModel, load_model

PAGE_SIZE: Final = 100
_OVERHEAD_BYTES: Final = 4096  # Python objects of a loaded model beside its arrays (measured: about 3 kB)


@dataclass(frozen=True)
class Entry:
    """One loaded model: its opaque name, the folder that it came from, and the number of this loading."""

    name: str
    url: str
    generation: int


class Registry:
    """The models of a multi-model endpoint.

    The list of what is loaded is one SQLite file that all workers of the server share, so load, get and
    unload mean the same whichever worker answers: SQLite's transactions decide who was first. The arrays are
    each worker's own, read when it is first asked for the model; an entry's generation tells a model that was
    unloaded and loaded again, perhaps from elsewhere, from its former self. Models that are no longer listed
    leave a worker's memory at its next `forget_unlisted`, called by every worker once a second.

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
        self._file = file
        self._root = root
        self._memory_bytes = memory_bytes
        self._workers = workers
        self._lock = threading.Lock()  # guards the connection and the dictionary of this process
        self._models: dict[str, tuple[int, ServedModel]] = {}
        self._connection: sqlite3.Connection | None = None
        self._process = 0
        self._seen_version = -1
        with self._transaction(write=True) as connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS models (generation INTEGER PRIMARY KEY AUTOINCREMENT, "
                "name TEXT NOT NULL UNIQUE, url TEXT NOT NULL, bytes INTEGER NOT NULL)"
            )
        self.close()  # before the workers fork: a connection must not cross that

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
        model = load_model(self._inside_root(url))
        needed = model.num_bytes + _OVERHEAD_BYTES
        with self._transaction(write=True) as connection:
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
                    "INSERT INTO models (name, url, bytes) VALUES (?, ?, ?)", (name, url, needed)
                )
            except sqlite3.IntegrityError:
                raise _already_loaded(name) from None
            assert cursor.lastrowid is not None
            entry = Entry(name, url, cursor.lastrowid)
            self._models[name] = (entry.generation, model)
        return entry

    def unload(self, name: str) -> Entry:
        """Take a model off the list and out of this worker's memory; requests under way still finish."""
        with self._transaction(write=True) as connection:
            row = connection.execute(
                "DELETE FROM models WHERE name = ? RETURNING name, url, generation", (name,)
            ).fetchone()
            if row is None:
                raise _not_loaded(name)
            self._models.pop(name, None)
        return Entry(*row)

    def get(self, name: str) -> Entry:
        """Return what is listed under a name, or raise 404."""
        entry = self._find(name)
        if entry is None:
            raise _not_loaded(name)
        return entry

    def page(self, token: str = "", size: int = PAGE_SIZE) -> tuple[list[Entry], str | None]:
        """Return up to `size` entries by name, those after `token`, and the token of the next page if any."""
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT name, url, generation FROM models WHERE name > ? ORDER BY name LIMIT ?", (token, size + 1)
            ).fetchall()
        entries = [Entry(*row) for row in rows[:size]]
        return entries, entries[-1].name if len(rows) > size else None

    def model(self, name: str) -> ServedModel:
        """Return a listed model, reading it where this worker does not have it yet."""
        entry = self.get(name)
        held = self._models.get(name)
        if held is not None and held[0] == entry.generation:
            return held[1]
        try:
            model = load_model(self._inside_root(entry.url))
        except UserError:
            self.get(name)  # unloaded, and its files removed, while we looked: 404 is the truth then
            raise
        with self._transaction() as connection:
            listed = connection.execute(
                "SELECT 1 FROM models WHERE generation = ?", (entry.generation,)
            ).fetchone()
            if listed is None:
                raise _not_loaded(name)
            self._models[name] = (entry.generation, model)
        return model

    def forget_unlisted(self) -> None:
        """Drop this worker's copies of models that some worker has unloaded."""
        with self._transaction() as connection:
            (version,) = connection.execute("PRAGMA data_version").fetchone()
            if version == self._seen_version:
                return
            self._seen_version = version
            listed = {row[0] for row in connection.execute("SELECT generation FROM models")}
            for name in [name for name, held in self._models.items() if held[0] not in listed]:
                del self._models[name]

    def _find(self, name: str) -> Entry | None:
        with self._transaction() as connection:
            row = connection.execute("SELECT name, url, generation FROM models WHERE name = ?", (name,)).fetchone()
        return None if row is None else Entry(*row)

    def close(self) -> None:
        """Close this process's connection; the next call opens another."""
        with self._lock:
            if self._connection is not None and self._process == os.getpid():
                self._connection.close()
            self._connection = None

    @contextmanager
    def _transaction(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._connection is None or self._process != os.getpid():
                self._process = os.getpid()
                self._connection = sqlite3.connect(
                    self._file, timeout=30, isolation_level=None, check_same_thread=False
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

    def _inside_root(self, url: str) -> Path:
        path, root = Path(url).resolve(), self._root.resolve()
        if not path.is_relative_to(root):
            raise Refusal(400, f"url {excerpt(url)} lies outside {root}, where models are loaded from.")
        if not path.exists():
            raise Refusal(400, f"url {excerpt(url)}: there is no such file or folder.")
        return path


def _checked_name(name: object) -> str:
    if (
        not isinstance(name, str)
        or not 1 <= len(name) <= 1024
        or any(ord(sign) < 32 or sign == "/" for sign in name)
    ):
        raise Refusal(400, f"model_name must be a text of 1 to 1,024 characters without '/'; got {excerpt(name)}.")
    return name


def _checked_url(url: object) -> str:
    if not isinstance(url, str) or not url or "\0" in url:
        raise Refusal(400, f"url must be the path of the model's folder; got {excerpt(url)}.")
    return url


def _already_loaded(name: str) -> Refusal:
    return Refusal(409, f"Model {excerpt(name)} is already loaded.")


def _not_loaded(name: str) -> Refusal:
    return Refusal(404, f"Model {excerpt(name)} is not loaded; POST /models loads it, GET /models lists all.")
