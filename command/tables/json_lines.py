"""JSON Lines: one object a row, with named values, or SageMaker's own forms with a list of features."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import numpy as np

from eigenline.algorithms.errors import DataError, excerpt
from eigenline.command.tables.chunk import Chunk, Columns, Table, text_of
from eigenline.command.tables.source import Source
from eigenline.formats.content_types import JSON_LINES
from eigenline.formats.reading import read_batches

_ROWS: Final = 10_000


class JsonLinesTable(Table):
    """Rows of named values; names and their order are those of the first row."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.name = source.name
        first = _row(source.head.removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0], f"{self.name}, line 1")
        self.listed = any(isinstance(value, list | dict) for value in first.values())
        if self.listed:
            self.names: Columns | None = None
            self.width = int(next(_batches(source, self.name)).numbers.shape[1])
        else:
            self.names, self.width = tuple(first), len(first)
        self.notes = [
            f"{self.name}: JSON Lines with {self.width} {'features' if self.listed else 'named values'}."
        ]

    def chunks(self) -> Iterator[Chunk]:
        """Yield every row, in the order of the file."""
        if self.listed:
            yield from _batches(self._source, self.name)
            return
        stream = self._source.open()
        try:
            number = 1
            rest = b""
            while True:
                block = stream.read(1 << 22)
                lines = (rest + block).split(b"\n")
                rest = lines.pop() if block else b""
                numbered = enumerate(lines, number)
                number += len(lines)
                while some := list(islice(numbered, _ROWS)):
                    chunk = self._chunk([(at, line) for at, line in some if line.strip()])
                    if len(chunk):
                        yield chunk
                if not block:
                    return
        finally:
            stream.close()

    def _chunk(self, lines: list[tuple[int, bytes]]) -> Chunk:
        assert self.names is not None
        numbers = np.full((len(lines), self.width), np.nan)
        words: list[list[str | None]] = [[None] * len(lines) for _ in range(self.width)]
        known = set(self.names)
        for row, (at, line) in enumerate(lines):
            document = _row(line, f"{self.name}, line {at}")
            if not known.issuperset(document):
                raise DataError(
                    f"{self.name}, line {at}: the name {excerpt(min(document.keys() - known))} is not in the "
                    "first "
                    "row, whose names are the columns."
                )
            for column, name in enumerate(self.names):
                value = document.get(name)
                if isinstance(value, bool | int | float) and abs(value) < 1e300:
                    numbers[row, column] = value
                elif isinstance(value, str):
                    words[column][row] = value.strip()
                elif value is not None:
                    raise DataError(
                        f"{self.name}, line {at}: {excerpt(name)} is {excerpt(value)}; expected a number, a "
                        "text or "
                        "null."
                    )
        texts = {}
        for column, cells in enumerate(words):
            if any(cells):
                own = [text_of(value) for value in numbers[:, column].tolist()]
                texts[column] = [text if cell is None else cell for cell, text in zip(cells, own, strict=True)]
        return Chunk(numbers, texts, lambda row: f"{self.name}, line {lines[row][0]}")


def _batches(source: Source, name: str) -> Iterator[Chunk]:
    first = 0
    stream = source.open()
    try:
        for batch in read_batches(stream, JSON_LINES, name=name):
            place = lambda row, first=first: f"{name}, record {first + row + 1}"  # noqa: E731
            yield Chunk(batch.features, {}, place)
            first += len(batch)
    finally:
        stream.close()


def _row(line: bytes, place: str) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{place}: not JSON: {excerpt(str(error), 100)}. JSON Lines has one object a line."
        ) from None
    if not isinstance(document, dict) or not document:
        raise DataError(f"{place}: expected an object of named values, got {excerpt(document)}.")
    return document
