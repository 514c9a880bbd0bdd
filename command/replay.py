"""`eigenline replay LOG DATA`: train as the service did in a logged job, and compare the two, number by number."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import click
import numpy as np

from eigenline.algorithms.errors import UserError
from eigenline.command.job_log import JobLog, read_job_log
from eigenline.command.train import progress
from eigenline.command.training import TrainingFailed, run_job

DIFFERENT: Final = 1
_RECORDIO_MAGIC: Final = b"\x0a\x23\xd7\xce"
# a balanced accuracy that is always 0.5, and logarithms of a probability that went through the link twice
_WRONG_THERE: Final = ("binary_balanced_accuracy", "binary_log_loss", "multiclass_log_loss")
_NEAR: Final = 1e-3  # of a median difference of losses, relative: what jobs of one algorithm have in common


def replay(
    log: Path, channels: Mapping[str, Path], hyperparameters: Mapping[str, str], keep_log: Path | None = None
) -> int:
    """Train with a log's hyperparameters in ``compatibility=aws``, print what agrees; return the exit code.

    Parameters
    ----------
    log
        A Linear Learner log of SageMaker.
    channels
        Channel -> the job's own file or folder: CSV with the label first and no names, or recordIO-protobuf.
    hyperparameters
        Further ones, or others than the log's.
    keep_log
        Where our log is written.
    """
    theirs = _read(log)
    given, known = theirs.hyperparameters()
    given = {**given, **hyperparameters}
    if not known:
        shown = ", ".join(f"{name}={value}" for name, value in sorted(given.items()))
        click.echo(f"The log does not hold its hyperparameters; its numbers imply {shown}.")
    root = Path(tempfile.mkdtemp(prefix="eigenline-replay-"))
    try:
        _lay_out(root, channels, {**given, "compatibility": "aws"})
        path = keep_log or root / "train.log"
        with progress("Training", 100) as on_percent:
            done = [0]

            def advance(percent: float) -> None:
                on_percent(max(0, int(percent) - done[0]))
                done[0] = max(done[0], int(percent))

            warnings = list(run_job(root, path, advance))
        ours = _read(path)
    except TrainingFailed as failed:
        raise UserError(f"training here failed: {failed}") from None
    finally:
        shutil.rmtree(root, ignore_errors=True)
    for warning in warnings:
        click.echo(f"Note: {warning}")
    rows = list(compare(theirs, ours))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    different = [row[0] for row in rows if row[3] == "differs"]
    click.echo(f"Different: {', '.join(different)}." if different else "The job is replayed.")
    return DIFFERENT if different else 0


def compare(theirs: JobLog, ours: JobLog) -> Iterator[tuple[str, str, str, str]]:
    """Yield the table: what, in the log, here, how far they agree."""
    yield ("", "the log", "here", "")
    for name, their, our in (
        ("models", theirs.models, ours.models),
        ("epochs", theirs.epochs, ours.epochs),
        ("early stop", theirs.stopped, ours.stopped),
        ("epochs that improved", theirs.improved, ours.improved),
    ):
        yield (name, _shown(their), _shown(our), "same" if their == our else "differs")
    for channel in theirs.losses:
        yield _losses(channel, theirs, ours)
    if ours.models == theirs.models:
        epochs = min(ours.epochs, theirs.epochs)
        winners = [_winners(log, epochs) for log in (theirs, ours)]
        verdict = "same" if winners[0] == winners[1] and epochs == theirs.epochs else "differs"
        yield ("best model by epoch", *map(_shown, winners), verdict)  # type: ignore[misc]
    for name, value in theirs.best.items():
        found = ours.best.get(name)
        yield (f"chosen {name}", _shown(value), _shown(found), "same" if _close(value, found) else "differs")
    for (channel, metric), value in theirs.scores.items():
        score = ours.scores.get((channel, metric), math.nan)
        difference = abs(score - value) / max(abs(value), 1e-300)
        remark = f"{difference:.1e} of it"
        if metric in _WRONG_THERE and difference > _NEAR:
            remark += ", computed wrongly there"
        yield (f"{channel} {metric}", f"{value:.8g}", f"{score:.8g}", remark)


def _losses(channel: str, theirs: JobLog, ours: JobLog) -> tuple[str, str, str, str]:
    their, our = theirs.losses[channel], ours.losses.get(channel)
    if our is None or our.shape[1] != their.shape[1]:
        shown = "none" if our is None else f"{our.size} losses"
        return (f"{channel} losses", f"{their.size} losses", shown, "differs")
    epochs = min(len(their), len(our))
    difference = np.abs(our[:epochs] - their[:epochs]) / np.maximum(np.abs(their[:epochs]), 1e-300)
    median = float(np.nanmedian(difference))
    within = int((difference <= 1e-6).sum())
    text = f"median {median:.1e} of it; {within} of {their.size} within 1e-6"
    verdict = text if median <= _NEAR else "differs"
    return (f"{channel} losses", f"{their.size} losses", f"{our.size} losses", verdict)


def _winners(log: JobLog, epochs: int) -> list[int]:
    table = log.criterion[:epochs]
    return [int(model) for model in np.argmin(np.where(np.isnan(table), np.inf, table), axis=1)]


def _close(first: object, second: object) -> bool:
    if isinstance(first, int | float) and isinstance(second, int | float):
        return math.isclose(first, second, rel_tol=1e-12)
    return first == second


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return str(value)


def _read(path: Path) -> JobLog:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    return read_job_log(text, str(path))


def _lay_out(root: Path, channels: Mapping[str, Path], hyperparameters: Mapping[str, str]) -> None:
    """Lay the job out as SageMaker does, its files as they are."""
    description = {}
    for channel, place in channels.items():
        files = sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place]
        folder = root / "input" / "data" / channel
        folder.mkdir(parents=True)
        for number, path in enumerate(files):
            try:
                shutil.copyfile(path, folder / f"{number:06d}-{path.name}")
            except OSError as error:
                raise UserError(f"{path} cannot be read: {error.strerror}.") from None
        if not files:
            raise UserError(f"{place}: the folder holds no file.")
        with files[0].open("rb") as file:
            is_recordio = file.read(4) == _RECORDIO_MAGIC
        kind = "application/x-recordio-protobuf" if is_recordio else "text/csv"
        description[channel] = {"ContentType": kind}
    configuration = root / "input" / "config"
    configuration.mkdir(parents=True)
    (configuration / "hyperparameters.json").write_text(json.dumps(dict(hyperparameters)))
    (configuration / "inputdataconfig.json").write_text(json.dumps(description))
