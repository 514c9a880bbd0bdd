"""The first lines of a job's log: what runs, what was given, what that means, and the data that were found."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from eigenline.algorithms.hyperparameters import declarations
from eigenline.container.channels import Channel
from eigenline.container.configuration import Configuration
from eigenline.container.folders import Folders
from eigenline.container.job_log import JobLog
from eigenline.formats.machine_limits import cpu_quota, memory_limit
from eigenline.version import version


def resolved_hyperparameters(settings: Any) -> dict[str, object]:
    """Return name -> value of every declared hyperparameter, defaults included."""
    return {name: getattr(settings, name) for name in declarations(type(settings))}


def log_machine(log: JobLog, environment: Mapping[str, str] = os.environ) -> None:
    """Log what runs where: versions, CPUs, BLAS threads and memory as this container may use them."""
    if os.getppid() == 1:  # the process outside training is a container's first
        log.plain("Docker entrypoint called with argument(s): train")
    python = ".".join(map(str, sys.version_info[:3]))
    log.info(f"eigenline {version()}, Python {python}, numpy {np.__version__}")
    log.info(
        f"{cpu_quota():g} CPUs, {environment.get('OPENBLAS_NUM_THREADS', 'default')} BLAS threads, "
        f"{memory_limit() / 2**20:,.0f} MiB of memory"
    )
    if environment.get("TRAINING_JOB_NAME"):
        log.info(f"Training job {environment['TRAINING_JOB_NAME']}")


def log_given(log: JobLog, configuration: Configuration, folders: Folders) -> None:
    """Print the hyperparameters as they were given, before anything can be wrong with them."""
    path = folders.configuration / "hyperparameters.json"
    log.info(f"Reading provided configuration from {path}: {json.dumps(dict(configuration.hyperparameters))}")


def log_resolved(log: JobLog, settings: Any) -> None:
    """Print all hyperparameters as training will use them."""
    log.info(f"Final configuration: {json.dumps(resolved_hyperparameters(settings), default=str)}")


def log_channels(log: JobLog, channels: Mapping[str, Channel], checkpoints: bool) -> None:
    """Print what was found in each channel, and whether checkpoints are kept."""
    for name, channel in channels.items():
        log.info(f"The channel {name!r}: {channel.describe()}")
    if not checkpoints:
        log.info("Checkpoint loading and saving are disabled.")
