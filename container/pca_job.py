"""PCA as a training job: settings and channels in, SageMaker's log lines on the way, model and reports out."""

from __future__ import annotations

import time

import numpy as np

from eigenline.algorithms.batch import Batches
from eigenline.algorithms.errors import DataError, RecordsError, Stopped
from eigenline.algorithms.pca import explained
from eigenline.algorithms.pca.blocks import BLOCK_BYTES
from eigenline.algorithms.pca.checkpoint import passes_of
from eigenline.algorithms.pca.explained import Explained, ExplainedWork
from eigenline.algorithms.pca.model import PCAModel
from eigenline.algorithms.pca.settings import PCASettings, read_settings
from eigenline.algorithms.pca.training import Stage, TrainedPCA, train
from eigenline.algorithms.records import PassProgress, Records, RecordsHere, as_records
from eigenline.cluster.records_on_workers import RecordsOnWorkers
from eigenline.container.job import JobContext, Outcome
from eigenline.container.job_log import JobLog
from eigenline.container.pca_reports import reports, summary
from eigenline.formats.machine_limits import cpu_quota

__all__ = ["one_host_because", "read_settings", "run"]

_SECONDS_BETWEEN_LINES = 10.0


def one_host_because(settings: PCASettings) -> str:
    """Return nothing: both modes are sums over the records."""
    return ""


def run(settings: PCASettings, context: JobContext) -> Outcome:
    """Train on the ``train`` channel, measure on ``test`` where there is one, and report.

    Raises
    ------
    DataError
        If the data do not fit the settings or are not finite.
    Stopped
        If the job was asked to stop before there was a model.
    """
    trained, seconds = _train(settings, context)
    log = context.log
    on_test: Explained | None = None
    if "test" not in context.channels:
        log.info("Test data is not provided.")
    elif not context.stopping():
        on_test = _measure(trained.model, context.channels["test"], context)
    sentences = summary(trained, on_test)
    for sentence in sentences:
        log.info(sentence)
    _log_quality(log, "train", explained.of_training(trained))
    if on_test is not None:
        _log_quality(log, "test", on_test)
    outcome = Outcome(
        trained.model, reports(settings, trained, on_test, sentences, seconds, context.columns.names)
    )
    log.metrics({"setuptime": seconds["setup"] * 1e3, "totaltime": (log.clock() - seconds["began"]) * 1e3})
    return outcome


def _train(settings: PCASettings, context: JobContext) -> tuple[TrainedPCA, dict[str, float]]:
    """Train, writing the lines of SageMaker's own log; return seconds of each stage beside the model."""
    log = context.log
    began = log.clock()
    executor = "RandomizedPCAExecutor" if settings.algorithm_mode == "randomized" else "PCAExecutor"
    log.info(f"The default executor is <{executor} on cpu(0)>.")
    lines = _TrainingLines(settings, log, executor, began)
    resume = context.checkpoints.load()
    records: RecordsHere | RecordsOnWorkers
    channel = context.channels["train"]
    if isinstance(channel, RecordsOnWorkers):
        records = channel
        records.observe, records.block_bytes = lines.read, BLOCK_BYTES
    else:
        assert not isinstance(channel, Records)
        records = RecordsHere(channel, stopping=context.stopping, observe=lines.read, block_bytes=BLOCK_BYTES)
    if resume is not None:
        records.passes = passes_of(resume)

    def observe(stage: Stage) -> None:
        if stage.checkpoint is not None:
            context.checkpoints.save(stage.checkpoint)
        lines.found(stage)

    try:
        trained = train(
            settings,
            records,
            np.random.default_rng(settings.seed),
            threads=max(1, int(cpu_quota())),
            resume=resume,
            observe=observe,
        )
    except RecordsError as error:
        pipe = " In Pipe mode each FIFO must carry the whole channel." if "in every pass" in str(error) else ""
        raise DataError(f"The train channel: {error}{pipe}") from error
    return trained, lines.finish(trained)


class _TrainingLines:
    """The lines of one training, in SageMaker's order."""

    def __init__(self, settings: PCASettings, log: JobLog, executor: str, began: float) -> None:
        self._first_block: float | None = None
        self._settings = settings
        self._log = log
        self._executor = executor
        self._began = began
        self._last_line = time.monotonic()
        self._last_read = began
        # The pass that is being read, and since when.
        self._epoch = PassProgress(1, 0, 0, 0, 0)
        self._epoch_began = began

    def read(self, progress: PassProgress) -> None:
        """Write what is due after a block of records."""
        self._begin(progress.feature_dim, progress.records, progress.num_bytes)
        if progress.pass_number != self._epoch.pass_number and self._epoch.records:
            self._write_epoch()
        self._epoch = progress
        self._last_read = self._log.clock()
        if time.monotonic() - self._last_line > _SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self._log.info(f"Pass {progress.pass_number}: {progress.records:,} records read.")

    def found(self, stage: Stage) -> None:
        """Write what is due at the end of a pass or step."""
        self._begin(stage.feature_dim, stage.records, 0)
        if stage.finding:
            self._log.info(f"Pass {stage.passes}: {stage.finding}.")

    def _begin(self, feature_dim: int, records: int, num_bytes: int) -> None:
        if self._first_block is None:
            self._first_block = self._log.clock()
            self._write_beginning(feature_dim, records, num_bytes)

    def _write_beginning(self, d: int, records: int, num_bytes: int) -> None:
        log, settings = self._log, self._settings
        log.info(f"{d} feature(s) found in 'data'.")
        if d != settings.feature_dim:
            log.warning(
                f"feature_dim is {settings.feature_dim}, but the records have {d} features: training with {d}."
            )
        if settings.algorithm_mode == "randomized" and settings.sketch_size >= d:
            log.warning(
                "The total number of components and extra components should be less than the number of features."
            )
        log.info(
            f"<{self._executor} on cpu(0)> is assigned to batch slice from 0 to {settings.mini_batch_size - 1}."
        )
        assert self._first_block is not None
        log.metrics({"initialize.time": (self._first_block - self._began) * 1e3}, start_time=self._began)
        log.metrics(_counts(0, 0, 0), dimensions={"Meta": "init_train_data_iter"})
        # The service looks at one mini-batch first, as its epoch 0. Here that is the beginning of the first pass.
        share = min(1.0, settings.mini_batch_size / max(1, records))
        log.epoch_stats("train", 0, self._first_block - self._began, 1, round(share * num_bytes))
        self._epoch_began = self._first_block

    def _write_epoch(self) -> None:
        """Sum up the pass that has been read."""
        epoch, seconds = self._epoch, self._last_read - self._epoch_began
        mini_batches = -(-epoch.records // self._settings.mini_batch_size)
        self._log.epoch_stats("train", epoch.pass_number, seconds, mini_batches, epoch.num_bytes)
        self._epoch_began = self._last_read

    def finish(self, trained: TrainedPCA) -> dict[str, float]:
        """Write what comes after training; return the seconds of each stage."""
        log = self._log
        if self._epoch.records:
            self._write_epoch()
        ended = log.clock()
        first = self._began if self._first_block is None else self._first_block
        reading, finishing = self._last_read - self._began, ended - self._last_read
        passes = trained.passes
        batches = -(-trained.num_records // self._settings.mini_batch_size) * passes
        log.metrics({"epochs": (float(passes), passes), "update.time": reading * 1e3}, start_time=self._began)
        log.progress(100.0)
        log.metrics(
            _counts(trained.num_records * passes, batches, passes),
            start_time=self._began,
            dimensions={"epoch": passes - 1, "Meta": "training_data_iter"},
        )
        log.throughput(trained.num_records * passes / max(reading, 1e-9))
        log.metrics({"finalize.time": finishing * 1e3}, start_time=self._last_read)
        return {"began": self._began, "setup": first - self._began, "reading": reading, "solving": finishing}


def _counts(records: int, batches: int, passes: int) -> dict[str, tuple[float, float]]:
    """The seven counters of SageMaker's data iterators; sums are printed as floats, extremes as integers."""
    of_one_pass = max(1, passes)
    values = {
        "Total Records Seen": records,
        "Total Batches Seen": batches,
        "Max Records Seen Between Resets": records // of_one_pass,
        "Max Batches Seen Between Resets": batches // of_one_pass,
        "Reset Count": passes,
        "Number of Records Since Last Reset": records // of_one_pass,
        "Number of Batches Since Last Reset": batches // of_one_pass,
    }
    return {name: (float(value), value) for name, value in values.items()}


def _measure(model: PCAModel, channel: Batches | Records, context: JobContext) -> Explained | None:
    """Measure a model on the test channel; None where that has no records, or the job was stopped."""
    records = as_records(channel, context.stopping)
    work = ExplainedWork(model)
    try:
        head = records.head()
        if head is None:
            return None
        if head.feature_dim != model.feature_dim:
            raise DataError(
                f"The test channel's records have {head.feature_dim} features, but those of the train channel "
                f"have {model.feature_dim}. Expected the same columns in both."
            )
        records.release()  # read once
        sums = records.total(work, exact=False)
    except Stopped:
        return None
    except RecordsError as error:
        raise DataError(f"The test channel: {error}") from error
    measured = work.finish(sums)
    if not np.isfinite(measured.total):
        raise DataError("The test channel has values that are not finite numbers; fill missing values first.")
    return measured


def _log_quality(log: JobLog, channel: str, measured: Explained) -> None:
    """Write what a tuning job may aim at; SageMaker's own PCA prints no metric at all."""
    log.quality(channel, "explained_variance_ratio", float(measured.cumulative[-1]), kind="score")
    log.quality(channel, "reconstruction_error", measured.reconstruction_error, kind="loss")
