"""Predictions on rows whose labels are known: kept beside the model, and measured."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from eigenline.algorithms.batch import Batch
from eigenline.algorithms.errors import DataError
from eigenline.command.models import OpenedModel
from eigenline.command.tables.chunk import Table, csv_line
from eigenline.command.training import number_lines
from eigenline.formats.reading import read_batches
from eigenline.report.quality import measured
from eigenline.report.scores import Score
from eigenline.report.subject import Labelled

HELD_OUT_FILE: Final = "held_out.csv"
STANDARD_ERRORS_FILE: Final = "standard_errors.csv"
PROJECTIONS_FILE: Final = "projections.csv"
_MOST_PROJECTIONS: Final = 2000
_MOST_ROWS: Final = 100_000
_MOST_VALUES: Final = 4_000_000


def write_held_out(opened: OpenedModel, channel: Path, into: Path) -> None:
    """Predict the rows of a channel file and keep labels and scores, of at most 100,000 rows."""
    most = min(_MOST_ROWS, _MOST_VALUES // (1 + len(opened.outputs())))
    names = ["label", *(name for name in opened.outputs() if name != "predicted_label")]
    with into.open("w", encoding="utf-8") as kept:
        kept.write(csv_line(names) + "\n")
        for batch in channel_batches(channel, labelled=True):
            some = batch.rows(0, most)
            assert some.labels is not None
            scores, _ = opened.predict(some.features)
            kept.write(number_lines(np.concatenate([some.labels[:, None], scores], axis=1)))
            most -= len(some)
            if most <= 0:
                return


def write_projections(opened: OpenedModel, channel: Path, into: Path) -> None:
    """Project at most 2,000 rows of a channel file, spread over it, and keep the first two components."""
    rows = sum(len(batch) for batch in channel_batches(channel, labelled=False))
    step, first = max(1, -(-rows // _MOST_PROJECTIONS)), 0
    with into.open("w", encoding="utf-8") as kept:
        kept.write(csv_line(opened.outputs()[:2]) + "\n")
        for batch in channel_batches(channel, labelled=False):
            some = batch.features[-first % step :: step]
            first += len(batch)
            if some.shape[0]:
                kept.write(number_lines(opened.predict(some)[0][:, :2]))


def channel_batches(channel: Path, labelled: bool) -> Iterator[Batch]:
    """Read a channel file that training was given."""
    kind = "application/x-recordio-protobuf"
    if channel.suffix == ".csv":
        kind = f"text/csv;header=present;label_size={int(labelled)}"
    with channel.open("rb") as file:
        yield from read_batches(file, kind, name=str(channel), labels="required" if labelled else "ignored")


def predicted_rows(opened: OpenedModel, table: Table) -> Labelled:
    """Predict a table that has the label's column too.

    Raises
    ------
    DataError
        If it has not.
    """
    preparation = opened.preparation
    target: int | None = None
    if not table.has_labels:
        name = preparation.target
        if name is None or table.names is None or name not in table.names:
            if (
                table.names is None
                and table.width == preparation.width
                and preparation.target_position is not None
            ):
                target = preparation.target_position
            else:
                raise DataError(
                    f"{table.name} has no column {name or 'of labels'!r}, so nothing can be measured on it."
                )
        else:
            target = table.names.index(name)
    left_out = () if target is None or table.names is None else (table.names[target],)
    positions = preparation.positions(table, left_out)
    labels, scores = [], []
    for chunk in table.chunks():
        labels.append(preparation.labels(chunk, target).astype(np.float64))
        scores.append(opened.predict(preparation.features(chunk, positions))[0].astype(np.float64))
    return Labelled(np.concatenate(labels), np.concatenate(scores))


def held_out(opened: OpenedModel) -> Labelled | None:
    """Return the predictions that training kept; None where it held nothing out."""
    content = opened.files.get(HELD_OUT_FILE)
    if content is None or opened.linear is None:
        return None
    try:
        table = np.array(list(_numbers(content)), np.float64)
    except (ValueError, csv.Error):
        return None
    if table.ndim != 2 or not len(table) or table.shape[1] < 2 or not np.isfinite(table).all():
        return None
    labels = table[:, 0]
    classes = len(opened.classes)
    if classes and not ((labels >= 0) & (labels < classes) & (labels % 1 == 0)).all():
        return None
    return Labelled(labels, table[:, 1:])


def _numbers(content: bytes) -> Iterator[list[float]]:
    rows = csv.reader(io.StringIO(content.decode("utf-8", "replace")))
    next(rows, None)
    for row in rows:
        yield [float(cell) for cell in row]


def scores_of(opened: OpenedModel) -> tuple[int, list[Score]] | None:
    """Return the number of held-out rows and the scores on them; None where nothing was held out."""
    rows = held_out(opened)
    return None if rows is None else (len(rows.labels), measured(opened.subject, rows))
