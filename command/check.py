"""`eigenline check`: what a file or a request holds, and what stands in the way, without doing anything."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import click
import numpy as np

from eigenline.algorithms.errors import UserError, excerpt
from eigenline.command.assumptions import REGRESSOR, Assumed, Wishes, assume, find_target
from eigenline.command.data_summary import ColumnSummary, DataSummary, names_of, summarise
from eigenline.command.models import open_model
from eigenline.command.tables.chunk import Chunk, Table
from eigenline.command.tables.opening import open_table, total_bytes
from eigenline.command.train import progress
from eigenline.formats.content_types import CSV, JSON, JSON_LINES, RECORDIO
from eigenline.formats.requests import read_features

_SHOWN_ROWS: Final = 3
_SHOWN_COLUMNS: Final = 40
_CELL: Final = 14
_TRAP_ROWS: Final = 50_000
_RECORDIO_MAGIC: Final = b"\x0a\x23\xd7\xce"


def check_file(files: Sequence[str], wishes: Wishes, header: bool | None) -> int:
    """Print what was understood of a file; return 0 where nothing is in the way of training."""
    if "-" in files:
        raise UserError("A check reads the file more than once, so it cannot be standard input.")
    with progress("Reading", total_bytes(files)) as on_bytes:
        table = open_table(files, header=header, on_bytes=on_bytes)
        for note in table.notes:
            click.echo(note)
        _show_first_rows(table)
        # A target that cannot be found is said at the end, behind what the columns are.
        target, no_target = _target(table, wishes)
        summary = summarise(table, target)
    click.echo(f"\n{summary.rows:,} rows. The columns:")
    for column in summary.columns[:_SHOWN_COLUMNS]:
        click.echo(f"  {column.name:<24} {_described(column)}")
    if len(summary.columns) > _SHOWN_COLUMNS:
        click.echo(f"  ... and {len(summary.columns) - _SHOWN_COLUMNS} more")
    click.echo("")
    if no_target is not None:
        raise no_target
    assumed = assume(table, summary, target, wishes)
    for sentence in (*assumed.notes, *_traps(table, summary, assumed, target)):
        click.echo(sentence)
    click.echo(f"Nothing is in the way: eigenline train {' '.join(files)} {_options(wishes)}")
    return 0


def _target(table: Table, wishes: Wishes) -> tuple[int | None, UserError | None]:
    try:
        return find_target(table, wishes), None
    except UserError as error:
        return None, error


def _options(wishes: Wishes) -> str:
    parts = ["--pca K"] if wishes.pca else [f"--target {wishes.target}"] if wishes.target else []
    parts += [f"--ignore {name}" for name in wishes.ignored]
    parts += ["--fill mean"] * wishes.fill_mean + ["--categories one-hot"] * wishes.one_hot
    return " ".join(parts)


def _show_first_rows(table: Table) -> None:
    chunk: Chunk = next(iter(table.chunks()))
    if not isinstance(chunk.numbers, np.ndarray):
        return
    shown = range(min(table.width, 8))
    rows = [[names_of(table)[number] for number in shown]]
    rows += [[chunk.cells(number)[row] for number in shown] for row in range(min(_SHOWN_ROWS, len(chunk)))]
    click.echo("The first rows:")
    for row in rows:
        cells = [cell if len(cell) <= _CELL else cell[: _CELL - 1] + "…" for cell in row]
        more = " ..." if table.width > len(shown) else ""
        click.echo("  " + " ".join(f"{cell:>{_CELL}}" for cell in cells) + more)


def _described(column: ColumnSummary) -> str:
    parts = []
    if column.numbers:
        whole = "whole numbers" if column.whole else "numbers"
        parts.append(f"{column.numbers:,} {whole} from {column.low:g} to {column.high:g}")
    if column.texts:
        different = "many different" if column.many else f"{len(column.values)} different"
        shown = "" if column.many else f": {excerpt(', '.join(sorted(column.values)), 40)}"
        parts.append(f"{column.texts:,} texts, {different}{shown}")
    if column.missing:
        parts.append(f"{column.missing:,} empty")
    return "; ".join(parts) or "sparse"


def _traps(table: Table, summary: DataSummary, assumed: Assumed, target: int | None) -> Iterator[str]:
    label = summary.labels if target is None else summary.columns[target]
    if label is not None and assumed.preparation.classes is not None and not label.many:
        shares = ", ".join(
            f"{name} {100 * label.values[name] / summary.rows:.3g} %" for name in assumed.preparation.classes[:12]
        )
        yield f"Classes: {shares}."
        rarest = min(label.values.values())
        if rarest < 10:
            yield f"Trap: one class has {rarest} rows only, too few to measure a model on it."
        elif rarest < 0.05 * summary.rows:
            yield (
                "Trap: one class is rare, so accuracy says little. Think of "
                "--set binary_classifier_model_selection_criteria=f_beta, or of balanced weights."
            )
    features = len(assumed.preparation.feature_names)
    if summary.rows < 5 * features:
        yield f"Trap: {summary.rows:,} rows are few for {features:,} features; expect wide spreads."
    if summary.sparse or assumed.predictor_type is None:
        return
    yield from _traps_of_labels(table, assumed, target)


def _traps_of_labels(table: Table, assumed: Assumed, target: int | None) -> Iterator[str]:
    """Look at the first rows for labels that are sorted, and features that are the label again."""
    positions = assumed.preparation.positions(table)
    features, labels = [], []
    for chunk in islice(table.chunks(), 4):
        features.append(np.asarray(assumed.preparation.features(chunk, positions)))
        labels.append(assumed.preparation.labels(chunk, target))
    X, y = np.concatenate(features)[:_TRAP_ROWS].astype(np.float64), np.concatenate(labels)[:_TRAP_ROWS]
    if len(y) > 20 and (np.diff(y) >= 0).all():
        yield "Trap: the rows are sorted by the label. Training shuffles them; do not cut the file in two."
    if (
        assumed.predictor_type != REGRESSOR
        and assumed.preparation.classes
        and len(assumed.preparation.classes) > 2
    ):
        return
    centred, deviation = X - X.mean(axis=0), X.std(axis=0)
    together = centred.T @ (y - y.mean(dtype=np.float64)) / len(y)
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = np.abs(together / (deviation * y.std(dtype=np.float64)))
    for number in np.flatnonzero(np.nan_to_num(correlation) > 0.999)[:5]:
        name = assumed.preparation.feature_names[number]
        yield f"Trap: {excerpt(name)} is the label over again (correlation {correlation[number]:.4f})."


def check_request(place: str, model: str, content_type: str | None) -> int:
    """Print what a request's body is for a model, and the answer to its first record; return the exit code."""
    opened = open_model(model)
    body = sys.stdin.buffer.read() if place == "-" else _body(Path(place))
    kind = content_type or _kind(body)
    features = read_features(body, kind, opened.feature_dim)
    count, width = features.shape
    click.echo(f"{place}: {count:,} records of {width} features, read as {kind}.")
    first = features[:1] if isinstance(features, np.ndarray) else features[:1].toarray()
    shown = ", ".join(
        f"{name}={value:g}" for name, value in zip(opened.preparation.feature_names[:8], first[0], strict=False)
    )
    click.echo(f"The first record: {shown}{', ...' if width > 8 else ''}")
    scores, labels = opened.predict(features[:1])
    names = [name for name in opened.outputs() if name != "predicted_label"]
    answer = [f"{name} {value:.6g}" for name, value in zip(names[:8], scores[0], strict=False)]
    if labels is not None:
        answer.insert(0, f"predicted {opened.classes[labels[0]]}")
    click.echo(f"Its answer: {', '.join(answer)}")
    return 0


def _body(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None


def _kind(body: bytes) -> str:
    start = body.lstrip()[:1]
    if body[:4] == _RECORDIO_MAGIC:
        return RECORDIO
    if start == b"{" and body.strip().count(b"\n") and body.strip().split(b"\n", 1)[0].rstrip().endswith(b"}"):
        return JSON_LINES
    return JSON if start in (b"{", b"[") else CSV
