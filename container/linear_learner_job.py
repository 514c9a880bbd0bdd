"""Linear Learner as a training job: settings and channels in, SageMaker's log lines, model and reports out."""

from __future__ import annotations

from collections.abc import Callable

from eigenline.algorithms.errors import DataError, Stopped
from eigenline.algorithms.linear_learner.metrics import Scores, score_channel, with_weight
from eigenline.algorithms.linear_learner.reports import Notice, PassReport, Prepared, State, Trained
from eigenline.algorithms.linear_learner.settings import Settings, read_settings
from eigenline.algorithms.linear_learner.training import train, trains_by_passes
from eigenline.algorithms.linear_learner.training_data import checked
from eigenline.algorithms.records import Records
from eigenline.container.job import JobContext, MeasuredRows, Outcome
from eigenline.container.linear_learner_log import TrainingLines
from eigenline.container.linear_learner_reports import confusions, reports, summary
from eigenline.container.report_page import MOST_ROWS, KeptPredictions

__all__ = ["one_host_because", "read_settings", "run"]  # what a job is made of, see `container.job.Job`

_SECONDS_BETWEEN_CHECKPOINTS = 20.0


def one_host_because(settings: Settings) -> str:
    """Return why only one host can train: mini-batches are a sequence of updates."""
    if trains_by_passes(settings):
        return ""
    what = "compatibility=aws" if settings.as_aws else "an optimizer that is named, or one epoch,"
    return f"{what} trains in stored order on one host"


def run(settings: Settings, context: JobContext) -> Outcome:
    """Train on ``train``, choose on ``validation`` where there is one, score the channels, and report.

    Raises
    ------
    DataError
        If the data do not fit the settings or are not finite.
    UserError
        If every model diverged.
    Stopped
        If the job was asked to stop before there was a model.
    """
    log = context.log
    lines = TrainingLines(settings, log)
    trained = _train(settings, context, lines)
    began_scoring = log.clock()
    scores: dict[str, Scores] = {}
    scored = "validation" if "validation" in context.channels else "train"
    found, measured = _score(settings, context, trained, scored)
    if found is not None:
        scores[scored] = found
        lines.channel_scores(scored, found)
    lines.best_model(trained)
    if "test" not in context.channels:
        log.info("Test data is not provided.")
    else:
        found, of_test = _score(settings, context, trained, "test")
        if found is not None:
            scores["test"], measured = found, of_test
            lines.channel_scores("test", found)
    sentences = summary(trained, settings)
    for sentence in [*sentences, *confusions(scores)]:
        log.info(sentence)
    now = log.clock()
    seconds = {"training": began_scoring - lines.began, "scoring": now - began_scoring}
    outcome = Outcome(trained.model, reports(settings, trained, scores, sentences, seconds), measured)
    lines.finished(now - began_scoring)
    return outcome


def _train(settings: Settings, context: JobContext, lines: TrainingLines) -> Trained:
    resume = context.checkpoints.load()
    kept = _KeptStates(context)
    try:
        for report in train(settings, context.channels, context.stopping, resume):
            kept.save_before_stop()
            if isinstance(report, Trained):
                return report
            if isinstance(report, Notice):
                lines.notice(report)
            elif isinstance(report, Prepared):
                lines.prepared(report)
            elif isinstance(report, PassReport):
                lines.full_pass(report)
                kept.record(report.state)
            else:
                lines.epoch(report)
                kept.save(report.state)
    except DataError:
        if context.stopping() and lines.initialised == lines.began:
            raise Stopped from None  # the pipe was closed before its first record
        raise
    raise Stopped


class _KeptStates:
    """Which states of training become checkpoints: every epoch's, and between full passes one now and then.

    A full pass may take milliseconds and its state be large, so one is saved when 20 seconds have gone
    by, and when the job is asked to stop.
    """

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self._saved_at = context.log.clock()
        self._unsaved: Callable[[], State] | None = None

    def save(self, state: State) -> None:
        """Save a state; an epoch that left no model has an empty one."""
        self._unsaved = None
        if state:
            self._context.checkpoints.save(dict(state))
            self._saved_at = self._context.log.clock()

    def record(self, state: Callable[[], State]) -> None:
        """Save a state between two full passes if it is time."""
        self._unsaved = state
        if self._context.log.clock() - self._saved_at >= _SECONDS_BETWEEN_CHECKPOINTS:
            self.save(state())

    def save_before_stop(self) -> None:
        """Save the last state that was recorded, if the job was asked to stop since."""
        if self._unsaved is not None and self._context.stopping():
            self.save(self._unsaved())


def _score(
    settings: Settings, context: JobContext, trained: Trained, channel: str
) -> tuple[Scores | None, MeasuredRows | None]:
    """Return a channel's scores, and predictions of its first rows where they did not train.

    None stands for both where the job was asked to stop before all of the channel was read.
    """
    if context.stopping():
        return None, None
    model = trained.model
    if settings.is_binary:
        model = with_weight(model, trained.winner.hyperparameters["positive_example_weight"])
    records = checked(context.channels[channel], settings, channel, model.feature_dim)
    if channel == "train" or isinstance(records, Records):
        found, kept = score_channel(model, settings, records), None
        if channel != "train" and isinstance(records, Records) and not context.stopping():
            kept = KeptPredictions([records.sample(MOST_ROWS)], trained.model)
            for _ in kept:
                pass
    else:
        kept = KeptPredictions(records, trained.model)
        found = score_channel(model, settings, kept)
    if context.stopping():
        return None, None
    return found, None if kept is None else kept.rows(channel)
