"""CSV as people have it: any separator, with or without names, decimal commas, text and missing cells.

Chunks that hold nothing but numbers are parsed by the product's own reader at its speed; the others cell by cell.
"""

from __future__ import annotations

import csv
import io
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Features
from eigenline.algorithms.errors import DataError, UserError, excerpt
from eigenline.command.tables.chunk import Chunk, Columns, Table, csv_line
from eigenline.command.tables.source import Source
from eigenline.formats.chunk import DECIMAL_COMMA, NUMBER, numbers_and_texts
from eigenline.formats.csv.lines import HANDED_OVER_BYTES, count_lines
from eigenline.formats.requests import read_features

_BLOCK_BYTES: Final = 4 << 20
_LONG_BYTES: Final = 16 << 20  # parsing them takes longer than to start and end workers
_LONG_LINE: Final = 64 << 10  # room for the end of a line in what a worker takes at once
_LONGEST: Final = 64 << 20  # of one row: a quotation mark that is never closed swallows the file
_BOM: Final = b"\xef\xbb\xbf"
_SEPARATORS: Final = ",;\t|"
_PLAIN: Final = "text/csv;label_size=0;header=absent"


class CsvTable(Table):
    """A CSV file.

    Parameters
    ----------
    source
        Where the bytes are.
    header
        Whether the first line holds names; None finds out.
    processes
        In how many a long file of nothing but numbers is parsed; numbers are float32 where more than one parse.

    Raises
    ------
    DataError
        If the beginning is not a table.
    """

    def __init__(self, source: Source, header: bool | None = None, processes: int = 1) -> None:
        self._source = source
        self.name = source.name
        text = _decoded_head(source)
        lines = _first_rows(text)
        if not lines:
            raise DataError(f"{self.name} is empty: it holds no line with data.")
        self.separator = _separator(lines)
        rows = [_cells(line, self.separator) for line in lines]
        self.decimal_comma = self.separator != "," and any(
            DECIMAL_COMMA.fullmatch(cell.strip()) for row in rows for cell in row
        )
        _refuse_a_title(rows, self.name, self.separator)
        found = self._is_header(rows) if header is None else header
        self.width = len(rows[1]) if len(rows) > 1 else len(rows[0])
        self._header_lines = lines[0].count("\n") + 1 if found else 0
        self.names: Columns | None = self._named(rows, self.width) if found else None
        if found and len(rows) == 1:
            raise DataError(f"{self.name} holds one line of names and no rows.")
        self.notes = self._understood(found, header)
        self._all_numbers = self.separator == ","
        plain = self._all_numbers and all(NUMBER.fullmatch(cell.strip()) for row in rows[found:] for cell in row)
        self._processes = processes if plain and source.size >= _LONG_BYTES else 1

    def chunks(self) -> Iterator[Chunk]:
        """Yield every row, in the order of the file."""
        stream = self._source.open()
        try:
            yield from self._read(stream.read)
        finally:
            stream.close()

    def _read(self, read: Callable[[int], bytes]) -> Iterator[Chunk]:
        rows = 0
        for chunk in self._ahead(read) if self._processes > 1 else self._here(read):
            if chunk is not None:
                rows += len(chunk)
                yield chunk
        if not rows:
            raise DataError(f"{self.name} holds names and no rows.")

    def _here(self, read: Callable[[int], bytes]) -> Iterator[Chunk | None]:
        for body, first in self._bodies(read, _BLOCK_BYTES):
            yield self._chunk(body, first)

    def _ahead(self, read: Callable[[int], bytes]) -> Iterator[Chunk | None]:
        """Parse in worker processes; what is more than plain numbers is parsed here."""
        from eigenline.formats.csv.workers import Workers, parse_ahead

        firsts: deque[int] = deque()

        def pieces() -> Iterator[tuple[NDArray[np.uint8], int]]:
            for body, first in self._bodies(read, HANDED_OVER_BYTES - _LONG_LINE):
                firsts.append(first)
                yield np.frombuffer(body, np.uint8), 0

        workers = Workers(self._processes, None)
        try:
            for text, numbers, _ in parse_ahead(pieces(), workers):
                body, first = text.tobytes(), firsts.popleft()
                if numbers is None or numbers.shape[1] != self.width:
                    yield self._chunk(body, first)
                else:
                    yield _plain(numbers, body, _Places(self.name, body, first))
        finally:
            workers.close()

    def _bodies(self, read: Callable[[int], bytes], block_bytes: int) -> Iterator[tuple[bytes, int]]:
        """Yield whole rows without the names, and the number of their first line."""
        line = 1
        for piece in _pieces(read, self.name, block_bytes):
            body, first = piece, line
            line += count_lines(np.frombuffer(piece, np.uint8))
            if first == 1:
                body = body.removeprefix(_BOM)
                if self._header_lines:
                    skipped = _after_lines(body, _leading_blank_lines(body) + self._header_lines)
                    first += body[:skipped].count(b"\n")
                    body = body[skipped:]
            if body:
                yield body, first

    def _chunk(self, body: bytes, first: int) -> Chunk | None:
        if not body or body.isspace():
            return None
        if self._all_numbers:
            try:
                numbers = read_features(body, _PLAIN)
            except UserError:
                self._all_numbers = False  # texts or missing cells come again; the fast parser would try in vain
            else:
                if numbers.shape[1] == self.width:
                    return _plain(numbers, body, _Places(self.name, body, first))
        return self._parsed(body, first)

    def _parsed(self, body: bytes, first: int) -> Chunk | None:
        text = _decoded(body, self.name, first)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=self.separator)
        rows: list[list[str]] = []
        starts: list[int] = []
        before = 0
        try:
            for row in reader:
                start, before = before, reader.line_num
                if any(row) and (len(row) > 1 or row[0].strip()):
                    rows.append(row)
                    starts.append(first + start)
        except csv.Error as error:
            raise DataError(f"{self.name}, line {first + before}: {error}.") from None
        if not rows:
            return None
        for row, line in zip(rows, starts, strict=True):
            if len(row) != self.width:
                raise DataError(
                    f"{self.name}, line {line}: it has {_counted(len(row), 'value')}, expected {self.width}."
                    + _width_cause(row, self.width, self.names, self.separator)
                )
        numbers = np.empty((len(rows), self.width))
        texts: dict[int, Sequence[str]] = {}
        for number, cells in enumerate(zip(*rows, strict=True)):
            values, words = numbers_and_texts(cells, decimal_comma=self.decimal_comma)
            numbers[:, number] = values
            if words is not None:
                texts[number] = words
        return Chunk(
            numbers,
            texts,
            lambda row: f"{self.name}, line {starts[row]}",
            lambda: [csv_line(row, self.separator) for row in rows],
        )

    def _is_header(self, rows: list[list[str]]) -> bool:
        """A first line is a header where none of its cells is a number and each stands there once."""
        first = [cell.strip() for cell in rows[0]]
        words = [cell for cell in first if cell]
        if any(_is_number(cell, self.decimal_comma) for cell in words) or not words:
            return False
        others = [row for row in rows[1:] if row]
        if not others or any(_is_number(cell, self.decimal_comma) for row in others for cell in row):
            return True
        return len(set(words)) == len(words)

    def _named(self, rows: list[list[str]], width: int) -> Columns:
        names = [cell.strip() for cell in rows[0]]
        if len(names) != width:
            cause = ""
            if len(names) == width - 1:
                cause = (
                    " One name less than values: is the first column the row names that R writes? Write the file "
                    "with write.table(..., row.names=FALSE)."
                )
            elif len(names) == width + 1:
                cause = (
                    " One name more than values: does the header end with a separator, or a column lack values?"
                )
            raise DataError(
                f"{self.name}, line 1: {_counted(len(names), 'column name')}, but line 2 has "
                f"{_counted(width, 'value')}.{cause}"
            )
        if names[0] == "":
            names[0] = "(index)"  # pandas' to_csv() without index=False
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise DataError(
                f"{self.name}, line 1: the column name {excerpt(twice[0])} stands there "
                f"{names.count(twice[0])} times; columns are told apart by their names."
                + (" If the first line holds data, say --header absent." if twice[0] else "")
            )
        return tuple(names)

    def _understood(self, found: bool, told: bool | None) -> list[str]:
        word = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}[self.separator]
        notes = [f"{self.name}: {self.width} columns separated by {word}, "]
        because = "" if told is not None else " (--header says otherwise)"
        notes[0] += (
            f"names in the first line{because}." if found else f"no line of names; columns are numbered{because}."
        )
        if self.decimal_comma:
            notes.append("Numbers are read with decimal commas.")
        if self.names and "(index)" in self.names:
            notes.append(
                "The first column has no name: it is taken for pandas' index and left out "
                "(to_csv(..., index=False) does not write it)."
            )
        return notes


def _plain(numbers: Features, body: bytes, places: Callable[[int], str]) -> Chunk:
    return Chunk(numbers, {}, places, lambda: _lines(body))


class _Places:
    """Where the rows of a chunk of plain lines are; found out only when somebody wants to know."""

    def __init__(self, name: str, body: bytes, first: int) -> None:
        self._name, self._body, self._first = name, body, first

    def __call__(self, row: int) -> str:
        lines = [number for number, line in enumerate(self._body.split(b"\n")) if line.strip()]
        return f"{self._name}, line {self._first + lines[row]}"


def _lines(body: bytes) -> list[str]:
    text = body.decode("utf-8", "replace")
    lines = (text.replace("\r\n", "\n") if "\r" in text else text).removesuffix("\n").split("\n")
    if "" in lines or not all(map(str.strip, lines)):
        lines = [line for line in lines if line.strip()]
    return [line.rstrip("\r") for line in lines] if "\r" in text else lines


def _pieces(read: Callable[[int], bytes], name: str, block_bytes: int) -> Iterator[bytes]:
    """Yield whole rows, about a block of them at a time; a quoted cell may hold line ends."""
    parts: list[bytes] = []
    waiting, quotes = 0, 0
    while block := read(block_bytes):
        cut = block.rfind(b"\n") + 1
        if cut and (quotes + block.count(b'"', 0, cut)) % 2:
            cut = 0  # it ends within quotation marks
        if not cut:
            parts.append(block)
            waiting += len(block)
            quotes += block.count(b'"')
            if waiting > _LONGEST:
                raise DataError(
                    f"{name} has a row longer than {_LONGEST >> 20} MB. Is this CSV, with a line end after "
                    "each row "
                    "and every quotation mark closed?"
                )
            continue
        yield b"".join([*parts, block[:cut]])
        parts, waiting, quotes = [block[cut:]], len(block) - cut, block.count(b'"', cut)
    if rest := b"".join(parts):
        yield rest


def _decoded_head(source: Source) -> str:
    head = source.head
    name = source.name
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(
            f"{name} is UTF-16 text, as Excel's 'Unicode Text' is. Save it as 'CSV UTF-8', or convert it: "
            "iconv -f UTF-16 -t UTF-8."
        )
    if head[:4] in (b"PK\x03\x04", b"\xd0\xcf\x11\xe0"):
        raise DataError(f"{name} is an Excel workbook or another archive, not CSV. Save the sheet as 'CSV UTF-8'.")
    if head.lstrip()[:1] == b"<":
        raise DataError(f"{name} is a web page or XML, not CSV. Was an error page saved in place of the file?")
    if head[:4] == b"%PDF":
        raise DataError(f"{name} is a PDF document, not CSV. Export the table as 'CSV UTF-8'.")
    if head.lstrip()[:2] in (b"[{", b"[["):
        raise DataError(
            f"{name} is one JSON document. Write one record a line (JSON Lines): jq -c '.[]' FILE, or pandas' "
            "to_json(..., orient='records', lines=True)."
        )
    if b"\0" in head:
        raise DataError(f"{name} is not text: it holds zero bytes. Readable are CSV, JSON Lines, .npz, svmlight, "
                        "Parquet and recordIO, each also as gzip.")  # fmt: skip
    if b"\r" in head and b"\n" not in head:
        raise DataError(f"{name} has lines that end as on old Macs (CR alone). Convert it: tr '\\r' '\\n'.")
    cut = head.rfind(b"\n") + 1 if len(head) >= 1 << 16 else len(head)
    return _decoded(head[: cut or len(head)].removeprefix(_BOM), name, 1)


def _decoded(data: bytes, name: str, first: int) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = first + data.count(b"\n", 0, error.start)
        raise DataError(
            f"{name}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8 text. Save the file as 'CSV "
            "UTF-8', or "
            "convert it: iconv -f WINDOWS-1252 -t UTF-8."
        ) from None


def _first_rows(text: str, most: int = 20) -> list[str]:
    """Return the first rows as text, blank ones left out; a row may span lines within quotation marks."""
    rows: list[str] = []
    open_row = ""
    for line in text.split("\n"):
        open_row = f"{open_row}\n{line}" if open_row else line
        if open_row.count('"') % 2 == 0:
            if open_row.strip():
                rows.append(open_row.removesuffix("\r"))
            open_row = ""
        if len(rows) == most:
            break
    if open_row.strip() and len(rows) < 2:
        rows.append(open_row)
    return rows


def _cells(line: str, separator: str) -> list[str]:
    """Split one row; what the csv module refuses is named where its line is known."""
    try:
        return next(csv.reader(io.StringIO(line, newline=""), delimiter=separator))
    except csv.Error:
        return line.split(separator)


def _separator(lines: list[str]) -> str:
    """Return the separator that most lines have equally often; a comma where there is none."""
    sample = lines[1:] or lines
    scores = {}
    for separator in _SEPARATORS:
        counts = [len(_cells(line, separator)) - 1 for line in sample]
        if min(counts) > 0:
            scores[separator] = (len(set(counts)) == 1, min(counts))
    # Semicolons between decimal commas: both come equally often, and a comma then never stands alone.
    if ";" in scores and all(";" in line for line in lines):
        return ";"
    return max(scores, key=lambda separator: scores[separator]) if scores else ","


def _refuse_a_title(rows: list[list[str]], name: str, separator: str) -> None:
    if len(rows) > 1 and len(rows[0]) == 1 and len(rows[1]) > 1:
        first = rows[0][0].strip()
        kind = "a comment" if first.startswith(("#", "//", "%")) else "a title"
        raise DataError(
            f"{name}, line 1: {excerpt(first)} stands alone, but line 2 has {len(rows[1])} values: it looks "
            f"like {kind} "
            "above the table. Remove the line, so that the file begins with the names or the first row."
        )
    if len(rows) > 1 and len(rows[0]) == 1 and len(rows[0][0].split()) > 1:
        widths = {len(row[0].split()) for row in rows if row}
        if len(widths) == 1 and separator == ",":
            raise DataError(
                f"{name}, line 1: the values seem to be separated by spaces. Write commas between them: "
                "tr -s ' ' ','."
            )


def _is_number(cell: str, decimal_comma: bool) -> bool:
    stripped = cell.strip()
    return bool(NUMBER.fullmatch(stripped) or (decimal_comma and DECIMAL_COMMA.fullmatch(stripped)))


def _width_cause(row: Sequence[str], width: int, names: Columns | None, separator: str) -> str:
    if len(row) == width + 1:
        return " One more than expected: does a number hold a comma, or the line end with a separator?"
    if len(row) == 1 and width > 1:
        return f" {excerpt(row[0])} stands alone: is it a remark, or a sum below the table?"
    if len(row) < width:
        last = f" (the last one there should be {excerpt(names[-1])})" if names else ""
        return f" Is a value missing, or was the file cut short{last}?"
    return ""


def _leading_blank_lines(body: bytes) -> int:
    for count, line in enumerate(body.split(b"\n", 100)):
        if line.strip():
            return count
    return 0


def _after_lines(body: bytes, lines: int) -> int:
    place = 0
    for _ in range(lines):
        place = body.find(b"\n", place) + 1
        if not place:
            return len(body)
    return place


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + "s" * (number != 1)
