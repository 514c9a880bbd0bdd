"""One training job from beginning to end, in the process that trains."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TextIO, cast

from eigenline.algorithms.batch import Batches
from eigenline.algorithms.errors import Stopped, UserError, excerpt
from eigenline.algorithms.records import Records
from eigenline.container.algorithm_choice import DISPLAY_NAMES, LINEAR_LEARNER, PCA, choose_algorithm
from eigenline.container.channels import Channel, hold_in_memory, open_channels
from eigenline.container.checkpoints import FolderCheckpoints, NoCheckpoints
from eigenline.container.columns import Columns, Labels
from eigenline.container.configuration import Configuration, Hosts, read_configuration, read_hosts
from eigenline.container.failure import STOPPED, failure_text, note_on_models, traceback_text, write_failure
from eigenline.container.folders import Folders, writable_folder
from eigenline.container.hosts import Leading, follow, leading
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
    leader: Leading | None = None
    models_before = models_in(folders.model)
    try:
        log_machine(log)
        hosts = read_hosts(folders)
        log.host = hosts.current
        if hosts.current != hosts.first:
            follow(hosts, folders, log, stopping)
            return 0
        leader = leading(hosts, folders, log, stopping)
        _train(folders, environment, log, stopping, leader)
        if leader is not None:
            leader.end()
        return 0
    except BaseException as error:
        note = note_on_models(models_before & models_in(folders.model))
        text = STOPPED + note if isinstance(error, Stopped) else failure_text(error, note)
        if not isinstance(error, UserError | Stopped):  # of a mistake in the job a traceback would explain nothing
            log.plain(traceback_text(error))
        log.error(f"Customer Error: {error}{note}" if isinstance(error, UserError) else text)
        write_failure(folders.failure, text)
        if leader is not None:
            leader.end(text)
        return _STOPPED_CODE if isinstance(error, Stopped) else 1


def _train(
    folders: Folders, environment: Mapping[str, str], log: JobLog, stopping: Stopping, leader: Leading | None
) -> None:
    started = time.perf_counter()
    configuration = read_configuration(folders)
    log_given(log, configuration, folders)
    algorithm = choose_algorithm(configuration.hyperparameters, environment)
    log.algorithm = DISPLAY_NAMES[algorithm]
    job = cast(Job, importlib.import_module(_JOBS[algorithm]))
    settings = job.read_settings(configuration.hyperparameters)
    log_resolved(log, settings)
    columns = _columns(algorithm, settings, log)
    asked: Callable[[], bool] = stopping
    given, labels = configuration.channels, _LABELS[algorithm]
    channels: Mapping[str, Channel] = {}
    data: Mapping[str, Batches | Records]
    if leader is None:
        channels = open_channels(given, folders.data, labels, stopping, columns, log)
    else:
        channels = leader.open_channels(given, labels, columns, job.one_host_because(settings))
        asked = leader.asked_to_stop
    if channels:
        log_channels(log, channels, checkpoints=configuration.checkpoints is not None)
        columns.name_classes(list(channels["train"].classes()))
        if columns.classes is not None:
            names = ", ".join(map(excerpt, columns.classes[:100]))
            log.info(f"Labels are texts, numbered in their order: {names}.")
        data, identities = hold_in_memory(channels, memory_limit()), [one.identity for one in channels.values()]
    else:
        assert leader is not None
        data, identities = leader.records(on_threads=algorithm == LINEAR_LEARNER), leader.identities(given)
    writable_folder(folders.model)
    checkpoints = _checkpoints(
        configuration, algorithm, resolved_hyperparameters(settings), identities, columns, log
    )
    outcome = job.run(settings, JobContext(data, log, checkpoints, asked, columns))
    names_file = columns.names_file()
    beside = outcome.reports if names_file is None else {**outcome.reports, COLUMNS_FILE: names_file}
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


def _checkpoints(
    configuration: Configuration,
    algorithm: str,
    resolved: Mapping[str, object],
    identities: Sequence[Callable[[], str]],
    columns: Columns,
    log: JobLog,
) -> FolderCheckpoints | NoCheckpoints:
    if configuration.checkpoints is None:
        return NoCheckpoints()
    identity = [algorithm, version(), repr(sorted(resolved.items()))]
    identity += [of_channel() for of_channel in identities]
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
