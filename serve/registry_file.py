"""The SQLite file that the workers of a multi-model endpoint share: the models, and what each worker has seen."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS models (generation INTEGER PRIMARY KEY AUTOINCREMENT, "
    "name TEXT NOT NULL UNIQUE, url TEXT NOT NULL, bytes INTEGER NOT NULL, files TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS unloads (number INTEGER PRIMARY KEY AUTOINCREMENT, generation INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS workers (process INTEGER PRIMARY KEY, seen INTEGER NOT NULL)",
)
_BUSY_WORKER_SECONDS: Final = 2.0  # with workers that are busy, before an unload is answered all the same


class RegistryFile:
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


def attempts() -> Iterator[None]:
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
