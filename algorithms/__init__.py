"""The maths: PCA and Linear Learner. Arrays in, arrays and frozen result objects out; no files, clock or log.

``from algorithms import PCA, LinearLearner`` gives scikit-learn estimators over the same maths; they are
imported on first use, because `train` and `serve` do without scikit-learn.
"""

from importlib import import_module
from typing import Any

# name -> the module that has it
_ESTIMATORS: dict[str, str] = {
    "LinearLearner": "algorithms.linear_learner.estimators",
    "LinearLearnerClassifier": "algorithms.linear_learner.estimators",
    "LinearLearnerRegressor": "algorithms.linear_learner.estimators",
    "PCA": "algorithms.pca.estimator",
}

__all__ = list(_ESTIMATORS)


def __getattr__(name: str) -> Any:
    if name in _ESTIMATORS:
        return getattr(import_module(_ESTIMATORS[name]), name)
    raise AttributeError(f"module 'algorithms' has no attribute {name!r}")
