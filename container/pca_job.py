"""PCA as a training job: settings and channels in, SageMaker's log lines on the way, model and reports out."""

from __future__ import annotations

import time

import numpy as np

from eigenline.algorithms.batch import Batches, HeldBatches
from eigenline.algorithms.errors import DataError, Stopped
from eigenline.algorithms.pca import explained
from eigenline.algorithms.pca.explained import Explained
from eigenline.algorithms.pca.model import PCAModel
from eigenline.algorithms.pca.plan import Progress
from eigenline.algorithms.pca.settings import PCASettings, read_settings
from eigenline.algorithms.pca.training import TrainedPCA, train
from eigenline.container.job import JobContext, Outcome
from eigenline.container.job_log import JobLog
from eigenline.container.pca_reports import reports, summary
from eigenline.formats.machine_limits import cpu_quota

__all__ = ["read_settings", "run"]

_SECONDS_BETWEEN_LINES = 10.0


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
    steps = train(
        settings,
        context.channels["train"],
        np.random.default_rng(settings.seed),
        stopping=context.stopping,
        threads=max(1, int(cpu_quota())),
        resume=context.checkpoints.load(),
    )
    lines = _TrainingLines(settings, log, executor, began)
    while True:
        try:
            progress = next(steps)
        except StopIteration as finished:
            trained: TrainedPCA = finished.value
            break
        except DataError:
            if context.stopping() and lines.first_batch is None:
                raise Stopped from None  # the pipe was closed before its first record
            raise
        if progress.state is not None:
            context.checkpoints.save(progress.state)
        if progress.state is None or progress.finding:
            lines.take(progress)
    return trained, lines.finish(trained)


class _TrainingLines:
    """The lines of one training, in SageMaker's order: what a batch tells goes in, lines come out."""

    def __init__(self, settings: PCASettings, log: JobLog, executor: str, began: float) -> None:
        self.first_batch: float | None = None
        self._settings = settings
        self._log = log
        self._executor = executor
        self._began = began
        self._last_line = time.monotonic()
        self._last_read = began
        self._epoch = Progress(1, 0, 0, 0)  # the pass that is being read, and since when
        self._epoch_began = began

    def take(self, progress: Progress) -> None:
        """Write what is due after a batch."""
        if self.first_batch is None:
            self.first_batch = self._log.clock()
            self._write_beginning(progress)
        if progress.finding:
            self._log.info(f"Pass {progress.pass_number}: {progress.finding}.")
        else:
            if progress.pass_number != self._epoch.pass_number:
                self._write_epoch()
            self._epoch = progress
            self._last_read = self._log.clock()
        if not progress.finding and time.monotonic() - self._last_line > _SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self._log.info(f"Pass {progress.pass_number}: {progress.records:,} records read.")

    def _write_beginning(self, progress: Progress) -> None:
        log, settings, d = self._log, self._settings, progress.feature_dim
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
        assert self.first_batch is not None
        log.metrics({"initialize.time": (self.first_batch - self._began) * 1e3}, start_time=self._began)
        log.metrics(_counts(0, 0, 0), dimensions={"Meta": "init_train_data_iter"})
        # The service looks at one mini-batch first, as its epoch 0. Here that is the beginning of the first pass.
        share = min(1.0, settings.mini_batch_size / max(1, progress.records))
        log.epoch_stats("train", 0, self.first_batch - self._began, 1, round(share * progress.num_bytes))
        self._epoch_began = self.first_batch

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
        first = self._began if self.first_batch is None else self.first_batch
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


def _measure(model: PCAModel, channel: Batches, context: JobContext) -> Explained | None:
    """Return what the components explain of a channel; None where the job was asked to stop before its end."""
    state: Explained | None = None
    if isinstance(channel, HeldBatches):
        channel.let_go()  # read once
    for batch in channel:
        if batch.feature_dim != model.feature_dim:
            raise DataError(
                f"The test channel's records have {batch.feature_dim} features, but those of the train channel "
                f"have {model.feature_dim}. Expected the same columns in both."
            )
        state = explained.measure(state, model, batch.features)
    if context.stopping():
        return None
    if state is not None and not np.isfinite(state.total):
        raise DataError("The test channel has values that are not finite numbers; fill missing values first.")
    return state


def _log_quality(log: JobLog, channel: str, measured: Explained) -> None:
    """Write what a tuning job may aim at; SageMaker's own PCA prints no metric at all."""
    log.quality(channel, "explained_variance_ratio", float(measured.cumulative[-1]), kind="score")
    log.quality(channel, "reconstruction_error", measured.reconstruction_error, kind="loss")
