"""`eigenline train FILE`: from a person's file to a model folder, with what was assumed and how good it is."""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, cast

import click

from eigenline.algorithms.errors import UserError, excerpt
from eigenline.command.assumptions import MULTICLASS, REGRESSOR, Assumed, Wishes, assume, find_target
from eigenline.command.data_summary import DataSummary, summarise
from eigenline.command.models import OpenedModel, open_model
from eigenline.command.predictions import (
    HELD_OUT_FILE,
    PROJECTIONS_FILE,
    STANDARD_ERRORS_FILE,
    channel_batches,
    scores_of,
    write_held_out,
    write_projections,
)
from eigenline.command.report import page_of
from eigenline.command.standard_errors import standard_errors, write_table
from eigenline.command.tables.opening import open_table, total_bytes
from eigenline.command.training import (
    STOPPED,
    Channels,
    TrainingFailed,
    install,
    refuse_foreign_folder,
    run_job,
    seconds_since,
)
from eigenline.formats.preparation import Preparation
from eigenline.report.page import REPORT_FILE
from eigenline.report.scores import Score

_FEWEST_TO_HOLD_OUT: Final = 50
_HOLD_OUT: Final = 0.2
_LARGEST_BATCH: Final = 1000


def train_file(
    files: Sequence[str],
    wishes: Wishes,
    output: Path,
    *,
    num_components: int | None = None,
    hold_out: float | None = None,
    test: Sequence[str] = (),
    header: bool | None = None,
    hyperparameters: Sequence[str] = (),
) -> int:
    """Train on files; return the exit code."""
    began = time.monotonic()
    given = given_hyperparameters(hyperparameters)
    refuse_foreign_folder(output)
    root = Path(tempfile.mkdtemp(prefix="eigenline-train-"))
    preparation: Preparation | None = None
    try:
        places = _kept_from_standard_input(files, root)
        with progress("1 of 3, reading", total_bytes(places)) as on_bytes:
            table = open_table(places, header=header, on_bytes=on_bytes)
            for note in table.notes:
                click.echo(note)
            target = find_target(table, wishes)
            share = _share(hold_out, bool(test), wishes)
            summary = summarise(table, target, share)
        if share and hold_out is None and summary.rows < _FEWEST_TO_HOLD_OUT:
            click.echo(f"With {summary.rows} rows none are held out; measure the model on others: --test FILE.")
            share = 0.0
        assumed = assume(table, summary, target, wishes)
        for note in assumed.notes:
            click.echo(note)
        preparation = assumed.preparation
        channels = Channels(root, preparation, not wishes.pca, summary.sparse)
        _write(channels, places, header, share, test)
        channels.configure(_hyperparameters(assumed, summary, channels, num_components, given))
        click.echo(_rows_sentence(channels, share, test))
        output.mkdir(parents=True, exist_ok=True)
        log = output / "train.log"
        with progress("3 of 3, training", 100, "at most the rest of the passes") as on_percent:
            done = [0.0]

            def advance(percent: float) -> None:
                on_percent(max(0, int(percent) - int(done[0])))
                done[0] = max(done[0], percent)

            warnings = list(run_job(root, log, advance))
        for warning in warnings:
            click.echo(f"Note: {warning}")
        install(root, output, preparation)
        opened = open_model(output)
        _measure(opened, root, output)
        _say_result(opened, output, began)
        return 0
    except TrainingFailed as failed:
        click.echo(f"eigenline train: {_in_own_words(str(failed), root, files)}", err=True)
        return failed.code
    except KeyboardInterrupt:
        return _say_stopped(root, output, preparation)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _say_stopped(root: Path, output: Path, preparation: Preparation | None) -> int:
    """Keep the best model so far, if the job that was stopped left one, and say so; return the exit code."""
    kept = preparation is not None and (root / "model" / "model_algo-1").is_file()
    if preparation is not None and kept:
        install(root, output, preparation)
    found = f"the best model so far is in {output}/" if kept else "no model was written"
    click.echo(f"\neigenline train: stopped; {found}.", err=True)
    return STOPPED


@contextlib.contextmanager
def progress(label: str, total: int, instead: str = "") -> Iterator[Callable[[int], None]]:
    """Show how much of so many bytes (or percent) is done, on a terminal and nowhere else.

    The time left is that of bytes, which are read at one speed; `instead` stands there where nobody knows it.
    """
    if not total or not sys.stderr.isatty():
        yield lambda count: None
        return
    shown: Any = click.progressbar(
        length=total,
        label=label,
        file=sys.stderr,
        show_eta=not instead,
        show_percent=True,
        item_show_func=(lambda item: instead) if instead else None,
    )
    with shown as bar:
        yield lambda count: bar.update(min(count, total - bar.pos))


def _kept_from_standard_input(files: Sequence[str], root: Path) -> list[str]:
    """Return the files, standard input as a temporary file: training reads it twice."""
    if "-" not in files:
        return list(files)
    kept = root / "standard input"
    with kept.open("wb") as file:
        # `read` would fill its block in one call, and notice Ctrl-C between two pieces only when more data come.
        while piece := cast(io.BufferedReader, sys.stdin.buffer).read1(1 << 20):
            file.write(piece)
    if not kept.stat().st_size:
        raise UserError("Standard input is empty.")
    return [str(kept) if place == "-" else place for place in files]


def _share(hold_out: float | None, tested: bool, wishes: Wishes) -> float:
    """Return the share of rows that are held out.

    Chosen: a fifth for Linear Learner; none for PCA, whose components describe the data they are of, and none
    where a file to measure on is given.
    """
    if hold_out is not None:
        return hold_out
    return 0.0 if tested or wishes.pca else _HOLD_OUT


def _write(
    channels: Channels, places: Sequence[str], header: bool | None, share: float, test: Sequence[str]
) -> None:
    with progress("2 of 3, preparing", total_bytes(places)) as on_bytes:
        channels.write(open_table(places, header=header, on_bytes=on_bytes), share)
    if test:
        channels.write(open_table(test, header=header), 0.0, "test")
    if not channels.rows.get("train"):
        raise UserError("Every row is held out, so none is left to train on. Give more rows, or --hold-out 0.")


def given_hyperparameters(hyperparameters: Sequence[str]) -> dict[str, str]:
    """Return the values of ``--set NAME=VALUE``."""
    given = {}
    for text in hyperparameters:
        name, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--set {excerpt(text)}: expected NAME=VALUE, as in --set l1=0.01.")
        given[name.strip()] = value.strip()
    return given


def _hyperparameters(
    assumed: Assumed,
    summary: DataSummary,
    channels: Channels,
    num_components: int | None,
    given: dict[str, str],
) -> dict[str, str]:
    rows, features = channels.rows["train"], len(assumed.preparation.feature_names)
    batch = max(1, min(_LARGEST_BATCH, rows))
    if num_components is not None:
        if num_components > min(features, rows):
            raise UserError(
                f"--pca {num_components}: there are {features} features and {rows} rows, so there are at most "
                f"{min(features, rows)} components."
            )
        own: dict[str, object] = {
            "num_components": num_components,
            "feature_dim": features,
            "mini_batch_size": batch,
        }
    else:
        own = {"predictor_type": assumed.predictor_type, "mini_batch_size": batch}
        if assumed.predictor_type == MULTICLASS:
            assert assumed.preparation.classes is not None
            own["num_classes"] = len(assumed.preparation.classes)
    return {name: str(value) for name, value in own.items()} | given


def _rows_sentence(channels: Channels, share: float, test: Sequence[str]) -> str:
    train, held = channels.rows["train"], channels.rows.get("test", 0)
    features = len(channels.preparation.feature_names)
    text = f"{train:,} rows of {features} features train"
    if held and test:
        return f"{text}; {held:,} rows of {', '.join(test)} measure."
    if held:
        return (
            f"{text}; {held:,} rows, chosen by a hash of the row's number, are held out to measure the model on."
        )
    return f"{text}; none is held out."


def _measure(opened: OpenedModel, root: Path, output: Path) -> None:
    """Keep what the report shows beside the model: predictions of held-out rows, standard errors, projections."""
    for stale in (HELD_OUT_FILE, STANDARD_ERRORS_FILE, PROJECTIONS_FILE):
        (output / stale).unlink(missing_ok=True)
    train, test = (next((root / "input" / "data" / name).glob("*"), None) for name in ("train", "test"))
    assert train is not None
    if opened.linear is None:
        write_projections(opened, train, output / PROJECTIONS_FILE)
        return
    if test is not None:
        write_held_out(opened, test, output / HELD_OUT_FILE)
    strength = opened.report.get("hyperparameters", {}).get("wd", 0.0)
    wd = float(strength) if isinstance(strength, int | float) else 0.0
    found = standard_errors(opened.linear, lambda: channel_batches(train, labelled=True), wd)
    if found is not None:
        (output / STANDARD_ERRORS_FILE).write_bytes(write_table(opened.preparation.feature_names, *found))


def _say_result(opened: OpenedModel, output: Path, began: float) -> None:
    fresh = open_model(output)
    (output / REPORT_FILE).write_text(page_of(fresh), encoding="utf-8")
    measured = scores_of(fresh)
    if measured is not None:
        rows, scores = measured
        click.echo(f"On {rows:,} held-out rows (± one standard error, by bootstrap):")
        for score in scores:
            click.echo(f"  {_score_line(score)}")
    for sentence in _sentences(opened):
        click.echo(sentence)
    click.echo(f"The model is in {output}/, after {seconds_since(began)}; a page about it: {output}/{REPORT_FILE}")
    click.echo("Next:")
    click.echo(f"  eigenline predict {output} NEW.csv -o predictions.csv --join")
    click.echo(f"  eigenline serve {output}         answer requests over HTTP")


def _score_line(score: Score) -> str:
    spread = (
        f" ± {score.spread:.2g}" if score.spread > 0 else ""
    )  # all resamples alike: the rows are too few for one
    return f"{score.name:<22} {score.value:.4g}{spread}"


def _sentences(opened: OpenedModel) -> list[str]:
    summary = opened.report.get("summary")
    if opened.pca is not None and isinstance(summary, list):
        return [text for text in summary if isinstance(text, str)][1:]
    if opened.linear is None or opened.linear.predictor_type == REGRESSOR:
        return []
    if len(opened.classes) == 2:
        positive = opened.classes[1]
        return [f"A row is called {positive!r} where its score is at least {opened.linear.threshold:.4g}."]
    return []


def _in_own_words(text: str, root: Path, files: Sequence[str]) -> str:
    """Name the person's files where the job names its own."""
    shown = ", ".join(files)
    for channel in ("train", "test"):
        for name in ("data.csv", "data.pbr"):
            text = text.replace(str(root / "input" / "data" / channel / name), f"{shown} (as prepared)")
    return text.replace(str(root), "the job")
