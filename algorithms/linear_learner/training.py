"""The front door of training: survey, plan, train in the way asked for, convert and calibrate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext

from eigenline.algorithms.batch import Channels
from eigenline.algorithms.blas_threads import blas_out_of_the_way
from eigenline.algorithms.linear_learner.finish import Finished, finish
from eigenline.algorithms.linear_learner.hyperparameter_effects import without_effect
from eigenline.algorithms.linear_learner.minibatch_trainer import train_in_minibatches, trains_in_minibatches
from eigenline.algorithms.linear_learner.path_trainer import train_path
from eigenline.algorithms.linear_learner.problem import data_notices, memory_notice, prepare
from eigenline.algorithms.linear_learner.reports import Notice, Prepared, Report, State, Trained
from eigenline.algorithms.linear_learner.settings import Settings


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
        The request; ``train`` and perhaps ``validation``.
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
    problem = prepare(settings, channels, stopping)
    yield Prepared(problem.survey, problem.scaler, problem.candidates, problem.loss.objective_name)
    in_minibatches = trains_in_minibatches(settings) or settings.epochs == 1
    yield from data_notices(problem, in_minibatches=in_minibatches)
    for sentence in without_effect(settings):
        yield Notice(sentence)
    if in_minibatches:
        yield memory_notice(problem, len(problem.candidates), len(problem.candidates))
        steps = train_in_minibatches(problem, resume)
    else:
        steps = train_path(problem, resume)
    with blas_out_of_the_way() if problem.threads > 1 else nullcontext():
        for step in steps:
            if isinstance(step, Finished):
                yield from finish(problem, step)
            else:
                yield step
