"""How these tests run a training: arrays in, result out."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np

from eigenline.algorithms.batch import Batch, HeldBatches
from eigenline.algorithms.linear_learner.reports import EpochReport, Notice, Trained
from eigenline.algorithms.linear_learner.settings import read_settings
from eigenline.algorithms.linear_learner.training import train


def held(features: Any, labels: Any, weights: Any = None, pieces: int = 1) -> HeldBatches:
    """Return a channel in memory, cut into some batches."""
    edges = np.linspace(0, features.shape[0], pieces + 1).astype(int)
    batches = [
        Batch(features[a:b], labels[a:b], None if weights is None else weights[a:b]) for a, b in pairwise(edges)
    ]
    channel = HeldBatches(batches)
    list(channel)
    return channel


def run(features: Any, labels: Any, weights: Any = None, **hyperparameters: Any) -> Trained:
    """Train on arrays."""
    settings = read_settings(hyperparameters)
    return list(train(settings, {"train": held(features, labels, weights)}))[-1]


def notices(reports: Iterable[Any]) -> str:
    """Return what a person was told."""
    return "\n".join(report.text for report in reports if isinstance(report, Notice))


def epochs(reports: Iterable[Any]) -> list[EpochReport]:
    """Return the epochs of a training."""
    return [report for report in reports if isinstance(report, EpochReport)]
