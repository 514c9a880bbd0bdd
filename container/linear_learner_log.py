"""Linear Learner's log lines: the service's own, in its order, and a few for the person who reads along."""

from __future__ import annotations

import json

import numpy as np

from eigenline.algorithms.linear_learner.metrics import Scores
from eigenline.algorithms.linear_learner.reports import EpochReport, Notice, PassReport, Prepared, Trained
from eigenline.algorithms.linear_learner.settings import Settings
from eigenline.container.job_log import JobLog

_SECONDS_BETWEEN_LINES = 5.0


class TrainingLines:
    """Writes what training reports.

    Parameters
    ----------
    settings, log
        The request and the job's log.

    Notes
    -----
    Source: public logs of real jobs (spec of the log lines; one 2024 job is kept as a test).
    """

    def __init__(self, settings: Settings, log: JobLog) -> None:
        self.settings = settings
        self.log = log
        self.began = log.clock()
        self.initialised = self.began
        self.epoch_began = self.began
        self.epoch_seconds: list[float] = []
        self._rows = 0
        self._records_seen = 0
        self._batches_seen = 0
        self._last_line = self.began
        self._objective = ""
        self._percent = 0.0

    def notice(self, notice: Notice) -> None:
        """Write a sentence."""
        (self.log.warning if notice.warning else self.log.info)(notice.text)

    def prepared(self, report: Prepared) -> None:
        """Write what the first pass found: the scaler, as the service prints it, and the reading counters."""
        self._objective = report.objective_name
        self._rows = report.survey.rows
        regression = self.settings.is_regression
        moments, labels = report.survey.moments, report.survey.label_moments
        parameters = [
            ("stdev_label", labels.deviation if regression else None),
            ("stdev_weight", moments.deviation),
            ("mean_label", labels.mean if regression else None),
            ("mean_weight", moments.mean),
        ]
        self.log.info("Scaling model computed with parameters:")
        texts = [f"'{name}': " + _array_text(values) for name, values in parameters]
        self.log.plain(" {" + ", ".join(texts) + "}")
        self._count_pass()
        self.log.metrics(self._counters(1), dimensions={"Meta": "init_train_data_iter"})
        self.initialised = self.epoch_began = self.log.clock()

    def epoch(self, report: EpochReport) -> None:
        """Write all lines of an epoch."""
        log, epoch = self.log, report.epoch
        self._losses(report, "train", report.train_loss)
        if report.validation_loss is not None:
            self._losses(report, "validation", report.validation_loss)
        log.info(
            f"#early_stopping_criteria_metric: host={log.host}, epoch={epoch}, "
            f"criteria={report.criteria}, value={report.value!r}"
        )
        if report.improved:
            log.info(f"Epoch {epoch}: Loss improved. Updating best model")
        elif epoch + 1 == report.limit:
            log.info(f"Epoch {epoch}: Loss has not improved for {report.waited} epochs.")
        log.info(f"Saving model for epoch: {epoch}")
        if report.waited > self.settings.early_stopping_patience:
            log.info("Early stop condition met. Stopping training.")
            self._percent = 100.0
            log.progress(100, "epochs")
        else:
            self._percent = 100 * (epoch + 1) / report.limit
            log.progress(self._percent)
        now = log.clock()
        seconds = now - self.epoch_began
        self._count_pass()
        log.metrics(
            self._counters(epoch + 2),
            start_time=self.epoch_began,
            dimensions={"epoch": epoch, "Meta": "training_data_iter"},
        )
        log.throughput(report.records / max(seconds, 1e-9))
        self.epoch_seconds.append(seconds)
        self._eta(report, seconds)
        self.epoch_began = log.clock()

    def _losses(self, report: EpochReport, channel: str, losses: np.ndarray) -> None:
        name = f"{channel}_{self._objective}"
        for model in map(int, np.flatnonzero(np.isfinite(losses))):
            dimensions = {"epoch": report.epoch, "model": model}
            self.log.metrics({name: float(losses[model])}, dimensions=dimensions)
        # the service prints model 0; once that is dropped, the best one that is still trained
        shown = 0 if np.isfinite(losses[0]) or np.isnan(losses).all() else int(np.nanargmin(losses))
        self.log.quality(channel, self._objective, float(losses[shown]), kind="loss", epoch=report.epoch)

    def _eta(self, report: EpochReport, seconds: float) -> None:
        left = report.limit - report.epoch - 1
        alive = int(np.count_nonzero(np.isfinite(report.train_loss)))
        done = round(20 * (report.epoch + 1) / report.limit)
        self.log.info(
            f"[{'#' * done}{'.' * (20 - done)}] epoch {report.epoch + 1} of at most {report.limit}, "
            f"{alive} models, {seconds:.2f} s; at most {left * np.mean(self.epoch_seconds):.0f} s to go"
        )

    def full_pass(self, report: PassReport) -> None:
        """Write now and then how far the second-order finish is."""
        now = self.log.clock()
        if now - self._last_line > _SECONDS_BETWEEN_LINES:
            self._last_line = now
            self.log.info(
                f"Second-order finish ({report.stage}): pass {report.passes} of at most {report.limit}, "
                f"loss {report.loss:.6g}"
            )

    def _count_pass(self) -> None:
        self._records_seen += self._rows
        self._batches_seen += -(-self._rows // self.settings.mini_batch_size)

    def _counters(self, resets: int) -> dict[str, tuple[float, float]]:
        batches = -(-self._rows // self.settings.mini_batch_size)
        counts = {
            "Total Records Seen": self._records_seen,
            "Total Batches Seen": self._batches_seen,
            "Max Records Seen Between Resets": self._rows,
            "Max Batches Seen Between Resets": batches,
            "Reset Count": resets,
            "Number of Records Since Last Reset": self._rows if resets > 1 else 0,
            "Number of Batches Since Last Reset": batches if resets > 1 else 0,
        }
        return {name: (float(count), count) for name, count in counts.items()}

    def channel_scores(self, channel: str, scores: Scores) -> None:
        """Write the final metrics of a channel, twice as the service does."""
        for metric in scores.metrics:
            self.log.info(f"#{channel}_score ({self.log.host}) : ({metric.name!r}, {metric.value!r})")
        for metric in scores.metrics:
            self.log.quality(channel, metric.name, metric.value, kind=metric.kind)

    def best_model(self, trained: Trained) -> None:
        """Write the chosen hyperparameters as the service does."""
        names = (
            "learning_rate",
            "wd",
            "l1",
            "lr_scheduler_step",
            "lr_scheduler_factor",
            "lr_scheduler_minimum_lr",
        )
        chosen = trained.winner.hyperparameters
        document = {"optimizer": trained.optimizer, **{name: chosen[name] for name in names}}
        self.log.info(f"Best model found for hyperparameters: {json.dumps(document)}")

    def finished(self, finalize_seconds: float) -> None:
        """Write that all is done, where no epoch has said so, and the timings of the job."""
        log = self.log
        if self._percent < 100:
            log.progress(100.0)
        total = log.clock() - self.began
        log.metrics(
            {
                "initialize.time": 1e3 * (self.initialised - self.began),
                "epochs": (float(self.settings.epochs), self.settings.epochs),
                "update.time": 1e3 * sum(self.epoch_seconds),
                "finalize.time": 1e3 * finalize_seconds,
                "setuptime": 1e3 * (self.initialised - self.began),
                "totaltime": 1e3 * total,
            },
            start_time=self.began,
        )


def _array_text(values: np.ndarray | None) -> str:
    """Spell an array as MXNet prints it."""
    if values is None:
        return "None"
    with np.printoptions(precision=8, threshold=1000, linewidth=75):
        return f"\n{np.asarray(values, np.float32)}\n<NDArray {len(values)} @cpu(0)>"
