"""The command `eigenline`: its verbs and their options; each imports only what it needs."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from eigenline.algorithms.errors import UserError
from eigenline.version import version

# `serve` reads its own options and prints its own --help; this command only finds it.
_PASSED_ON: Final = {"ignore_unknown_options": True, "help_option_names": []}
_HELP_NAMES: Final = {"help_option_names": ["-h", "--help"]}
_INTERRUPTED: Final = 130  # 128 + SIGINT, the shell's convention

_HELP = """PCA and Linear Learner as Amazon SageMaker computes them, on your own machine.

\b
a file:
  eigenline check sales.csv --target price       what is in it, and what would stand in the way
  eigenline train sales.csv --target price       a model in model/, measured on rows that did not train
  eigenline predict model/ new.csv -o out.csv    a prediction for every row
  eigenline report model/                        a page about the model
  eigenline serve model/                         answer requests over HTTP, on this machine only

\b
a model, from here or from AWS:
  eigenline inspect model.tar.gz                 what is in it
  eigenline export model.tar.gz --to onnx        the model without this package
  eigenline compare aws-model.tar.gz model/      two of them side by side

\b
a SageMaker job:
  SAGEMAKER_BASE_DIR=$PWD/ml eigenline train     run the training job whose files lie below ml/
  SAGEMAKER_BASE_DIR=$PWD/ml eigenline serve     answer requests with the model that it wrote
  eigenline serve model.tar.gz --port 9000       serve any artifact, from here or from AWS
  eigenline replay training.log train.csv        a job of the service once more, and what agrees
"""

Verb = TypeVar("Verb", bound=Callable[..., Any])


def _told(verb: Verb) -> Verb:
    """End a verb with one sentence on the error stream and exit code 1 where the caller can mend what is wrong."""

    @functools.wraps(verb)
    def told(*arguments: Any, **options: Any) -> None:
        name = click.get_current_context().info_name
        try:
            code = verb(*arguments, **options)
        except UserError as error:
            click.echo(f"eigenline {name}: {error}", err=True)
            code = 1
        except KeyboardInterrupt:
            click.echo(f"\neigenline {name}: stopped.", err=True)
            code = _INTERRUPTED
        except BrokenPipeError:  # whoever read our output has read enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 0
        sys.exit(code or 0)

    return told  # type: ignore[return-value]


@click.group(help=_HELP, context_settings=_HELP_NAMES, no_args_is_help=True)
@click.version_option(version(), prog_name="eigenline")
def eigenline() -> None:
    """Find the verb; click prints the help and the version."""


_header = click.option(
    "--header",
    type=click.Choice(["present", "absent"]),
    help="Whether the first line holds names; found out where it is not said.",
)

_TRAIN_HELP = """Train on a file, or run a SageMaker job where no file is named.

FILE is CSV (any separator, with or without names), JSON Lines, Parquet, .npz, svmlight or recordIO-protobuf, also
as gzip; several files or a folder are one table; - is standard input.

\b
examples:
  eigenline train sales.csv --target price
  eigenline train customers.csv --target churned --fill mean --categories one-hot --ignore customer_id
  eigenline train sensors.parquet --pca 10 -o components/
  zcat big.csv.gz | eigenline train - --target y --set loss=huber_loss
  SAGEMAKER_BASE_DIR=$PWD/ml eigenline train          the job below ml/, or below /opt/ml

A fifth of the rows is held out to measure the model on, unless --test names a file for that; for PCA none is.
The model folder has SageMaker's layout (model_algo-1) with reports and the job's whole log (train.log) beside it.

\b
exit codes:
  0     the model is complete
  1     a failure, named on the error stream (of a SageMaker job: in output/failure)
  2     an option is wrong
  130   stopped by Ctrl-C
  137   killed, most often for want of memory
  143   stopped by SIGTERM before there was a model

Hyperparameters and their defaults: docs/hyperparameters.md. A SageMaker job: docs/container.md.
"""


@eigenline.command(help=_TRAIN_HELP, context_settings=_HELP_NAMES)
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option(
    "--target", metavar="NAME", help="The column to predict: its name; where there are none, its number."
)
@click.option("--pca", "num_components", type=click.IntRange(1), metavar="K", help="Find K principal components.")
@click.option("-o", "--output", type=Path, default=Path("model"), show_default=True, help="The model's folder.")
@click.option(
    "--predictor-type",
    type=click.Choice(["binary_classifier", "multiclass_classifier", "regressor"]),
    help="What to predict; found out from the label where it is not said.",
)
@click.option("--positive", metavar="CLASS", help="The class that counts as positive; by default the second.")
@click.option("--fill", type=click.Choice(["mean"]), help="Fill empty cells with the column's mean.")
@click.option("--categories", type=click.Choice(["one-hot"]), help="Turn texts into features, one a category.")
@click.option("--ignore", multiple=True, metavar="NAME", help="Leave a column out (more than once: more columns).")
@click.option("--test", multiple=True, metavar="FILE", help="Measure on this file instead of held-out rows.")
@click.option("--hold-out", type=click.FloatRange(0, 0.9), metavar="SHARE", help="Share of rows held out.")
@click.option("--set", "hyperparameters", multiple=True, metavar="NAME=VALUE", help="A hyperparameter.")
@_header
@_told
def train(
    files: tuple[str, ...],
    target: str | None,
    num_components: int | None,
    output: Path,
    predictor_type: str | None,
    positive: str | None,
    fill: str | None,
    categories: str | None,
    ignore: tuple[str, ...],
    test: tuple[str, ...],
    hold_out: float | None,
    hyperparameters: tuple[str, ...],
    header: str | None,
) -> int:
    """Train on a file, or run the SageMaker job."""
    if not files:
        given = click.get_current_context().params
        if any(given[name] for name in given if name not in ("output", "files")):
            raise click.UsageError("No file is named. A SageMaker job takes no options: its files say everything.")
        from eigenline.container.train import main as run_job

        return run_job([])
    if num_components is not None and predictor_type is not None:
        raise click.UsageError("--pca predicts nothing, so it takes no --predictor-type.")
    from eigenline.command.assumptions import Wishes
    from eigenline.command.train import train_file

    wishes = Wishes(
        target,
        ignore,
        predictor_type,
        fill_mean=fill is not None,
        one_hot=categories is not None,
        positive=positive,
        pca=num_components is not None,
    )
    return train_file(
        files,
        wishes,
        output,
        num_components=num_components,
        hold_out=hold_out,
        test=test,
        header=None if header is None else header == "present",
        hyperparameters=hyperparameters,
    )


_CHECK_HELP = """Say what a file holds and what would stand in the way of training on it; nothing is written.

With --model, FILE is a request's body instead (JSON, CSV, JSON Lines or recordIO): what `serve` would make of it.

\b
examples:
  eigenline check sales.csv --target price
  eigenline check request.json --model model/

Exit code 0 where nothing is in the way, 1 where something is.
"""


@eigenline.command(help=_CHECK_HELP, context_settings=_HELP_NAMES)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--target", metavar="NAME", help="The column to predict.")
@click.option("--pca", is_flag=True, help="There is nothing to predict.")
@click.option("--model", metavar="MODEL", help="Check a request for this model.")
@click.option("--content-type", metavar="TYPE", help="The request's content type; found out where it is not said.")
@click.option(
    "--predictor-type",
    type=click.Choice(["binary_classifier", "multiclass_classifier", "regressor"]),
    help="As of train.",
)
@click.option("--fill", type=click.Choice(["mean"]), help="As of train.")
@click.option("--categories", type=click.Choice(["one-hot"]), help="As of train.")
@click.option("--ignore", multiple=True, metavar="NAME", help="As of train.")
@_header
@_told
def check(
    files: tuple[str, ...],
    target: str | None,
    pca: bool,
    model: str | None,
    content_type: str | None,
    predictor_type: str | None,
    fill: str | None,
    categories: str | None,
    ignore: tuple[str, ...],
    header: str | None,
) -> int:
    """Check a file or a request."""
    if model is not None:
        from eigenline.command.check import check_request

        if len(files) > 1:
            raise click.UsageError("One request is checked at a time.")
        return check_request(files[0], model, content_type)
    from eigenline.command.assumptions import Wishes
    from eigenline.command.check import check_file

    wishes = Wishes(
        target, ignore, predictor_type, fill_mean=fill is not None, one_hot=categories is not None, pca=pca
    )
    return check_file(files, wishes, None if header is None else header == "present")


_PREDICT_HELP = """Write a prediction for every row of a file, in the file's order.

MODEL is a folder that `train` wrote, or a model.tar.gz from here or from AWS. Columns are matched by name where
file and model have names; the label's column may be there or not. - is standard input or output.

\b
examples:
  eigenline predict model/ new.csv -o out.csv --join      beside all columns of the file
  eigenline predict model/ new.csv -o out.csv --id-col customer_id
  eigenline predict aws-model.tar.gz features.csv --header absent
  cat new.csv | eigenline predict model/ - > out.csv
"""


@eigenline.command(help=_PREDICT_HELP, context_settings=_HELP_NAMES)
@click.argument("model")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("-o", "--output", default="-", show_default=True, help="A CSV file.")
@click.option("--join", is_flag=True, help="Write the file's own columns first.")
@click.option("--id-col", "id_columns", multiple=True, metavar="NAME", help="Write this column first.")
@click.option("--ignore", multiple=True, metavar="NAME", help="A column that is no feature (files without names).")
@_header
@_told
def predict(
    model: str,
    files: tuple[str, ...],
    output: str,
    join: bool,
    id_columns: tuple[str, ...],
    ignore: tuple[str, ...],
    header: str | None,
) -> int:
    """Write predictions."""
    _one_thread_each()
    from eigenline.command.predict import predict_file
    from eigenline.command.tables.opening import total_bytes
    from eigenline.command.train import progress

    with progress("Predicting", total_bytes(files)) as on_bytes:
        rows, notes = predict_file(
            model,
            files,
            output,
            join=join,
            id_columns=id_columns,
            ignored=ignore,
            header=None if header is None else header == "present",
            on_bytes=on_bytes,
        )
    for note in notes:
        click.echo(note, err=True)
    click.echo(f"{rows:,} rows predicted" + ("." if output == "-" else f": {output}."), err=True)
    return 0


@eigenline.command(context_settings=_HELP_NAMES)
@click.argument("model")
@_told
def inspect(model: str) -> int:
    """Say what is in a model: a folder, or a model.tar.gz from here or from AWS."""
    from eigenline.command.inspect import inspect_model

    for line in inspect_model(model):
        click.echo(line)
    return 0


_EXPORT_HELP = """Write a model in a form that needs no eigenline, ours or one that AWS trained.

\b
  npz      named numpy arrays: weights, bias, threshold; components, mean, singular_values
  json     the same as text
  csv      coefficients (or components), one line a feature
  sklearn  a Python file whose load() returns scikit-learn objects, and their arrays beside it; no pickle
  onnx     a graph for ONNX runtimes (pip install 'eigenline[onnx]')

\b
examples:
  eigenline export model/ --to onnx -o churn.onnx
  eigenline export aws-model.tar.gz --to csv
"""


@eigenline.command(help=_EXPORT_HELP, context_settings=_HELP_NAMES)
@click.argument("model")
@click.option("--to", "form", required=True, type=click.Choice(["npz", "json", "csv", "sklearn", "onnx"]))
@click.option("-o", "--output", help="The file; by default MODEL-model with the form's ending.")
@_told
def export(model: str, form: str, output: str | None) -> int:
    """Write a model in another form."""
    from eigenline.command.export import export_model

    for line in export_model(model, form, output):
        click.echo(line)
    return 0


_REPORT_HELP = """Write report.html about a model: scores on rows that did not train, pictures, a table to copy.

One self-contained file, for light and dark, that prints well. `train` writes one into the model's folder.

\b
examples:
  eigenline report model/                         model/report.html, measured on the rows that training held out
  eigenline report model/ --data held_out.csv     measured on your own
  eigenline report aws-model.tar.gz -o aws.html
"""


@eigenline.command(help=_REPORT_HELP, context_settings=_HELP_NAMES)
@click.argument("model")
@click.option("--data", multiple=True, metavar="FILE", help="Measure on this file, which has the label too.")
@click.option("-o", "--output", help="The page; by default report.html in the model's folder.")
@_header
@_told
def report(model: str, data: tuple[str, ...], output: str | None, header: str | None) -> int:
    """Write a page about a model."""
    from eigenline.command.report import write_report

    path = write_report(model, data, output, None if header is None else header == "present")
    click.echo(f"Written: {path}")
    return 0


_COMPARE_HELP = """Compare two models: one that AWS trained and one from here, or any two.

Coefficients, components up to their sign, thresholds; with --data the predictions, metrics and response bytes on
a file; with --log the metrics that the first one's job printed.

\b
examples:
  eigenline compare aws-model.tar.gz model/
  eigenline compare aws-model.tar.gz model/ --log aws.log --data test.csv
"""


@eigenline.command(help=_COMPARE_HELP, context_settings=_HELP_NAMES)
@click.argument("first")
@click.argument("second")
@click.option("--data", multiple=True, metavar="FILE", help="Predict this file with both.")
@click.option("--log", metavar="FILE", help="The log of the first model's job.")
@_header
@_told
def compare(first: str, second: str, data: tuple[str, ...], log: str | None, header: str | None) -> int:
    """Compare two models."""
    from eigenline.command.compare import compare_models

    for line in compare_models(first, second, data, log, None if header is None else header == "present"):
        click.echo(line)
    return 0


def _one_thread_each() -> None:
    """Keep BLAS to the CPUs that this process may use, as training does; before numpy is imported."""
    from eigenline.container.train import limit_threads

    limit_threads()


_REPLAY_HELP = """Train as the service did in a logged job, and show what agrees.

LOG is the whole log of a Linear Learner job of SageMaker, DATA the file or folder that it was trained on: CSV with
the label first and no names, or recordIO-protobuf. Hyperparameters are taken from the log, and training runs with
compatibility=aws; the table then compares losses of every model and epoch, stop, choice and final metrics.

\b
examples:
  eigenline replay training.log train.csv
  eigenline replay training.log train/ --validation validation/
  eigenline replay excerpt.log train.csv --set predictor_type=regressor --set mini_batch_size=200

Exit code 0 where the job is replayed, 1 where something differs or training failed.
"""


@eigenline.command(help=_REPLAY_HELP, context_settings=_HELP_NAMES)
@click.argument("log", type=click.Path(path_type=Path))
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--validation", type=click.Path(path_type=Path), help="The job's validation channel.")
@click.option("--test", type=click.Path(path_type=Path), help="The job's test channel.")
@click.option("--set", "hyperparameters", multiple=True, metavar="NAME=VALUE", help="A hyperparameter.")
@click.option(
    "--keep-log", type=click.Path(path_type=Path), metavar="FILE", help="Write the log of here to a file."
)
@_told
def replay(
    log: Path,
    data: Path,
    validation: Path | None,
    test: Path | None,
    hyperparameters: tuple[str, ...],
    keep_log: Path | None,
) -> int:
    """Replay a job of the service."""
    from eigenline.command.replay import replay as run
    from eigenline.command.train import given_hyperparameters

    channels = {"train": data, "validation": validation, "test": test}
    given = given_hyperparameters(hyperparameters)
    return run(log, {name: path for name, path in channels.items() if path is not None}, given, keep_log)


@eigenline.command(context_settings=_PASSED_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def serve(arguments: tuple[str, ...]) -> None:
    """Serve a model over HTTP (`eigenline serve --help`)."""
    from eigenline.serve.server import main as run

    sys.exit(run(arguments))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; the exit code is the verb's own."""
    eigenline.main(arguments, prog_name="eigenline")
