"""`eigenline predict`: a model's answers for every row of a file, in the file's order, in bounded memory."""

from __future__ import annotations

import contextlib
import csv
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from eigenline.algorithms.batch import Features
from eigenline.algorithms.errors import UserError, excerpt
from eigenline.command.assumptions import Wishes
from eigenline.command.assumptions import find_target as _find_column
from eigenline.command.data_summary import names_of
from eigenline.command.models import OpenedModel, open_model
from eigenline.command.tables.chunk import Chunk, Table, csv_line
from eigenline.command.tables.opening import open_table
from eigenline.command.tables.source import nothing
from eigenline.formats.machine_limits import cpu_quota

_END: Final = "\0"  # of a row's answer: a class may be called anything else


def predict_file(
    model: str,
    files: Sequence[str],
    output: str,
    *,
    join: bool = False,
    id_columns: Sequence[str] = (),
    ignored: Sequence[str] = (),
    header: bool | None = None,
    on_bytes: Callable[[int], None] = nothing,
) -> tuple[int, list[str]]:
    """Write predictions; return the number of rows, and what was understood, in sentences.

    Raises
    ------
    UserError
        Naming what does not fit: columns, cells, files.
    """
    opened = open_model(model)
    table = open_table(files, header=header, on_bytes=on_bytes, processes=max(1, int(cpu_quota())))
    kept = [_column(table, name) for name in id_columns]
    names = names_of(table)
    left_out = {*ignored, *(names[number] for number in kept)}
    for name in ignored:
        _column(table, name)
    positions = opened.preparation.positions(table, tuple(left_out))
    notes = [*table.notes, *_unused(opened, table, positions, left_out)]
    separator = table.separator or ","
    beside = list(names) if join else [names[number] for number in kept]
    rows = 0
    with _opened_for_writing(output, files) as out:
        out.write((csv_line([*beside, *_distinct(opened.outputs(), beside)], separator) + "\n").encode())
        for chunk in table.chunks():
            answers = _answers(opened, opened.preparation.features(chunk, positions), table)
            out.write(_beside(chunk, table, kept, join, answers, separator))
            rows += len(chunk)
    return rows, notes


def _column(table: Table, name: str) -> int:
    found = _find_column(table, Wishes(target=name))
    assert found is not None
    return found


def _unused(opened: OpenedModel, table: Table, positions: Sequence[int], left_out: set[str]) -> list[str]:
    preparation = opened.preparation
    if table.names is None:
        return []
    if not preparation.named:
        return ["The model keeps no column names: columns are taken in the order of the file."]
    used = {*(table.names[position] for position in positions), *left_out, preparation.target}
    further = [name for name in table.names if name not in used]
    shown = ", ".join(further[:8]) + (", ..." if len(further) > 8 else "")
    return [f"Columns that the model does not use: {excerpt(shown, 100)}."] if further else []


def _distinct(outputs: Sequence[str], beside: Sequence[str]) -> list[str]:
    """Return the names of the answer's columns, none of which is a column of the file already."""
    return [name if name not in beside else f"{name} (eigenline)" for name in outputs]


def _answers(opened: OpenedModel, features: Features, table: Table) -> str:
    """Return the rows' answers, each ended by `_END`, their numbers written as the file writes them."""
    separator = table.separator or ","
    scores, labels = opened.predict(features)
    count, width = scores.shape
    numbers: Sequence[object] = scores.ravel().tolist()
    line = separator.join(["%.9g"] * width)
    if labels is None:
        text: str = (f"{line}{_END}" * count) % tuple(numbers)
        return text.replace(".", ",") if table.decimal_comma else text
    if table.decimal_comma:
        numbers = [f"{number:.9g}".replace(".", ",") for number in numbers]
        line = line.replace("%.9g", "%s")
    names = [csv_line([name], separator) for name in opened.classes]
    values: list[object] = [None] * (count * (width + 1))
    values[:: width + 1] = map(names.__getitem__, labels.tolist())
    for column in range(width):
        values[column + 1 :: width + 1] = numbers[column::width]
    lines: str = (f"%s{separator}{line}{_END}" * count) % tuple(values)
    return lines


def _beside(chunk: Chunk, table: Table, kept: Sequence[int], join: bool, answers: str, separator: str) -> bytes:
    if not join and not kept:
        return answers.replace(_END, "\n").encode()
    if join:
        own = chunk.lines() if chunk.lines is not None else _joined(chunk, range(table.width), separator)
    else:
        own = _identifiers(chunk, kept, separator)
    # One list of all parts and one join: nothing is done row by row.
    parts = [separator, "\n"] * (2 * len(own))
    parts[::4], parts[1::4], parts[2::4] = own, [separator] * len(own), answers.split(_END)[:-1]
    return "".join(parts).encode()


def _identifiers(chunk: Chunk, kept: Sequence[int], separator: str) -> list[str]:
    """Return the identifiers as they stand in the file: as numbers, long ones would lose digits."""
    lines = chunk.lines() if chunk.lines is not None else None
    if lines is None:
        return _joined(chunk, kept, separator)
    if any('"' in line for line in lines):
        rows = csv.reader([f"{line}\n" for line in lines], delimiter=separator)
        return [csv_line([row[number] for number in kept], separator) for row in rows]
    last = max(kept) + 1
    cells = (line.split(separator, last) for line in lines)
    return [separator.join(row[number].strip() for number in kept) for row in cells]


def _joined(chunk: Chunk, columns: Sequence[int], separator: str) -> list[str]:
    cells = [chunk.cells(number) for number in columns]
    return [csv_line(row, separator) for row in zip(*cells, strict=True)]


@contextlib.contextmanager
def _opened_for_writing(output: str, files: Sequence[str]) -> Iterator[BinaryIO]:
    """Open the output; a file appears whole or not at all."""
    if output == "-":
        sys.stdout.flush()
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(output)
    if any(place != "-" and Path(place).exists() and path.exists() and path.samefile(place) for place in files):
        raise UserError(f"-o {output} is the file that is read. Name another one.")
    partial = path.with_name(f".partial-{path.name}")
    try:
        with partial.open("wb") as out:
            yield out
        partial.replace(path)
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error.strerror}.") from None
    finally:
        partial.unlink(missing_ok=True)
