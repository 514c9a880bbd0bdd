"""Which models a multi-model endpoint has loaded, the same for all workers, and each worker's copy of them."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from eigenline.algorithms.errors import UserError, excerpt
from eigenline.serve.answers import Refusal
from eigenline.serve.models import ServedModel, load_model
from eigenline.serve.registry_file import RegistryFile, patience

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
    leave a worker's memory at its next `forget_unlisted`, which every worker calls several times a second.

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
        self._file = RegistryFile(file)
        self._root = root
        self._memory_bytes = memory_bytes
        self._workers = workers
        self._models: dict[str, tuple[int, ServedModel]] = {}  # changed within transactions only
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
        model = load_model(self._inside_root(url))
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
                    "INSERT INTO models (name, url, bytes) VALUES (?, ?, ?)", (name, url, needed)
                )
            except sqlite3.IntegrityError:
                raise _already_loaded(name) from None
            assert cursor.lastrowid is not None
            entry = Entry(name, url, cursor.lastrowid)
            self._models[name] = (entry.generation, model)
        return entry

    def unload(self, name: str) -> Entry:
        """Take a model off the list and out of every worker's memory; requests under way still finish.

        Returns when all workers have dropped it, as SageMaker wants it; one that is too busy for that for two
        seconds drops it later.
        """
        with self._file.transaction(write=True) as connection:
            row = connection.execute(
                "DELETE FROM models WHERE name = ? RETURNING name, url, generation", (name,)
            ).fetchone()
            if row is None:
                raise _not_loaded(name)
            unloads = connection.execute("INSERT INTO unloads (generation) VALUES (?)", (row[2],)).lastrowid
            self._models.pop(name, None)
        assert unloads is not None
        for _ in patience():
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
        return held[1] if entry is not None and entry.generation == held[0] else None

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
        with self._file.transaction() as connection:
            listed = connection.execute(
                "SELECT 1 FROM models WHERE generation = ?", (entry.generation,)
            ).fetchone()
            if listed is None:
                raise _not_loaded(name)
            self._models[name] = (entry.generation, model)
        return model

    def forget_unlisted(self) -> None:
        """Drop this worker's copies of models that some worker has unloaded, and tell the others so."""
        with self._file.transaction() as connection:
            (version,) = connection.execute("PRAGMA data_version").fetchone()
            if version == self._seen_version and self._seen_unloads >= 0:
                return
            self._seen_version = version
            (unloads,) = connection.execute("SELECT coalesce(max(number), 0) FROM unloads").fetchone()
            listed = {row[0] for row in connection.execute("SELECT generation FROM models")}
            for name in [name for name, held in self._models.items() if held[0] not in listed]:
                del self._models[name]
        if unloads != self._seen_unloads:  # else workers would wake each other for ever
            self._seen_unloads = unloads
            self._file.note_seen(unloads)

    def _find(self, name: str) -> Entry | None:
        with self._file.transaction() as connection:
            row = connection.execute("SELECT name, url, generation FROM models WHERE name = ?", (name,)).fetchone()
        return None if row is None else Entry(*row)

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
