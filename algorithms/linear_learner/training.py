"""The front door of training: summary, plan, train in the way asked for, convert and calibrate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext

from eigenline.algorithms.blas_threads import blas_out_of_the_way
from eigenline.algorithms.linear_learner.finish import Finished, finish
from eigenline.algorithms.linear_learner.hyperparameter_effects import without_effect
from eigenline.algorithms.linear_learner.minibatch_trainer import train_in_minibatches, trains_in_minibatches
from eigenline.algorithms.linear_learner.path_trainer import train_path
from eigenline.algorithms.linear_learner.reports import Notice, Prepared, Report, State, Trained
from eigenline.algorithms.linear_learner.settings import Settings
from eigenline.algorithms.linear_learner.training_data import Channels, data_notices, memory_notice, prepare


def train(
    settings: Settings,
    channels: Channels,
    stopping: Callable[[], bool] = lambda: False,
    resume: State | None = None,
) -> Iterator[Report | Trained]:
    """Train, yielding reports on the way; the last thing yielded is the `Trained` result.

    Parameters
    ----------
    settings, channels
        The request; ``train`` and perhaps ``validation``, in batches; or, where `trains_by_passes`, as records
        anywhere.
    stopping
        Asked after every mini-batch chunk and pass; once true, the best model so far is finished.
    resume
        The state of the last `EpochReport` of an interrupted job with the same settings and data.

    Raises
    ------
    DataError
        When records cannot be trained on.
    UserError
        When every model diverged.
    Stopped
        When the job was asked to stop before there was any model.
    """
    training_data = prepare(settings, channels, stopping)
    yield Prepared(
        training_data.summary, training_data.scaler, training_data.candidates, training_data.loss.objective_name
    )
    in_minibatches = not trains_by_passes(settings)
    yield from data_notices(training_data, in_minibatches=in_minibatches)
    for sentence in without_effect(settings):
        yield Notice(sentence)
    if in_minibatches:
        yield memory_notice(training_data, len(training_data.candidates), len(training_data.candidates))
        steps = train_in_minibatches(training_data, resume)
    else:
        steps = train_path(training_data, resume)
    with blas_out_of_the_way() if training_data.threads > 1 else nullcontext():
        for step in steps:
            if isinstance(step, Finished):
                yield from finish(training_data, step)
            else:
                yield step


def trains_by_passes(settings: Settings) -> bool:
    """Return whether training is sums over records, which may be anywhere, rather than a sequence of updates."""
    return not (trains_in_minibatches(settings) or settings.epochs == 1)
