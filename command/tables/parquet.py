"""Parquet, read by pyarrow in chunks of rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from eigenline.algorithms.errors import DataError, UserError, excerpt
from eigenline.command.tables.chunk import Chunk, Columns, Table
from eigenline.command.tables.source import Source

_ROWS = 65_536


class ParquetTable(Table):
    """A Parquet file; its columns are numbers, booleans or texts."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.name = source.name
        file = self._open()
        self.names: Columns | None = tuple(file.schema_arrow.names)
        self.width = len(file.schema_arrow.names)
        self.notes = [f"{self.name}: Parquet, {file.metadata.num_rows:,} rows of {self.width} columns."]
        types = file.schema_arrow.types
        for name, kind in zip(file.schema_arrow.names, types, strict=True):
            if str(kind).startswith(("list", "struct", "map", "large_list", "fixed_size_list", "binary")):
                raise DataError(
                    f"{self.name}: column {excerpt(name)} is of type {kind}; expected numbers or texts."
                )

    def _open(self) -> Any:
        try:
            from pyarrow import ArrowInvalid
            from pyarrow.parquet import ParquetFile
        except ImportError:
            raise UserError(
                f"{self.name} is Parquet, which the package pyarrow reads: pip install 'eigenline[parquet]'."
            ) from None
        if self._source.path is None:
            raise DataError("Parquet cannot be read from standard input: its table of contents is at the end.")
        try:
            return ParquetFile(self._source.path)
        except (ArrowInvalid, OSError) as error:
            raise DataError(f"{self.name} is not readable Parquet: {excerpt(str(error), 120)}.") from None

    def chunks(self) -> Iterator[Chunk]:
        """Yield every row, in the order of the file."""
        first = 0
        file = self._open()
        size = self._source.size
        total = max(1, file.metadata.num_rows)
        try:
            for batch in file.iter_batches(batch_size=_ROWS):
                yield self._chunk(batch, first)
                first += batch.num_rows
                self._source.on_bytes(size * batch.num_rows // total)
        except OSError as error:
            raise DataError(f"{self.name} is damaged: {excerpt(str(error), 120)}.") from None

    def _chunk(self, batch: Any, first: int) -> Chunk:
        numbers = np.full((batch.num_rows, self.width), np.nan)
        texts = {}
        for column, values in enumerate(batch.columns):
            kind = str(values.type)
            if kind.startswith(("int", "uint", "float", "double", "halffloat", "bool", "decimal")):
                listed = values.cast("float64") if not kind.startswith("bool") else values.cast("int8")
                numbers[:, column] = listed.to_numpy(zero_copy_only=False)
            else:
                cells = ["" if value is None else str(value).strip() for value in values.to_pylist()]
                if any(cells):
                    texts[column] = cells
        return Chunk(numbers, texts, lambda row: f"{self.name}, row {first + row + 1}")
