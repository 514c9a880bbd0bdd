"""One training job from beginning to end, in the process that trains."""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TextIO, cast

from eigenline.algorithms.errors import DataError, Stopped, UserError, excerpt
from eigenline.container.algorithm_choice import DISPLAY_NAMES, LINEAR_LEARNER, PCA, choose_algorithm
from eigenline.container.channels import Channel, hold_in_memory, open_channels
from eigenline.container.checkpoints import FolderCheckpoints, NoCheckpoints
from eigenline.container.columns import Columns, Labels
from eigenline.container.configuration import Configuration, Hosts, read_configuration, read_hosts
from eigenline.container.failure import STOPPED, failure_text, note_on_models, traceback_text, write_failure
from eigenline.container.folders import Folders, writable_folder
from eigenline.container.hosts import Followers, wait_for_first
from eigenline.container.job import Job, JobContext, Outcome
from eigenline.container.job_log import JobLog
from eigenline.container.model_folder import models_in, write_together
from eigenline.container.report_page import write_page
from eigenline.container.startup_log import (
    log_channels,
    log_given,
    log_machine,
    log_resolved,
    resolved_hyperparameters,
)
from eigenline.container.stopping import Stopping
from eigenline.formats.artifact.columns_file import COLUMNS_FILE
from eigenline.formats.artifact.model_file import write_artifact
from eigenline.formats.machine_limits import memory_limit
from eigenline.version import version

_JOBS = {PCA: "eigenline.container.pca_job", LINEAR_LEARNER: "eigenline.container.linear_learner_job"}
_LABELS: Mapping[str, Labels] = {PCA: "ignored", LINEAR_LEARNER: "required"}
_STOPPED_CODE = 143  # 128 + SIGTERM: the convention of shells and Docker


def run_job(folders: Folders, environment: Mapping[str, str], stream: TextIO, stopping: Stopping) -> int:
    """Train and save, or write the failure file; return the exit code.

    This is the one place of training that catches everything: whatever happens, the log holds the traceback, the
    failure file holds the message, the model folder holds no half-written file, and the exit code is not 0.
    """
    log = JobLog(stream)
    followers: Followers | None = None
    models_before = models_in(folders.model)
    try:
        log_machine(log)
        hosts = read_hosts(folders)
        log.host = hosts.current
        if hosts.current != hosts.first:
            return _follow(hosts, log, stopping)
        followers = Followers(len(hosts.names) - 1)
        _train(folders, environment, log, stopping)
        followers.send("done")
        return 0
    except BaseException as error:
        note = note_on_models(models_before & models_in(folders.model))
        text = STOPPED + note if isinstance(error, Stopped) else failure_text(error, note)
        if not isinstance(error, UserError | Stopped):  # of a mistake in the job a traceback would explain nothing
            log.plain(traceback_text(error))
        log.error(f"Customer Error: {error}{note}" if isinstance(error, UserError) else text)
        write_failure(folders.failure, text)
        if followers is not None:
            followers.send(text)
        return _STOPPED_CODE if isinstance(error, Stopped) else 1


def _follow(hosts: Hosts, log: JobLog, stopping: Stopping) -> int:
    log.info(
        f"The data are replicated, so {hosts.first} trains and writes the model; this host ({hosts.current}) "
        "waits for it."
    )
    wait_for_first(hosts.first, stopping, log=log.info)
    log.info(f"{hosts.first} is done.")
    return 0


def _train(folders: Folders, environment: Mapping[str, str], log: JobLog, stopping: Stopping) -> None:
    started = time.perf_counter()
    configuration = read_configuration(folders)
    log_given(log, configuration, folders)
    algorithm = choose_algorithm(configuration.hyperparameters, environment)
    log.algorithm = DISPLAY_NAMES[algorithm]
    job = cast(Job, importlib.import_module(_JOBS[algorithm]))
    settings = job.read_settings(configuration.hyperparameters)
    log_resolved(log, settings)
    _refuse_shards(configuration)
    columns = _columns(algorithm, settings, log)
    channels = open_channels(configuration.channels, folders.data, _LABELS[algorithm], stopping, columns, log)
    log_channels(log, channels, checkpoints=configuration.checkpoints is not None)
    columns.name_classes(list(channels["train"].classes()))
    if columns.classes is not None:
        log.info(f"Labels are texts, numbered in their order: {', '.join(map(excerpt, columns.classes[:100]))}.")
    writable_folder(folders.model)
    context = JobContext(
        hold_in_memory(channels, memory_limit()),
        log,
        _checkpoints(configuration, algorithm, resolved_hyperparameters(settings), channels, columns, log),
        stopping,
        columns,
    )
    outcome = job.run(settings, context)
    names = columns.names_file()
    beside = outcome.reports if names is None else {**outcome.reports, COLUMNS_FILE: names}
    outcome = replace(outcome, reports=beside)
    _save(outcome, folders, configuration.hosts, log)
    if not stopping():
        write_page(outcome, columns, folders, log, environment)
    if stopping():
        log.info(f"Stopped by {stopping.signal_name}: the best model so far was saved.")
    log.info(f"Done in {time.perf_counter() - started:.2f} seconds; the model is in {folders.model}.")


def _columns(algorithm: str, settings: Any, log: JobLog) -> Columns:
    if algorithm == PCA:
        return Columns(feature_dim=settings.feature_dim, warn=log.warning)
    num_classes = 2 if settings.is_binary else None if settings.is_regression else settings.num_classes
    return Columns(num_classes=num_classes, warn=log.warning)


def _refuse_shards(configuration: Configuration) -> None:
    sharded = [channel.name for channel in configuration.channels if channel.sharded]
    if sharded and len(configuration.hosts.names) > 1:
        raise DataError(
            f"Channel {sharded[0]!r} is ShardedByS3Key over {len(configuration.hosts.names)} hosts, so no host "
            "sees all of it, and training here runs on one host. Use FullyReplicated "
            "(distribution='FullyReplicated'), or instance_count=1."
        )


def _checkpoints(
    configuration: Configuration,
    algorithm: str,
    resolved: Mapping[str, object],
    channels: Mapping[str, Channel],
    columns: Columns,
    log: JobLog,
) -> FolderCheckpoints | NoCheckpoints:
    if configuration.checkpoints is None:
        return NoCheckpoints()
    identity = [algorithm, version(), repr(sorted(resolved.items()))]
    identity += [channel.identity() for channel in channels.values()]
    try:
        writable_folder(configuration.checkpoints)
    except UserError as error:
        log.warning(f"No checkpoint will be saved. {error}")
    return FolderCheckpoints(configuration.checkpoints, "\n".join(identity), log, columns)


def _save(outcome: Outcome, folders: Folders, hosts: Hosts, log: JobLog) -> None:
    """Write the reports and the model together, then the reports once more where they are not needed.

    Chosen: the reports also go to ``output/data``, because a user of SageMaker looks for extras in
    ``output.tar.gz``, and may hand on a report without the model. A model is not lost for want of that copy.
    """
    name = f"model_{hosts.first}"
    files = {**outcome.reports, name: write_artifact(outcome.model)}
    write_together(folders.model, files)
    log.info(f"Saved {name} ({len(files[name]):,} bytes) and {len(outcome.reports)} reports")
    try:
        write_together(folders.output_data, outcome.reports)
    except OSError as error:
        log.warning(
            f"The reports are in {folders.model} only: {error.filename or folders.output_data} cannot be written: "
            f"{error.strerror}."
        )
