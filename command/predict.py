"""`eigenline predict`: a model's answers for every row of a file, in the file's order, in bounded memory."""

from __future__ import annotations

import contextlib
import csv
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from eigenline.algorithms.batch import Features
from eigenline.algorithms.errors import UserError, excerpt
from eigenline.command.assumptions import Wishes
from eigenline.command.assumptions import find_target as _find_column
from eigenline.command.data_summary import names_of
from eigenline.command.models import OpenedModel, open_model
from eigenline.command.tables.chunk import Chunk, Table, csv_line
from eigenline.command.tables.opening import open_table
from eigenline.command.tables.source import nothing


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
    table = open_table(files, header=header, on_bytes=on_bytes)
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
        out.write(csv_line([*beside, *_distinct(opened.outputs(), beside)], separator) + "\n")
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


def _answers(opened: OpenedModel, features: Features, table: Table) -> list[str]:
    """Return each row's answer as text, its numbers written as the file writes them."""
    separator = table.separator or ","
    scores, labels = opened.predict(features)
    line = separator.join(["%.9g"] * scores.shape[1]) + "\n"
    text: str = (line * len(scores)) % tuple(scores.ravel().tolist())
    lines = (text.replace(".", ",") if table.decimal_comma else text).split("\n")[:-1]
    if labels is None:
        return lines
    names = [csv_line([name], separator) for name in opened.classes]
    return [f"{names[label]}{separator}{line}" for label, line in zip(labels.tolist(), lines, strict=True)]


def _beside(
    chunk: Chunk, table: Table, kept: Sequence[int], join: bool, answers: Sequence[str], separator: str
) -> str:
    if not join and not kept:
        return "\n".join(answers) + "\n"
    if join:
        own = chunk.lines() if chunk.lines is not None else _joined(chunk, range(table.width), separator)
    else:
        own = _identifiers(chunk, kept, separator)
    return "".join(f"{left}{separator}{right}\n" for left, right in zip(own, answers, strict=True))


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
def _opened_for_writing(output: str, files: Sequence[str]) -> Iterator[TextIO]:
    """Open the output; a file appears whole or not at all."""
    if output == "-":
        yield sys.stdout
        sys.stdout.flush()
        return
    path = Path(output)
    if any(place != "-" and Path(place).exists() and path.exists() and path.samefile(place) for place in files):
        raise UserError(f"-o {output} is the file that is read. Name another one.")
    partial = path.with_name(f".partial-{path.name}")
    try:
        with partial.open("w", encoding="utf-8", newline="") as out:
            yield out
        partial.replace(path)
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error.strerror}.") from None
    finally:
        partial.unlink(missing_ok=True)
