"""A model as a person has it: a folder or model.tar.gz from here or from AWS, with the side files beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Features
from eigenline.algorithms.errors import DataError, UserError
from eigenline.algorithms.linear_learner.model import LinearLearnerModel
from eigenline.algorithms.pca.model import PCAModel
from eigenline.formats.artifact.columns_file import COLUMNS_FILE, read_column_names
from eigenline.formats.artifact.model_file import read_artifact
from eigenline.formats.artifact.model_tar import read_model_tar
from eigenline.formats.preparation import FILE, Preparation
from eigenline.report.subject import Subject, class_names, read_object, strongest_first
from eigenline.serve.models import ServedModel, load_model

_SIDE_FILES = (
    FILE,
    COLUMNS_FILE,
    "report.json",
    "coefficients.csv",
    "components.csv",
    "estimator.json",
    "explained_variance.csv",
    "held_out.csv",
    "models.csv",
    "projections.csv",
    "standard_errors.csv",
)


@dataclass(frozen=True, eq=False)
class OpenedModel:
    """What a folder or archive holds.

    Attributes
    ----------
    place
        As the person named it.
    pca, linear
        The parts; with both, the projections of the first are what the second scores.
    preparation
        How columns become features.
    files
        The readable files beside the artifact, by name.
    """

    place: Path
    pca: PCAModel | None
    linear: LinearLearnerModel | None
    preparation: Preparation
    files: Mapping[str, bytes]

    @cached_property
    def report(self) -> Mapping[str, Any]:
        """``report.json`` of the training; empty where there is none, as in AWS's artifacts."""
        return self.subject.report

    @property
    def feature_dim(self) -> int:
        """Number of features of a record."""
        first = self.pca or self.linear
        assert first is not None
        return first.feature_dim

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; their numbers where no names are known."""
        return class_names(self.linear, self.preparation.classes)

    @property
    def strongest_first(self) -> NDArray[np.intp]:
        """Columns of the stored components, the strongest first; `regular` artifacts have them the other way."""
        assert self.pca is not None
        return strongest_first(self.pca)

    @cached_property
    def subject(self) -> Subject:
        """What a report about the model needs to know."""
        kept = self.preparation
        filled = [column.name for column in kept.inputs if column.fill is not None]
        spread = [column.name for column in kept.inputs if column.categories is not None]
        said = [f"Empty cells are filled with the column's mean ({len(filled)} columns)."] * bool(filled)
        shown = f"{', '.join(spread[:8])}{', ...' if len(spread) > 8 else ''}"
        said += [f"Texts became categories: {shown}."] * bool(spread)
        return Subject(self.pca, self.linear, self.files, kept.feature_names, kept.target, self.classes, said)

    def outputs(self) -> tuple[str, ...]:
        """Return the names of the columns that `predict` gives."""
        if self.linear is None:
            return tuple(f"component_{number}" for number in range(1, len(self.strongest_first) + 1))
        if self.linear.predictor_type == "regressor":
            return ("score",)
        if self.linear.predictor_type == "binary_classifier":
            return ("predicted_label", "score")
        return ("predicted_label", *(f"score_{name}" for name in self.classes))

    def predict(self, features: Features) -> tuple[NDArray[np.float32], NDArray[np.intp] | None]:
        """Return scores, shape (n, number of scores), and the predicted classes' numbers where there are classes.

        The same arithmetic as `eigenline serve`: float32, sparse records never made dense.
        """
        if self.pca is not None:
            projected = self.pca.project(features)
            if self.linear is None:
                return np.ascontiguousarray(projected[:, self.strongest_first]), None
            features = projected
        assert self.linear is not None
        found = self.linear.predict(features)
        scores = found.score if found.score.ndim == 2 else found.score[:, None]
        return scores, None if found.predicted_label is None else found.predicted_label.astype(np.intp)


def open_model(place: str | Path) -> OpenedModel:
    """Open a model folder, a model.tar.gz, or a bare artifact's folder.

    Raises
    ------
    UserError
        If there is nothing there, or it is no model.
    """
    path = Path(place)
    if not path.exists():
        raise UserError(f"There is no model {path}: no such folder or file.")
    bare = _bare_artifact(path)
    served, files = (load_model(path), _side_files(path)) if bare is None else (bare, {})
    first = served.pca or served.linear
    assert first is not None
    if FILE in files:
        preparation = Preparation.from_json(files[FILE], f"{path}/{FILE}")
        if len(preparation.feature_names) != first.feature_dim:
            raise DataError(
                f"{path}/{FILE} prepares {len(preparation.feature_names)} features, but the model takes "
                f"{first.feature_dim}: it belongs to another model."
            )
    else:
        preparation = _of_names(first.feature_dim, files, path)
    return OpenedModel(path, served.pca, served.linear, preparation, files)


def _of_names(feature_dim: int, files: Mapping[str, bytes], path: Path) -> Preparation:
    """Return the preparation of a model that a SageMaker job trained: names where its data had them."""
    if COLUMNS_FILE in files:
        names = read_column_names(files[COLUMNS_FILE], feature_dim, name=f"{path}/{COLUMNS_FILE}")
        return Preparation.plain(feature_dim, names.features, names.target, names.classes)
    found = read_object(files.get("report.json")).get("feature_names")
    named = found if isinstance(found, list) and all(isinstance(name, str) for name in found) else None
    return Preparation.plain(feature_dim, named)


def _bare_artifact(path: Path) -> ServedModel | None:
    """Return the model of a single ``model_algo-1`` file; None for folders and archives."""
    if not path.is_file():
        return None
    try:
        model = read_artifact(path.read_bytes(), name=str(path))
    except DataError:
        return None  # an archive, or nothing at all, which whoever reads archives can say
    return ServedModel(model, None) if isinstance(model, PCAModel) else ServedModel(None, model)


def _side_files(path: Path) -> dict[str, bytes]:
    archive = path if path.is_file() else path / "model.tar.gz"
    if archive.is_file():
        members = read_model_tar(archive.read_bytes(), name=str(archive))
        return {name: content for name, content in members.items() if name in _SIDE_FILES}
    return {name: (path / name).read_bytes() for name in _SIDE_FILES if (path / name).is_file()}
