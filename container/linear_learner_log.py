"""Linear Learner's log lines: the service's own, in its order, and a few for the person who reads along."""

from __future__ import annotations

import json
import math
from typing import Final

import numpy as np

from eigenline.algorithms.linear_learner.metrics import Scores
from eigenline.algorithms.linear_learner.reports import EpochReport, Notice, PassReport, Prepared, Trained
from eigenline.algorithms.linear_learner.settings import Settings
from eigenline.container.job_log import JobLog

_SECONDS_BETWEEN_LINES = 5.0
_SECONDS_OF_PROGRESS = 1.0
# From which percent of all passes to which a stage is, if it needs as many as it may; most converge before.
_STAGES: Final = {"start": (0.0, 5.0), "path": (5.0, 70.0), "robust": (70.0, 80.0), "refit": (80.0, 99.0),
                  "alone": (50.0, 99.0)}  # fmt: skip


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
        self._last_progress = -math.inf
        self._resets = 0
        self._most = (0, 0)  # records and mini-batches of the longest pass so far
        self._last_epoch: EpochReport | None = None

    def notice(self, notice: Notice) -> None:
        """Write a sentence."""
        (self.log.warning if notice.warning else self.log.info)(notice.text)

    def prepared(self, report: Prepared) -> None:
        """Write what the first pass found: the scaler, as the service prints it, and the reading counters."""
        self._objective = report.objective_name
        self._rows = report.summary.rows
        if self.settings.as_aws:
            self._scaler(report)
            # one mini-batch is looked at for the shape of the data, then the scaler's are read
            size = self.settings.mini_batch_size
            self._count_pass(min(size, self._rows))
            self._count_pass(min((self.settings.num_point_for_scaler // size + 1) * size, self._rows))
        else:
            self._count_pass(self._rows)
        self.log.metrics(self._counters(0), dimensions={"Meta": "init_train_data_iter"})
        self.initialised = self.epoch_began = self.log.clock()

    def _scaler(self, report: Prepared) -> None:
        scaler, label = report.scaler, np.array([report.scaler.label_scale])
        moments = report.summary.moments
        shifted = bool(scaler.shift.any())
        is_regression = self.settings.is_regression
        parameters = [
            ("stdev_label", label if is_regression else None),
            ("stdev_weight", moments.deviation if shifted else np.hypot(moments.deviation, moments.mean)),
            ("mean_label", np.array([scaler.label_shift]) if is_regression else None),
            ("mean_weight", scaler.shift if shifted else None),
        ]
        self.log.info("Scaling model computed with parameters:")
        texts = [f"'{name}': " + _array_text(values) for name, values in parameters]
        self.log.plain(" {" + ", ".join(texts) + "}")

    def epoch(self, report: EpochReport) -> None:
        """Write all lines of an epoch."""
        log, epoch = self.log, report.epoch
        self._last_epoch = report
        self._losses(report, "train", report.train_loss)
        if report.validation_loss is not None:
            self._losses(report, "validation", report.validation_loss)
        self._criterion(report)
        if report.improved:
            log.info(f"Epoch {epoch}: Loss improved. Updating best model")
        elif report.waited == 0:
            log.info(f"Epoch {epoch}: Loss has not improved for 0 epochs.")
        log.info(f"Saving model for epoch: {epoch}")
        if report.waited > self.settings.early_stopping_patience:
            log.info("Early stop condition met. Stopping training.")
            self._percent = self._share_of_epochs
            log.progress(int(self._percent), "epochs")
        else:
            self._percent = self._share_of_epochs * (epoch + 1) / report.limit
            log.progress(self._percent)
        now = log.clock()
        seconds = now - self.epoch_began
        self._count_pass(self._rows)
        log.metrics(
            self._counters(self._rows),
            start_time=self.epoch_began,
            dimensions={"epoch": epoch, "Meta": "training_data_iter"},
        )
        log.throughput(report.records / max(seconds, 1e-9))
        self.epoch_seconds.append(seconds)
        if not self.settings.as_aws:
            self._eta(report, seconds)
        self.epoch_began = log.clock()

    @property
    def _share_of_epochs(self) -> float:
        """Percent of the job that its epochs are: the service's all; here the winner is then trained alone."""
        return 100.0 if self.settings.as_aws else 50.0

    def _criterion(self, report: EpochReport) -> None:
        self.log.info(
            f"#early_stopping_criteria_metric: host={self.log.host}, epoch={report.epoch}, "
            f"criteria={report.criteria}, value={report.value!r}"
        )

    def _losses(self, report: EpochReport, channel: str, losses: np.ndarray) -> None:
        name = f"{channel}_{self._objective}"
        for model in map(int, np.flatnonzero(np.isfinite(losses)) if self.settings.as_aws else ()):
            dimensions = {"epoch": report.epoch, "model": model}
            self.log.metrics({name: float(losses[model])}, dimensions=dimensions)
        # the service prints model 0; once that is dropped, the best one that is still trained
        shown = 0 if np.isfinite(losses[0]) or np.isnan(losses).all() else int(np.nanargmin(losses))
        self.log.quality(channel, self._objective, float(losses[shown]), kind="loss", epoch=report.epoch)

    def _eta(self, report: EpochReport, seconds: float) -> None:
        left = 2 * report.limit - report.epoch - 1  # as many again at most, for the winner alone
        alive = int(np.count_nonzero(np.isfinite(report.train_loss)))
        done = round(20 * (report.epoch + 1) / report.limit)
        self.log.info(
            f"[{'#' * done}{'.' * (20 - done)}] epoch {report.epoch + 1} of at most {report.limit}, "
            f"{alive} models, {seconds:.2f} s; at most {left * np.mean(self.epoch_seconds):.0f} s to go"
        )

    def full_pass(self, report: PassReport) -> None:
        """Write now and then how far the passes over all records are, of as many as there can be."""
        first, last = _STAGES.get(report.stage, (0.0, 100.0))
        percent = first + (last - first) * min(1.0, report.passes / max(1, report.limit))
        percent = min(max(self._percent, percent), 99.0)  # 100 is for a job that is done
        now = self.log.clock()
        if (
            not self.settings.as_aws
            and percent > self._percent
            and now - self._last_progress > _SECONDS_OF_PROGRESS
        ):
            self._last_progress, self._percent = now, percent
            self.log.progress(round(percent, 1), "of passes")
        if now - self._last_line > _SECONDS_BETWEEN_LINES:
            self._last_line = now
            left = (now - self.began) * (100 - percent) / max(percent, 1.0)
            self.log.info(
                f"Pass {report.passes} of at most {report.limit} ({report.stage}), loss {report.loss:.6g}; "
                f"at most {left:.0f} s to go, less where the loss converges before"
            )

    def _count_pass(self, records: int) -> None:
        batches = -(-records // self.settings.mini_batch_size)
        self._records_seen += records
        self._batches_seen += batches
        self._resets += 1
        self._most = max(self._most, (records, batches))

    def _counters(self, since_reset: int) -> dict[str, tuple[float, float]]:
        counts = {
            "Total Records Seen": self._records_seen,
            "Total Batches Seen": self._batches_seen,
            "Max Records Seen Between Resets": self._most[0],
            "Max Batches Seen Between Resets": self._most[1],
            "Reset Count": self._resets,
            "Number of Records Since Last Reset": since_reset,
            "Number of Batches Since Last Reset": -(-since_reset // self.settings.mini_batch_size),
        }
        return {name: (float(count), count) for name, count in counts.items()}

    def channel_scores(self, channel: str, scores: Scores) -> None:
        """Write the final metrics of a channel, twice as the service does.

        With a validation channel, the service has looked at its stopping criterion once more before. Its macro
        averages are float32, which `#quality_metric` widens.
        """
        as_aws, last = self.settings.as_aws, self._last_epoch
        if as_aws and channel == "validation" and last is not None:
            self._criterion(last)
            if last.improved and last.criteria.startswith("sampled_"):  # a score that is equal improves there
                self.log.info(f"Epoch {last.epoch}: Loss improved. Updating best model")
        for metric in scores.metrics:
            value = repr(metric.value)
            if as_aws and metric.name.startswith("macro_"):
                value = str(np.float32(metric.value))
            self.log.info(f"#{channel}_score ({self.log.host}) : ({metric.name!r}, {value})")
        for metric in scores.metrics:
            widened = as_aws and metric.name.startswith("macro_")
            number = float(np.float32(metric.value)) if widened else metric.value
            self.log.quality(channel, metric.name, number, kind=metric.kind)

    def best_model(self, trained: Trained) -> None:
        """Write the chosen hyperparameters as the service: L1 before L2 for several classes, 1 and 100 whole."""
        regularisation = ("l1", "wd") if self.settings.num_outputs > 1 else ("wd", "l1")
        schedule = ("lr_scheduler_step", "lr_scheduler_factor", "lr_scheduler_minimum_lr")
        chosen = trained.winner.hyperparameters
        document: dict[str, object] = {"optimizer": trained.optimizer}
        document |= {name: chosen[name] for name in ("learning_rate", *regularisation, *schedule)}
        if document["wd"] in (1, 100) and not self.settings.is_set("wd"):
            document["wd"] = int(chosen["wd"])
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
                "update.time": [1e3 * seconds for seconds in self.epoch_seconds],
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
