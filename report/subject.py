"""What a report is about: a model, its readable files, and what its columns and classes are called."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.linear_learner.model import LinearLearnerModel
from eigenline.algorithms.pca.model import PCAModel


@dataclass(frozen=True, eq=False)
class Labelled:
    """Labels and what the model says of the same rows.

    Attributes
    ----------
    labels
        Shape (n,): numbers, or the numbers of classes.
    scores
        Shape (n, number of scores).
    """

    labels: NDArray[np.float64]
    scores: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Subject:
    """A model and what is known of it.

    Attributes
    ----------
    pca, linear
        The model; with both, the second takes the first one's projections.
    files
        The readable files beside the artifact, by name.
    feature_names
        In the order of the model.
    target
        The label's name; None where it is not known.
    classes
        Names of the classes; their numbers where no names are known, nothing for a regressor.
    sentences
        What happened to the columns before they were features.
    """

    pca: PCAModel | None
    linear: LinearLearnerModel | None
    files: Mapping[str, bytes]
    feature_names: Sequence[str]
    target: str | None = None
    classes: Sequence[str] = ()
    sentences: Sequence[str] = field(default_factory=tuple)

    @cached_property
    def report(self) -> Mapping[str, Any]:
        """``report.json`` of the training; empty where there is none, as in AWS's artifacts."""
        return read_object(self.files.get("report.json"))

    @property
    def feature_dim(self) -> int:
        """Number of features of a record."""
        first = self.pca or self.linear
        assert first is not None
        return first.feature_dim

    def table(self, name: str) -> list[list[str]]:
        """Return a CSV file's rows, the header first; nothing where there is no such file, or it is no table."""
        content = self.files.get(name)
        if content is None:
            return []
        try:
            rows = [row for row in csv.reader(io.StringIO(content.decode("utf-8", "replace"))) if row]
        except csv.Error:
            return []
        return rows if all(len(row) == len(rows[0]) for row in rows) else []


def strongest_first(pca: PCAModel) -> NDArray[np.intp]:
    """Return the columns of the stored components, the strongest first; `regular` artifacts have them last."""
    return np.argsort(-np.nan_to_num(pca.singular_values), kind="stable")


def class_names(linear: LinearLearnerModel | None, known: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of a model's classes; their numbers where none are known, nothing for a regressor."""
    if linear is None or linear.predictor_type == "regressor":
        return ()
    count = 2 if linear.predictor_type == "binary_classifier" else linear.num_outputs
    return tuple(known) if known is not None and len(known) == count else tuple(map(str, range(count)))


def read_object(data: bytes | None) -> Mapping[str, Any]:
    """Read a JSON object; anything else is an empty one."""
    try:
        document = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def number_in(text: str) -> float:
    """Return a cell's number; NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
