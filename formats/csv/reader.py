"""CSV to batches: blocks of lines to float32 matrices, labels apart, a header recognised and reported."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Batch
from eigenline.algorithms.errors import DataError, excerpt
from eigenline.formats.batch_builder import BatchBuilder
from eigenline.formats.content_types import ContentType
from eigenline.formats.csv.header import (
    check_names,
    expected_names,
    find_target,
    has_unnamed_index,
    looks_like_names,
)
from eigenline.formats.csv.lines import (
    HANDED_OVER_BYTES,
    after_last_newline,
    after_next_newline,
    count_lines,
    piece_end,
)
from eigenline.formats.csv.numbers import parse_lines
from eigenline.formats.csv.strict import BLANKS, is_number, parse_cells, split_cells
from eigenline.formats.csv.text_labels import number_labels
from eigenline.formats.labels import first_other, not_a_class
from eigenline.formats.likely_causes import counted, other_format
from eigenline.formats.read_buffer import ReadBuffer

if TYPE_CHECKING:
    from eigenline.formats.csv.workers import Parsed

_BOM: Final = b"\xef\xbb\xbf"
_LONGEST_LINE: Final = 16 << 20
_LONG_BYTES: Final = 16 << 20  # parsing them takes longer than to start and end workers, which takes 15 to 50 ms


class CsvReader:
    """Parses a source line by line, block by block, keeping count of lines for the errors.

    Parameters
    ----------
    kind
        The content type; its parameters ``label_size``, ``header`` and ``target`` describe the columns.
    name
        What errors call the source.
    labels
        ``required``, ``optional`` or ``ignored``, as `formats.reading.read_batches` explains.
    feature_dim
        The number of features that every line must have, where that is known beforehand.
    default_label_size
        Leading label columns where the content type gives no ``label_size``: 1 for training, 0 for inference.
    sniff_header
        Whether a first line of nothing but names is taken for a header where the content type has no ``header``.
    processes
        In how many processes to parse a long source.
    num_classes
        Labels must be whole numbers from 0 to one less; None: any number.
    classes
        Names of the classes, which stand in the target's column instead of their numbers; None: numbers do.
    label_name
        Of a column that is no feature where a header has it; the content type's ``label_size`` or ``target`` wins.
    """

    def __init__(
        self,
        kind: ContentType,
        name: str,
        labels: str,
        feature_dim: int | None = None,
        *,
        default_label_size: int = 1,
        sniff_header: bool = True,
        processes: int = 1,
        num_classes: int | None = None,
        classes: Sequence[str] | None = None,
        label_name: str | None = None,
    ) -> None:
        self._name = name
        self._target = kind.target()
        self._label_in_header = None if {"label_size", "target"} & set(kind.parameters) else label_name
        self._label_size = kind.label_size(default_label_size if self._target is None else 1)
        self._label_start = 0
        self._header = kind.header() if self._target is None else True
        self._sniff_header = sniff_header
        self._feature_dim = feature_dim
        self._classes = classes if self._target is not None and labels != "ignored" else None
        # Texts are replaced before numbers are parsed, which the workers would not do.
        self._processes = processes if self._classes is None else 1
        self._keep_labels = labels != "ignored" and self._label_size > 0
        self._may_have_no_label = labels == "optional" and not {"label_size", "target"} & set(kind.parameters)
        self._num_classes = num_classes
        self._header_line: str | None = None
        self._names: tuple[str, ...] | None = None  # of all columns
        self.column_names: tuple[str, ...] | None = None
        self.lines = 0  # read so far
        if (labels == "required" and self._label_size != 1) or (self._keep_labels and self._label_size > 1):
            raise DataError(
                f"{name}: the content type says label_size={self._label_size}, but training needs exactly one "
                "label column, the first."
            )

    @property
    def _columns(self) -> int | None:
        return None if self._feature_dim is None else self._feature_dim + self._label_size

    def read(self, buffer: ReadBuffer) -> Iterator[Batch]:
        """Yield all lines from a buffer on."""
        while buffer.data.size:
            if self._processes > 1 and _is_long(buffer):
                yield from self._read_ahead(buffer)
                return
            end = buffer.data.size if buffer.last else after_last_newline(buffer.data)
            self._refuse_endless(0 if end else buffer.data.size)
            batch = self._batch(buffer.data[:end]) if end else None
            if batch:
                yield batch
            buffer.advance(end, viewed=False)

    def _read_ahead(self, buffer: ReadBuffer) -> Iterator[Batch]:
        """Parse in worker processes; the first lines, and what the workers refuse, are parsed here."""
        # Imported here: neither requests nor small files pay for it.
        from eigenline.formats.csv.workers import Workers, parse_ahead

        workers = Workers(self._processes, buffer.whole)
        builder = BatchBuilder()
        try:
            for parsed in parse_ahead(self._pieces(buffer), workers):
                part = self._part(parsed)
                if len(builder) and not builder.has_room(part):
                    yield builder.finish()
                if len(part):
                    builder.add(part)
        except Exception:
            if len(builder):  # as without workers, an error comes after the rows before it
                yield builder.finish()
            raise
        finally:
            workers.close()
        if len(builder):
            yield builder.finish()

    def _part(self, parsed: Parsed) -> Batch:
        text, numbers, lines = parsed
        if numbers is None or not self.lines or numbers.shape[1] != self._columns:
            return self._batch(text)
        start, stop = self._label_start, self._label_start + self._label_size
        labels = numbers[:, start] if self._keep_labels else None
        if labels is not None:
            self._check_labels(labels, text)
        self.lines += lines
        features = numbers[:, stop:] if not start else np.delete(numbers, np.s_[start:stop], axis=1)
        return Batch(features, labels, column_names=self.column_names)

    @staticmethod
    def _pieces(buffer: ReadBuffer) -> Iterator[tuple[NDArray[np.uint8], int]]:
        """Yield pieces of whole lines and their places in the source; a line without an end comes as it is."""
        while buffer.data.size:
            end = buffer.data.size if buffer.last else after_last_newline(buffer.data)
            text = buffer.data[: end or (buffer.data.size if buffer.data.size > _LONGEST_LINE else 0)]
            place = 0
            while place < text.size:
                stop = piece_end(text, place, HANDED_OVER_BYTES)
                yield text[place:stop], buffer.offset + place
                place = stop
            buffer.advance(text.size, viewed=False)

    def _batch(self, data: NDArray[np.uint8]) -> Batch:
        """Parse whole lines, a piece at a time, each into its place."""
        place = self._skip_header(data) if not self.lines else 0
        features, labels, rows = np.zeros((0, 0), np.float32), None, 0
        while place < data.size:
            stop = piece_end(data, place)
            self._refuse_endless(stop - place)
            text = data[place:stop].tobytes()
            if self._classes is not None and self._names is not None:
                first = self.lines + 1
                text = number_labels(text, self._classes, self._label_start, self._names, first, self._name)
            table = self._parse(text)
            if not features.size and self._feature_dim is not None and len(table):
                features, labels = self._reserve(data[place:])
            target = features[rows : rows + len(table)]
            if len(table) and not self._place(table, target, labels, rows):
                self._parse_strictly(text)  # which names the cell that is too large for float32
            if labels is not None and len(table):
                self._check_labels(labels[rows : rows + len(table)], text)
            self.lines += count_lines(data[place:stop])
            rows += len(table)
            place = stop
        return Batch(features[:rows], None if labels is None else labels[:rows], column_names=self.column_names)

    def _reserve(self, data: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Allocate for as many rows as the text can hold: no more than lines, and two bytes a value."""
        assert self._feature_dim is not None
        columns = self._feature_dim + self._label_size
        lines = 1 + min(count_lines(data), data.size // (2 * columns))
        labels = np.empty(lines, np.float32) if self._keep_labels else None
        return np.empty((lines, self._feature_dim), np.float32), labels

    def _place(
        self, table: NDArray[np.float64], target: NDArray[np.float32], labels: NDArray[np.float32] | None, row: int
    ) -> bool:
        """Copy numbers to where they belong; False if one is beyond float32."""
        start = self._label_start
        with np.errstate(over="ignore"):
            target[:, :start] = table[:, :start]
            target[:, start:] = table[:, start + self._label_size :]
            if labels is not None:
                labels[row : row + len(table)] = table[:, start]
        sound = bool(np.isfinite(target).all())
        return sound and (labels is None or bool(np.isfinite(labels[row : row + len(table)]).all()))

    def _refuse_endless(self, line_bytes: int) -> None:
        if line_bytes > _LONGEST_LINE:
            raise DataError(
                f"{self._name}, line {self.lines + 1}: it is longer than {_LONGEST_LINE} bytes. "
                "Is this CSV, with a line end after each record?"
            )

    def _parse(self, text: bytes) -> NDArray[np.float64]:
        """Parse whole lines of data into shape (rows, columns), labels included."""
        table = parse_lines(text)
        expected = self._columns
        if expected is None and self._names is not None:
            expected = len(self._names)
        if table is None or (expected is not None and table.shape[1] != expected):
            return self._parse_strictly(text)[0]
        if self._columns is None:
            self._set_width(table.shape[1])
        return table

    def _set_width(self, columns: int) -> None:
        if columns <= self._label_size:
            labels = f"the first {self._label_size} are labels (label_size)"
            labels = labels if self._target is None else "one is the target"
            raise DataError(
                f"{self._name}, line {self.lines + 1}: it has {counted(columns, 'value')}, of which {labels}, "
                "so no feature is left."
            )
        self._feature_dim = columns - self._label_size

    def _parse_strictly(self, text: bytes) -> tuple[NDArray[np.float64], list[int]]:
        """Parse as `_parse` does, cell by cell; return each row's line number, too."""
        rows, numbers = [], []
        lines = text.decode("utf-8", "replace").removesuffix("\n").split("\n")
        label = self._label_start if self._keep_labels else None
        for number, line in enumerate(lines, start=self.lines + 1):
            line = line.removesuffix("\r")
            # Chosen: blank lines are skipped, as numpy.loadtxt and pandas do; files joined end to end have them.
            # A header that comes again does too, where a FIFO delivers several files.
            if not line.strip(BLANKS) or line == self._header_line:
                continue
            cells = split_cells(line)
            if self._columns is None:
                if self._names is not None:
                    check_names(self._names, line, number, self._name)
                parse_cells(cells, number, self._name, None, self._names, label)
                self._set_width(len(cells))
            rows.append(parse_cells(cells, number, self._name, self._columns, self._names, label))
            numbers.append(number)
        return np.asarray(rows, np.float64).reshape(len(rows), self._columns or 0), numbers

    def _check_labels(self, labels: NDArray[np.float32], text: bytes | NDArray[np.uint8]) -> None:
        """Refuse labels that are no classes; `text` has the lines that they were parsed from."""
        if self._num_classes is None:
            return
        place = first_other(labels, self._num_classes)
        if place is not None:
            line = self._parse_strictly(bytes(text))[1][place]  # blank lines count, and are no rows
            where = f"{self._name}, line {line}, column {self._label_start + 1}{self._label_name()}"
            wrong = not_a_class(labels[place].item(), self._num_classes)
            raise DataError(f"{where}: {wrong}{self._label_choice()}")

    def _label_name(self) -> str:
        return "" if self._names is None else f" ({excerpt(self._names[self._label_start])})"

    def _label_choice(self) -> str:
        if self._target is not None:
            return ""
        return (
            " The first column is taken for the label; if it is another one, put it first, or name it: "
            "'text/csv;header=present;target=NAME'."
        )

    def _skip_header(self, data: NDArray[np.uint8]) -> int:
        """Note column names where the first line holds them; return where the data begin."""
        start = len(_BOM) if data[: len(_BOM)].tobytes() == _BOM else 0
        if self._may_have_no_label and self._feature_dim is not None:
            self._find_label(split_cells(_line(data, start)))
        # Nearly always the first cell is a number and settles it; reading more would cost a request microseconds.
        peek = data[start : start + 32].tobytes()
        if self._header is not True and is_number(split_cells(peek.decode("ascii", "replace"))[0]):
            return start
        if cause := other_format(peek, "CSV"):
            raise DataError(f"{self._name}, line 1: expected numbers. This is not text in UTF-8.{cause}")
        if self._header is False:
            return start
        stop = after_next_newline(data, start)
        line = _line(data, start)
        cells = split_cells(line)
        if has_unnamed_index(cells):
            raise DataError(
                f"{self._name}, line 1: the first column has no name. It seems to be the index of a pandas table: "
                "write the file with index=False."
            )
        if self._header is None and not looks_like_names(cells):
            return start
        if self._header is None and not self._sniff_header:
            raise DataError(
                f"{self._name}, line 1: expected numbers, got what looks like column names. Leave them out, or "
                "say 'text/csv;header=present'."
            )
        # Names that are all numbers are a row like any other where they come again.
        self._header_line = None if all(map(is_number, cells)) else line
        self._use_names(tuple(cells), split_cells(_line(data, stop)) if stop < data.size else [])
        self.lines = 1
        return stop

    def _find_label(self, cells: Sequence[str]) -> None:
        """Take all columns for features where they are exactly as many, and a label may be absent.

        Chosen: AWS has no such case, because its PCA takes CSV with ``label_size=0`` only; to train on one feature
        less than was asked for helps nobody.
        """
        if len(cells) == self._feature_dim:
            self._label_size, self._keep_labels = 0, False

    def _use_names(self, names: tuple[str, ...], first_row: Sequence[str]) -> None:
        if self._target is not None:
            if self._keep_labels or self._target in names:
                self._label_start = find_target(names, self._target, self._name)
            else:  # a request, of which labels are ignored, may come without them
                self._label_size = 0
        elif self._label_in_header is not None and names.count(self._label_in_header) == 1:
            self._label_start, self._label_size = names.index(self._label_in_header), 1
        if self._columns is not None and len(names) != self._columns:
            raise expected_names(names, self._columns, first_row, self._name)
        self._names = names
        self.column_names = names[: self._label_start] + names[self._label_start + self._label_size :]


def _line(data: NDArray[np.uint8], start: int) -> str:
    return data[start : after_next_newline(data, start)].tobytes().decode("utf-8", "replace").rstrip("\r\n")


def _is_long(buffer: ReadBuffer) -> bool:
    """Return whether a source is worth workers: a buffer by its size, a stream by what has come of it."""
    known = buffer.offset if buffer.whole is None else buffer.whole.size
    return known >= _LONG_BYTES and not buffer.last and sys.platform == "linux"
