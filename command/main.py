"""The command `eigenline`: names its verbs, and imports only what the chosen verb needs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from eigenline.version import version

# Each verb reads its own options and prints its own --help; this command only finds it.
_PASSED_ON = {"ignore_unknown_options": True, "help_option_names": []}


_HELP = """PCA and Linear Learner as Amazon SageMaker computes them, on your own machine.

\b
examples:
  SAGEMAKER_BASE_DIR=$PWD/ml eigenline train     run the training job whose files lie below ml/
  SAGEMAKER_BASE_DIR=$PWD/ml eigenline serve     answer requests with the model that it wrote
  eigenline serve model.tar.gz --port 9000       serve any artifact, from here or from AWS
"""


@click.group(help=_HELP, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True)
@click.version_option(version(), prog_name="eigenline")
def eigenline() -> None:
    """Find the verb; click prints the help and the version."""


@eigenline.command(context_settings=_PASSED_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def train(arguments: tuple[str, ...]) -> None:
    """Train from a SageMaker folder tree (`eigenline train --help`)."""
    from eigenline.container.train import main as run

    sys.exit(run(arguments))


@eigenline.command(context_settings=_PASSED_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def serve(arguments: tuple[str, ...]) -> None:
    """Serve a model over HTTP (`eigenline serve --help`)."""
    from eigenline.serve.server import main as run

    sys.exit(run(arguments))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; the exit code is the verb's own."""
    eigenline.main(arguments, prog_name="eigenline")
