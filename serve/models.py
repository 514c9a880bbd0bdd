"""What is served: one artifact, or a PCA and a Linear Learner as a chain, read from a folder or a tar file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from eigenline.algorithms.errors import DataError, UserError
from eigenline.algorithms.linear_learner.model import LinearLearnerModel
from eigenline.algorithms.pca.model import PCAModel
from eigenline.formats.artifact.columns_file import COLUMNS_FILE, read_column_names
from eigenline.formats.artifact.memory_budget import ArtifactTooLarge, within_memory
from eigenline.formats.artifact.model_file import read_artifact
from eigenline.formats.artifact.model_tar import SIDE_FILES, is_artifact_name, is_served_member, read_model_tar
from eigenline.formats.machine_limits import memory_limit
from eigenline.formats.preparation import FILE as PREPARATION_FILE
from eigenline.formats.preparation import Preparation


class ModelError(UserError):
    """The model folder does not hold what can be served."""


class ModelTooLarge(ModelError):  # noqa: N818 -- an error by its base class
    """The model needs more memory than there is."""


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A PCA, a Linear Learner, or the first feeding the second; at least one of the two is there.

    Attributes
    ----------
    pca, linear
        The parts. With both, a request's features are projected, and the projection is what is scored.
    reports
        ``report.json`` of each part by its algorithm's name, where training left one.
    preparation
        How columns with names become features; None where the model keeps no names, as AWS's do not.
    classes
        Names of the classes, where the model keeps them.
    shapes
        What `serve.columns.cost_of` found of the columns that were asked for: nearly all requests want the same.
    """

    pca: PCAModel | None
    linear: LinearLearnerModel | None
    reports: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    preparation: Preparation | None = None
    classes: tuple[str, ...] | None = None
    shapes: dict[tuple[tuple[str, ...], bool], tuple[int, int, int, int]] = field(default_factory=dict)

    @property
    def feature_dim(self) -> int:
        """Number of features that a request's records have."""
        first = self.pca if self.pca is not None else self.linear
        assert first is not None
        return first.feature_dim

    @property
    def algorithms(self) -> tuple[str, ...]:
        """The parts' names, in the order in which records pass through them."""
        parts = {"pca": self.pca, "linear-learner": self.linear}
        return tuple(name for name, part in parts.items() if part is not None)

    @property
    def num_bytes(self) -> int:
        """Bytes of the model's arrays and parameters; its reports are not counted."""
        arrays = []
        if self.pca is not None:
            arrays += [self.pca.components, self.pca.singular_values]
            arrays += [] if self.pca.mean is None else [self.pca.mean]
        if self.linear is not None:
            arrays += [self.linear.weights, self.linear.bias]
        parameters = {} if self.linear is None else self.linear.parameters
        names = () if self.preparation is None else self.preparation.feature_names
        # Python's objects take about sixteen bytes per character of their text (measured: 8 to 20).
        texts = 16 * len(json.dumps(parameters, default=str)) + sum(map(len, names)) + 250 * len(names)
        return sum(array.nbytes for array in arrays) + texts


# A report of more than this is not what a training job writes, and the page would not show it.
_LARGEST_REPORT: Final = 16 << 20


def load_model(place: Path, *, with_reports: bool = True) -> ServedModel:
    """Read what is to be served from a folder, or from one ``model.tar.gz``.

    A folder is searched itself and one level deep for artifacts (``model_algo-1``, any ``model_*``) and for
    ``*.tar.gz`` files that hold one. Where ``model.tar.gz`` lies in the folder itself, it alone counts: it is what
    SageMaker was told to deploy, and files beside it are its extraction or an earlier job's. One artifact is
    served as it is; a PCA and a Linear Learner together are a chain, whatever their names: the number of
    components decides that they belong together.

    Parameters
    ----------
    with_reports
        Whether to keep ``report.json`` too, which the page shows.

    Raises
    ------
    ModelError
        No artifact, more than a chain's two, two of one algorithm, or dimensions that do not fit.
    ModelTooLarge
        A file is larger than the memory.
    """
    parts: dict[str, tuple[str, PCAModel | LinearLearnerModel]] = {}
    sides: dict[str, _SideFiles] = {}
    for name, data, side in _artifacts(place, with_reports=with_reports):
        try:
            model = read_artifact(data)
        except ArtifactTooLarge as error:
            raise ModelTooLarge(str(error)) from error
        except DataError as error:
            raise ModelError(f"{name} cannot be served: {error}") from error
        algorithm = "pca" if isinstance(model, PCAModel) else "linear-learner"
        if algorithm in parts:
            raise ModelError(
                f"{place} holds two {algorithm} artifacts, {parts[algorithm][0]} and {name}, and only one can be "
                "served. Leave one of them; SAGEMAKER_MULTI_MODEL=true serves several side by side."
            )
        parts[algorithm] = (name, model)
        sides[algorithm] = side
    if not parts:
        raise ModelError(
            f"{place} holds no model: expected a file named like 'model_algo-1', or a 'model.tar.gz' with one "
            "inside. Was the model extracted or mounted there?"
        )
    _check_chain(parts)
    pca, linear = (parts.get(algorithm, ("", None))[1] for algorithm in ("pca", "linear-learner"))
    assert not isinstance(pca, LinearLearnerModel)
    assert not isinstance(linear, PCAModel)
    first = "linear-learner" if pca is None else "pca"
    reports = {algorithm: side.report for algorithm, side in sides.items() if side.report}
    preparation = sides[first].columns_of(parts[first][1].feature_dim, alone=len(parts) == 1)
    return ServedModel(pca, linear, reports, preparation, _classes(linear, sides))


def _classes(linear: LinearLearnerModel | None, sides: Mapping[str, _SideFiles]) -> tuple[str, ...] | None:
    if linear is None or linear.predictor_type == "regressor":
        return None
    found = sides["linear-learner"].columns()
    classes = None if found is None else found.classes
    if classes is None or len(classes) != max(2, linear.num_outputs):
        return None
    return None if list(classes) == list(map(str, range(len(classes)))) else classes


@dataclass(frozen=True)
class _SideFiles:
    """What lies beside an artifact.

    Attributes
    ----------
    where
        The folder or the archive, for errors.
    contents
        Name -> content of `SIDE_FILES`.
    with_report
        Whether the report is wanted as a whole, and not only for the names in it.
    """

    where: str
    contents: Mapping[str, bytes]
    with_report: bool

    @property
    def report(self) -> Mapping[str, Any] | None:
        return _parse_report(self.contents.get("report.json")) if self.with_report else None

    def columns(self) -> Preparation | None:
        """Return what is known of the columns: how they were prepared, or their names; None for nothing.

        Raises
        ------
        ModelError
            If a file is damaged.
        """
        try:
            if PREPARATION_FILE in self.contents:
                name = f"{self.where}/{PREPARATION_FILE}"
                return Preparation.from_json(self.contents[PREPARATION_FILE], name)
            if COLUMNS_FILE in self.contents:
                names = read_column_names(self.contents[COLUMNS_FILE], name=f"{self.where}/{COLUMNS_FILE}")
                return Preparation.plain(len(names.features), names.features, names.target, names.classes)
        except DataError as error:
            raise ModelError(str(error)) from error
        features = (_parse_report(self.contents.get("report.json")) or {}).get("feature_names")
        if isinstance(features, list) and all(isinstance(name, str) for name in features):
            return Preparation.plain(len(features), features)
        return None

    def columns_of(self, feature_dim: int, *, alone: bool) -> Preparation | None:
        """Return what is known of the columns of a model that takes so many features.

        Files that lie between a chain's two artifacts may belong to either: what does not fit is left.

        Raises
        ------
        ModelError
            If the files are damaged, or belong to another model.
        """
        found = self.columns()
        if found is None or len(found.feature_names) == feature_dim:
            return found
        names = [name for name in (PREPARATION_FILE, COLUMNS_FILE) if name in self.contents]
        if alone and names:
            raise ModelError(
                f"{self.where}/{names[0]} describes {len(found.feature_names)} features, but the model takes "
                f"{feature_dim}: it belongs to another model."
            )
        return None


def _check_chain(parts: Mapping[str, tuple[str, PCAModel | LinearLearnerModel]]) -> None:
    if len(parts) < 2:
        return
    (pca_name, pca), (linear_name, linear) = parts["pca"], parts["linear-learner"]
    assert isinstance(pca, PCAModel)
    if pca.num_components != linear.feature_dim:
        raise ModelError(
            f"{pca_name} gives {pca.num_components} components but {linear_name} expects {linear.feature_dim} "
            "features: the Linear Learner of a chain must have been trained on this PCA's projections."
        )


def files_of(place: Path) -> dict[str, tuple[int, int, int]]:
    """Return the files and folders that `load_model` reads a model from: path -> size, time of change, number.

    Where these are the same, so is the model.
    """
    deployed = place if place.is_file() else place / "model.tar.gz"
    paths = [deployed]
    if not deployed.is_file():
        folders = _folders(place)
        paths = folders + [path for folder in folders for path in _entries(folder) if _is_read(path.name)]
    found = {}
    for path in paths:
        try:
            status = path.stat()
        except OSError as error:
            raise ModelError(f"{path} cannot be read: {error.strerror or error}.") from error
        found[str(path)] = (0 if path.is_dir() else status.st_size, status.st_mtime_ns, status.st_ino)
    return found


def _is_read(name: str) -> bool:
    return is_artifact_name(name) or name.endswith((".tar.gz", ".tgz")) or name in SIDE_FILES


def _artifacts(place: Path, *, with_reports: bool) -> Iterator[tuple[str, bytes, _SideFiles]]:
    """Yield (name, bytes, files beside it) of each artifact in a folder or tar file."""
    deployed = place if place.is_file() else place / "model.tar.gz"
    if deployed.is_file():
        yield from _tar_artifacts(deployed, deployed.parent, with_reports=with_reports)
        return
    for folder in _folders(place):
        entries = _entries(folder)
        side: _SideFiles | None = None
        for path in entries:
            if is_artifact_name(path.name):
                if side is None:
                    beside = {path.name: _contents(path, place) for path in entries if path.name in SIDE_FILES}
                    side = _SideFiles(str(folder), beside, with_reports)
                yield str(path.relative_to(place)), _contents(path, place), side
            elif path.name.endswith((".tar.gz", ".tgz")):
                yield from _tar_artifacts(path, place, with_reports=with_reports)


def _tar_artifacts(path: Path, root: Path, *, with_reports: bool) -> Iterator[tuple[str, bytes, _SideFiles]]:
    try:
        members = read_model_tar(_contents(path, root), wanted=is_served_member)
    except ArtifactTooLarge as error:
        raise ModelTooLarge(str(error)) from error
    except DataError as error:
        raise ModelError(f"{path.name} cannot be read: {error}") from error
    side = _SideFiles(str(path), {name: members[name] for name in SIDE_FILES if name in members}, with_reports)
    for name, data in sorted(members.items()):
        if is_artifact_name(name):
            yield f"{path.name}:{name}", data, side


def _folders(place: Path) -> list[Path]:
    try:
        return [place, *sorted(path for path in place.iterdir() if path.is_dir())]
    except OSError as error:
        raise ModelError(f"The model folder {place} cannot be read: {error.strerror or error}.") from error


def _entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file())


def _contents(path: Path, root: Path) -> bytes:
    # A link that leads out of the model folder is somebody's trick or mistake: what is served lies inside.
    if not path.resolve().is_relative_to(root.resolve()):
        raise ModelError(f"{path} is a link that leads out of the model folder; put the file itself there.")
    try:
        size = path.stat().st_size
        if size > memory_limit():
            raise ModelTooLarge(f"{path} has {size} bytes, which is more than the memory of {memory_limit()}.")
        with within_memory(str(path)):
            return path.read_bytes()
    except ArtifactTooLarge as error:
        raise ModelTooLarge(str(error)) from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}.") from error


def _parse_report(data: bytes | None) -> Mapping[str, Any] | None:
    """Parse ``report.json``; a report that cannot be read is no reason not to serve the model."""
    if data is not None and len(data) > _LARGEST_REPORT:
        return None
    try:
        report = json.loads(data or b"null")
    except (ValueError, RecursionError):
        return None
    return report if isinstance(report, dict) else None
