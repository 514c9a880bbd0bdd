"""What a training job of either algorithm is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Batches
from eigenline.algorithms.linear_learner.model import LinearLearnerModel
from eigenline.algorithms.pca.model import PCAModel
from eigenline.algorithms.records import Records
from eigenline.container.columns import Columns
from eigenline.container.job_log import JobLog
from eigenline.report.subject import Labelled

Model: TypeAlias = PCAModel | LinearLearnerModel
Arrays: TypeAlias = Mapping[str, NDArray[np.generic]]


class Checkpoints(Protocol):
    """Where a job leaves its state after each epoch, and finds it again after it was killed."""

    def load(self) -> Arrays | None:
        """Return the newest complete state, or None where there is none."""

    def save(self, state: Arrays) -> None:
        """Keep a state; a kill at any moment leaves either the old or the new one."""


@dataclass(frozen=True)
class JobContext:
    """Everything a job may touch outside the maths."""

    channels: Mapping[str, Batches | Records]
    log: JobLog
    checkpoints: Checkpoints
    stopping: Callable[[], bool]  # True once SIGTERM arrived: finish with the best model so far
    columns: Columns = field(default_factory=Columns)  # what is known of the columns' names by now


@dataclass(frozen=True, eq=False)
class MeasuredRows:
    """Some rows of a channel that did not train, with the model's predictions."""

    channel: str
    labelled: Labelled


@dataclass(frozen=True)
class Outcome:
    """A trained model and the readable files that go beside its artifact."""

    model: Model
    reports: Mapping[str, bytes] = field(default_factory=dict)  # file name -> content
    measured: MeasuredRows | None = None  # for the pictures of report.html


class Job(Protocol):
    """One algorithm's part in `train`: a module of the container that has these two functions."""

    def read_settings(self, hyperparameters: Mapping[str, object]) -> Any:
        """Check all hyperparameters before any data is touched; raises `HyperparameterError`."""

    def one_host_because(self, settings: Any) -> str:
        """Return why only one host can train with these settings; an empty text where several can."""

    def run(self, settings: Any, context: JobContext) -> Outcome:
        """Train, printing the algorithm's own log lines on the way."""
