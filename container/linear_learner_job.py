"""Linear Learner as a training job: settings and channels in, SageMaker's log lines, model and reports out."""

from __future__ import annotations

from collections.abc import Mapping

from algorithms.errors import DataError
from algorithms.linear_learner.metrics import Scores, score_channel, with_weight
from algorithms.linear_learner.problem import CheckedBatches
from algorithms.linear_learner.reports import EpochReport, Notice, PolishReport, Prepared, Trained
from algorithms.linear_learner.settings import Settings
from algorithms.linear_learner.settings import read_settings as read_linear_settings
from algorithms.linear_learner.training import train
from container.job import JobContext, Outcome
from container.linear_learner_lines import TrainingLines
from container.linear_learner_reports import reports
from container.linear_learner_story import confusions, summary
from container.stopping import StoppedBeforeModel


def read_settings(hyperparameters: Mapping[str, object]) -> Settings:
    """Check all hyperparameters before any data is touched.

    Raises
    ------
    HyperparameterError
        Naming every problem at once.
    """
    return read_linear_settings(hyperparameters)


def run(settings: Settings, context: JobContext) -> Outcome:
    """Train on ``train``, choose on ``validation`` where there is one, score the channels, and report.

    Raises
    ------
    DataError
        If the data do not fit the settings or are not finite.
    UserError
        If every model diverged.
    StoppedBeforeModel
        If the job was stopped before a record was read.
    """
    log = context.log
    lines = TrainingLines(settings, log)
    trained = _train(settings, context, lines)
    began_scoring = log.clock()
    scores: dict[str, Scores] = {}
    scored = "validation" if "validation" in context.channels else "train"
    if not context.stopping():
        scores[scored] = _score(settings, context, trained, scored)
        lines.channel_scores(scored, scores[scored])
    lines.best_model(trained)
    if "test" not in context.channels:
        log.info("Test data is not provided.")
    elif not context.stopping():
        scores["test"] = _score(settings, context, trained, "test")
        lines.channel_scores("test", scores["test"])
    sentences = summary(trained, settings)
    for sentence in [*sentences, *confusions(scores)]:
        log.info(sentence)
    now = log.clock()
    seconds = {"training": began_scoring - lines.began, "scoring": now - began_scoring}
    outcome = Outcome(trained.model, reports(settings, trained, scores, sentences, seconds))
    lines.finished(now - began_scoring)
    return outcome


def _train(settings: Settings, context: JobContext, lines: TrainingLines) -> Trained:
    resume = context.checkpoints.load()
    try:
        for report in train(settings, context.channels, context.stopping, resume):
            if isinstance(report, Trained):
                return report
            if isinstance(report, Notice):
                lines.notice(report)
            elif isinstance(report, Prepared):
                lines.prepared(report)
            elif isinstance(report, PolishReport):
                lines.polish(report)
            else:
                _epoch(report, context, lines)
    except DataError:
        if context.stopping() and lines.initialised == lines.began:
            raise StoppedBeforeModel from None  # the pipe was closed before its first record
        raise
    raise StoppedBeforeModel


def _epoch(report: EpochReport, context: JobContext, lines: TrainingLines) -> None:
    lines.epoch(report)
    if report.state:
        context.checkpoints.save(dict(report.state))


def _score(settings: Settings, context: JobContext, trained: Trained, channel: str) -> Scores:
    model = trained.model
    if settings.is_binary:
        model = with_weight(model, trained.winner.hyperparameters["positive_example_weight"])
    batches = CheckedBatches(context.channels[channel], settings, channel, model.feature_dim)
    return score_channel(model, settings, batches)
