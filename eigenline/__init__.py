"""eigenline: an open, local twin of Amazon SageMaker's built-in PCA and Linear Learner.

    from eigenline import PCA, LinearLearnerClassifier, LinearLearnerRegressor, read_recordio, write_recordio
    from eigenline import load, save        # estimators as model folders
    from eigenline import from_artifact     # a model.tar.gz, from here or from AWS, as an estimator

The rooms of the house are folders at the top of the repository (`algorithms/`, `formats/`, `container/`, ...);
this package holds one relative link to each, so that whoever installs it gets a single top-level name.
Everything is imported on first use: neither `train` nor `serve` pays for what it does not need.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eigenline.algorithms.linear_learner.estimators import LinearLearnerClassifier, LinearLearnerRegressor
    from eigenline.algorithms.pca.estimator import PCA
    from eigenline.command.estimator_files import from_artifact, load, save
    from eigenline.formats.recordio.arrays import read_recordio, read_recordio_answer
    from eigenline.formats.recordio.writer import write_recordio, write_recordio_to

    __version__: str

# name -> the module that has it
_HOMES = {
    "LinearLearnerClassifier": "eigenline.algorithms.linear_learner.estimators",
    "LinearLearnerRegressor": "eigenline.algorithms.linear_learner.estimators",
    "PCA": "eigenline.algorithms.pca.estimator",
    "from_artifact": "eigenline.command.estimator_files",
    "load": "eigenline.command.estimator_files",
    "read_recordio": "eigenline.formats.recordio.arrays",
    "read_recordio_answer": "eigenline.formats.recordio.arrays",
    "save": "eigenline.command.estimator_files",
    "write_recordio": "eigenline.formats.recordio.writer",
    "write_recordio_to": "eigenline.formats.recordio.writer",
}

__all__ = [
    "PCA",
    "LinearLearnerClassifier",
    "LinearLearnerRegressor",
    "__version__",
    "from_artifact",
    "load",
    "read_recordio",
    "read_recordio_answer",
    "save",
    "write_recordio",
    "write_recordio_to",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from eigenline.version import version

        return version()
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'eigenline' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
