"""Which kind of file something is, and several files as one table, their columns matched by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eigenline.algorithms.errors import DataError, UserError, excerpt
from eigenline.command.tables.chunk import Chunk, Columns, Table
from eigenline.command.tables.csv_table import CsvTable
from eigenline.command.tables.source import Source, nothing

_RECORDIO_MAGIC = b"\x0a\x23\xd7\xce"
_SVMLIGHT = re.compile(rb"[+-]?[0-9.eE+-]+([ \t]+[0-9]+:[+-]?[0-9.eE+-]+)+[ \t]*(#[^\n]*)?")


def open_table(
    places: Sequence[str],
    *,
    header: bool | None = None,
    on_bytes: Callable[[int], None] = nothing,
    processes: int = 1,
) -> Table:
    """Open files, folders or standard input (``-``) as one table.

    Parameters
    ----------
    places
        Their paths.
    header
        Whether the first line of CSV holds names; None finds out.
    on_bytes
        Receives how many bytes were read since the last call.
    processes
        In how many a long CSV file of nothing but numbers is parsed, ahead of whoever takes its rows. Numbers are
        float32 then, and those of a chunk are valid until the next one.

    Raises
    ------
    UserError
        If something is not there, not readable, or of no known kind, or columns differ between files.
    """
    tables = [_open(Source(path, on_bytes), header, processes) for path in find(places)]
    return tables[0] if len(tables) == 1 else Joined(tables)


def find(places: Sequence[str]) -> list[Path | None]:
    """Return the files that places stand for; None is standard input.

    Chosen: of a folder, the files in it in the order of their names, without those that begin with ``.`` or ``_``,
    which Spark and Hadoop leave beside their data.
    """
    found: list[Path | None] = []
    for place in places:
        path = Path(place)
        if place == "-":
            found.append(None)
        elif path.is_dir():
            inside = [file for file in sorted(path.rglob("*")) if file.is_file() and file.stat().st_size]
            inside = [f for f in inside if not any(p.startswith((".", "_")) for p in f.relative_to(path).parts)]
            if not inside:
                raise UserError(f"The folder {place} holds no file with data.")
            found += inside
        elif not path.exists():
            raise UserError(f"There is no file {place}.{_near(path)}")
        elif not path.stat().st_size and path.is_file():
            raise UserError(f"{place} is empty: it has no byte.")
        else:
            found.append(path)
    return found


def total_bytes(places: Sequence[str]) -> int:
    """Return the bytes of all files on the disk; 0 where standard input is among them."""
    paths = find(places)
    return 0 if None in paths else sum(path.stat().st_size for path in paths if path is not None)


def _near(path: Path) -> str:
    import difflib

    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return ""
    near = difflib.get_close_matches(path.name, names, n=1)
    return f" Did you mean {path.parent / near[0]}?" if near else ""


def _open(source: Source, header: bool | None, processes: int) -> Table:
    head, suffix = source.head, _suffix(source.path)
    if head[:4] == b"PAR1":
        from eigenline.command.tables.parquet import ParquetTable

        return ParquetTable(source)
    if head[:4] == _RECORDIO_MAGIC:
        from eigenline.command.tables.arrays import RecordIOTable

        return RecordIOTable(source)
    if head[:2] == b"PK" and (suffix == ".npz" or b".npy" in head[:200]):
        from eigenline.command.tables.arrays import open_npz

        return open_npz(source)
    if head.lstrip()[:1] == b"{":
        from eigenline.command.tables.json_lines import JsonLinesTable

        return JsonLinesTable(source)
    if suffix in (".svm", ".svmlight", ".libsvm") or _SVMLIGHT.fullmatch(head.split(b"\n", 1)[0][:2000].rstrip()):
        from eigenline.command.tables.arrays import open_svmlight

        return open_svmlight(source)
    return CsvTable(source, header, processes)


def _suffix(path: Path | None) -> str:
    if path is None:
        return ""
    return Path(path.name.removesuffix(".gz")).suffix.lower()


class Joined:
    """Several tables one after the other; columns in another order are put in the order of the first."""

    def __init__(self, tables: Sequence[Table]) -> None:
        first = tables[0]
        self.name = f"{first.name} and {len(tables) - 1} more"
        self.names: Columns | None = first.names
        self.width, self.separator = first.width, first.separator
        self.has_labels, self.decimal_comma = first.has_labels, first.decimal_comma
        self._tables = tables
        self._orders = [_order(first, table) for table in tables]
        self.notes = [note for table in tables for note in table.notes]

    def chunks(self) -> Iterator[Chunk]:
        """Yield every row of every table."""
        for table, order in zip(self._tables, self._orders, strict=True):
            for chunk in table.chunks():
                yield chunk if order is None else _reordered(chunk, order)


def _order(first: Table, other: Table) -> list[int] | None:
    if (first.names is None) != (other.names is None):
        raise DataError(f"{first.name} and {other.name}: one has column names and the other has none.")
    if first.has_labels != other.has_labels:
        raise DataError(f"{first.name} and {other.name}: one has labels and the other has none.")
    if first.names == other.names:
        if first.width != other.width:
            raise DataError(f"{other.name} has {other.width} columns, but {first.name} has {first.width}.")
        return None
    assert first.names is not None
    assert other.names is not None
    missing = [name for name in first.names if name not in other.names]
    further = [name for name in other.names if name not in first.names]
    if missing or further:
        parts = [f"lacks {', '.join(map(excerpt, missing[:5]))}"] if missing else []
        parts += [f"has {', '.join(map(excerpt, further[:5]))} besides"] if further else []
        raise DataError(f"{other.name} {' and '.join(parts)}, compared with {first.name}. All files must have the "
                        "same columns; their order does not matter.")  # fmt: skip
    return [other.names.index(name) for name in first.names]


def _reordered(chunk: Chunk, order: list[int]) -> Chunk:
    back = {old: new for new, old in enumerate(order)}
    texts = {back[column]: cells for column, cells in chunk.texts.items()}
    numbers: Any = chunk.numbers[:, np.array(order)]
    return Chunk(numbers, texts, chunk.place, None, chunk.labels)
