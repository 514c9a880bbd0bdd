"""Records that lie on many workers: passes over them by Dask futures, the same model for any number.

    from eigenline.cluster import PCA, LinearLearnerClassifier, LinearLearnerRegressor

are the estimators for a Dask cluster of one's own. They are imported on first use: a training job needs neither
scikit-learn nor Dask's arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eigenline.cluster.estimators import PCA, LinearLearnerClassifier, LinearLearnerRegressor

__all__ = ["PCA", "LinearLearnerClassifier", "LinearLearnerRegressor"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from eigenline.cluster import estimators

        return getattr(estimators, name)
    raise AttributeError(f"module 'eigenline.cluster' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
