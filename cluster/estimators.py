"""The estimators for a Dask cluster of the user's: records stay on its workers, attributes are numpy."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
from dask.delayed import delayed
from distributed import Client
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from eigenline.algorithms.dask_refused import is_dask
from eigenline.algorithms.linear_learner import estimators as plain_linear_learner
from eigenline.algorithms.linear_learner.training import trains_by_passes
from eigenline.algorithms.pca import estimator as plain_pca
from eigenline.algorithms.pca.blocks import BLOCK_BYTES
from eigenline.algorithms.pca.solver_choice import Plan
from eigenline.algorithms.records import Records
from eigenline.cluster.dask_chunks import Survey, require_whole_rows, rows_together, tasks_of_pieces
from eigenline.cluster.users_cluster import Packed, UsersCluster


class _OnCluster:
    """What all share: the client, the plain estimator, lazy results for lazy input."""

    client: Client | None
    _plain: ClassVar[type]

    @property
    def client_(self) -> Client:
        """The client in use: the one given, or else the default one."""
        return UsersCluster(self.client).client

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the hyperparameters; the client is none."""
        parameters: dict[str, Any] = super().get_params(deep)  # type: ignore[misc]
        parameters.pop("client", None)
        return parameters

    def set_params(self, **parameters: Any) -> Self:
        """Set hyperparameters, or the client."""
        if "client" in parameters:
            self.client = parameters.pop("client")
        return super().set_params(**parameters)  # type: ignore[misc]

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "client": None}  # type: ignore[dict-item]

    def __sklearn_clone__(self) -> Self:
        copy: Self = super().__sklearn_clone__()  # type: ignore[misc]
        copy.client = self.client
        return copy

    def to_local(self) -> Any:
        """Return the plain estimator, fitted as this one is, which needs neither Dask nor a cluster."""
        local = self._plain(**self.get_params(deep=False))
        vars(local).update({name: value for name, value in vars(self).items() if name != "client"})
        return local

    def _named_like(self, X: Any, feature_dim: int, *, reset: bool) -> None:
        """Note, or check, the number and names of features."""
        if hasattr(X, "columns"):
            import pandas as pd

            shaped: Any = pd.DataFrame(columns=list(X.columns))
        else:
            shaped = np.empty((0, feature_dim))
        validate_data(self, shaped, reset=reset, skip_check_array=True)

    def _lazily(self, method: str, X: Any, dtype: Any, width: int | None = None) -> Any:
        """Return a Dask array of what a method of the plain estimator gives for each chunk.

        Parameters
        ----------
        method
            Of the plain estimator.
        X
            Dask array or data frame.
        dtype, width
            Of what it gives; None where that has one dimension.
        """
        import dask.array as da

        check_is_fitted(self)
        apply = partial(_applied, self.to_local(), method)
        if hasattr(X, "columns"):
            self._named_like(X, len(X.columns), reset=False)
            shape = (np.nan,) if width is None else (np.nan, width)
            later = delayed(apply, pure=False)
            parts = [da.from_delayed(later(part), shape, dtype) for part in X.to_delayed()]
            return da.concatenate(parts, allow_unknown_chunksizes=True)
        if X.ndim != 2:
            raise ValueError(f"X has {X.ndim} dimension(s). Expected 2; try X.reshape((-1, 1)).")
        require_whole_rows("X", X)
        if X.shape[1] == X.shape[1] and method != "inverse_transform":  # unknown numbers are nan
            self._named_like(X, int(X.shape[1]), reset=False)
        if width is None:
            return X.map_blocks(apply, dtype=dtype, drop_axis=1, meta=np.empty(0, dtype))
        chunks = (X.chunks[0], (width,))
        return X.map_blocks(apply, dtype=dtype, chunks=chunks, meta=np.empty((0, 0), dtype))


def _applied(estimator: Any, method: str, chunk: Any) -> Any:
    if chunk.shape[0]:
        return getattr(estimator, method)(chunk)
    # scikit-learn refuses no records, and a chunk may have none
    one = np.zeros((1, chunk.shape[1]), _precision(chunk))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they have no names
        return getattr(estimator, method)(one)[:0]


class PCA(_OnCluster, plain_pca.PCA):
    """Principal component analysis of records on a Dask cluster.

    As `eigenline.PCA`, whose attributes it has, as numpy arrays. The model is the same to the byte wherever the
    chunks lie, for any number of workers.

    Parameters
    ----------
    num_components, algorithm_mode, extra_components, subtract_mean, seed
        As those of `eigenline.PCA`.
    client
        Of the cluster; None for Dask's default client. It is neither in `get_params` nor pickled.

    Examples
    --------
    >>> from distributed import Client
    >>> from eigenline.cluster import PCA
    >>> with Client("tcp://scheduler:8786"):                    # doctest: +SKIP
    ...     pca = PCA(num_components=20).fit(X)                 # a Dask array or data frame
    ...     projected = pca.transform(X)                        # a Dask array, not computed yet
    """

    _plain = plain_pca.PCA

    def __init__(
        self,
        num_components: int | None = None,
        *,
        algorithm_mode: str = "regular",
        extra_components: int = -1,
        subtract_mean: bool = True,
        seed: int = 0,
        client: Client | None = None,
    ) -> None:
        super().__init__(
            num_components,
            algorithm_mode=algorithm_mode,
            extra_components=extra_components,
            subtract_mean=subtract_mean,
            seed=seed,
        )
        self.client = client

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit to records.

        Parameters
        ----------
        X
            Dask array of shape (n_samples, n_features) in chunks of rows, dense or SciPy's sparse, or a Dask data
            frame; or numpy, which is computed in this process.
        y
            Ignored.

        Raises
        ------
        TypeError, ValueError
            For what cannot be fitted; where the cluster is lost.
        """
        if not is_dask(X):
            super().fit(X)
            return self
        cluster = UsersCluster(self.client)
        tasks = tasks_of_pieces("X", X)
        cluster.require_same_version()
        pieces, found = cluster.survey("X", tasks)
        self._named_like(X, found.feature_dim, reset=True)
        local = self.to_local()
        # Records are not held together, which would bring them to one worker.
        plan = replace(local._plan((found.rows, found.feature_dim), found.dtype, 1), held_bytes=0)
        packed = cluster.packed(pieces, found.dtype)
        del pieces  # a part has their arrays
        local = cluster.coordinate(partial(_fit_pca, local, plan), {"train": packed}, BLOCK_BYTES)
        self.__dict__.update(vars(local), _partial=None)
        return self

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Go on fitting with further records in this process, as the plain estimator; Dask's are for `fit`."""
        if is_dask(X):
            raise TypeError(
                "partial_fit takes arrays in memory. Use fit, which reads a Dask collection in pieces."
            )
        super().partial_fit(X)
        return self

    def transform(self, X: Any) -> Any:
        """Project records onto the components: a Dask array for Dask input, not computed yet; else numpy.

        Parameters
        ----------
        X
            As of `fit`.
        """
        if not is_dask(X):
            return super().transform(X)
        check_is_fitted(self)
        return self._lazily("transform", X, _precision(X), self.n_components_)

    def inverse_transform(self, X: Any) -> Any:
        """Map projections back to records of the subspace: a Dask array for Dask input; else numpy.

        Parameters
        ----------
        X
            Shape (n_samples, num_components).
        """
        if not is_dask(X):
            return super().inverse_transform(X)
        check_is_fitted(self)
        dtype = np.result_type(_precision(X), self.components_.dtype)
        return self._lazily("inverse_transform", X, dtype, self.components_.shape[1])


def _fit_pca(local: plain_pca.PCA, plan: Plan, channels: Mapping[str, Records]) -> plain_pca.PCA:
    local._fit_records(channels["train"], plan)
    return local


def _precision(X: Any) -> Any:
    """Return the precision that X is computed in: that of the plain estimators."""
    dtypes = list(X.dtypes) if hasattr(X, "columns") else [X.dtype]
    return np.float32 if all(dtype == np.float32 for dtype in dtypes) else np.float64


class _LinearLearnerOnCluster(_OnCluster):
    """What both faces of Linear Learner share."""

    @plain_linear_learner.keyword_signature
    def __init__(self, *, client: Client | None = None, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.client = client

    def _fit_chunks(self, X: Any, y: Any, sample_weight: Any, validation: Any, *, classes: bool) -> None:
        cluster = UsersCluster(self.client)
        tasks = {"train": tasks_of_pieces("X", X, y, sample_weight, classes=classes)}
        if validation is not None:
            X_left_out, y_left_out = validation
            tasks["validation"] = tasks_of_pieces("validation X", X_left_out, y_left_out, classes=classes)
        cluster.require_same_version()
        pieces, found = cluster.survey("X", tasks["train"])
        self._named_like(X, found.feature_dim, reset=True)
        of_labels = self._classes_of(found) if classes else None
        local: Any = self.to_local()
        self._require_passes(local)
        channels: dict[str, Packed] = {"train": cluster.packed(pieces, found.dtype, of_labels)}
        del pieces  # a part has their arrays
        if validation is not None:
            pieces, left_out = cluster.survey("validation X", tasks["validation"])
            self._named_like(X_left_out, left_out.feature_dim, reset=False)
            channels["validation"] = cluster.packed(pieces, left_out.dtype, of_labels)
            del pieces
        local, texts = cluster.coordinate(partial(_fit_linear_learner, local), channels)
        self.__dict__.update(vars(local))
        for text in texts:
            warnings.warn(text, UserWarning, stacklevel=3)

    def _predicted(self, X: Any, y: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
        """Return true labels, predicted ones and weights of all records, as numpy arrays."""
        check_is_fitted(self)
        predict = delayed(partial(_beside_predicted, self.to_local()), pure=False)
        chunks = [predict(*chunk) for chunk in rows_together("X", X, y, sample_weight)]
        true, predicted, weights = zip(*UsersCluster(self.client).computed(chunks), strict=True)
        every = None if sample_weight is None else np.concatenate(weights)
        return np.concatenate(true), np.concatenate(predicted), every

    def _classes_of(self, found: Survey) -> Any:
        classes = found.classes
        if classes is None or len(classes) < 2:
            raise ValueError(plain_linear_learner.ONE_CLASS)
        if found.weighing is None or len(found.weighing) < 2:
            raise ValueError(plain_linear_learner.ONE_CLASS_WEIGHS)
        self.classes_ = classes
        return classes

    def _require_passes(self, local: Any) -> None:
        if not trains_by_passes(local._settings()):
            name = type(self).__name__
            raise ValueError(
                "A named optimizer and its settings, epochs=1 and compatibility='aws' update the model record by "
                "record in stored order, which only one machine can. Leave them at their defaults, or fit "
                f"eigenline.{name} in memory."
            )


def _fit_linear_learner(local: Any, channels: Mapping[str, Records]) -> tuple[Any, list[str]]:
    return local, local._fit_channels(channels)


class LinearLearnerClassifier(_LinearLearnerOnCluster, plain_linear_learner.LinearLearnerClassifier):
    """Linear Learner for classes, trained on records on a Dask cluster.

    As `eigenline.LinearLearnerClassifier`, whose hyperparameters and attributes it has, as numpy arrays.
    The model is the same to the byte wherever the chunks lie, for any number of workers.

    Parameters
    ----------
    client
        Of the cluster; None for Dask's default client. It is neither in `get_params` nor pickled.
    """

    _plain = plain_linear_learner.LinearLearnerClassifier

    def fit(self, X: Any, y: Any, sample_weight: Any = None, validation: Any = None) -> Self:
        """Train.

        Parameters
        ----------
        X
            Dask array of shape (n_samples, n_features) in chunks of rows, dense or SciPy's sparse, or a Dask data
            frame; or numpy, which is trained on in this process.
        y, sample_weight
            Dask arrays or series of shape (n_samples,), in the same chunks; weights may be None.
        validation
            A pair (X, y) that models and threshold are chosen on, or None.

        Raises
        ------
        TypeError, ValueError
            For what cannot be trained on; where the cluster is lost.
        """
        if not _any_dask(X, y, sample_weight, validation):
            super().fit(X, y, sample_weight, validation)
            return self
        self._fit_chunks(X, y, sample_weight, validation, classes=True)
        return self

    def decision_function(self, X: Any) -> Any:
        """Return raw scores as the plain estimator does: a Dask array for Dask input, not computed yet."""
        if not is_dask(X):
            return super().decision_function(X)
        check_is_fitted(self)
        count = len(self.classes_)
        return self._lazily("decision_function", X, np.float64, count if count > 2 else None)

    def predict(self, X: Any) -> Any:
        """Return labels as the plain estimator does: a Dask array for Dask input, not computed yet."""
        if not is_dask(X):
            return super().predict(X)
        check_is_fitted(self)
        return self._lazily("predict", X, self.classes_.dtype)

    @available_if(lambda self: hasattr(self.to_local(), "predict_proba"))  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Any:
        """Return probabilities as the plain estimator does: a Dask array for Dask input, not computed yet."""
        if not is_dask(X):
            return super().predict_proba(X)
        check_is_fitted(self)
        return self._lazily("predict_proba", X, np.float64, len(self.classes_))

    @available_if(lambda self: hasattr(self.to_local(), "predict_log_proba"))  # type: ignore[untyped-decorator]
    def predict_log_proba(self, X: Any) -> Any:
        """Return logarithms of probabilities as the plain estimator does: a Dask array for Dask input."""
        if not is_dask(X):
            return super().predict_log_proba(X)
        check_is_fitted(self)
        return self._lazily("predict_log_proba", X, np.float64, len(self.classes_))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy; of Dask input the labels come to the client, and no features."""
        if not is_dask(X):
            return float(super().score(X, y, sample_weight))
        true, predicted, weights = self._predicted(X, y, sample_weight)
        return float(accuracy_score(true, predicted, sample_weight=weights))


class LinearLearnerRegressor(_LinearLearnerOnCluster, plain_linear_learner.LinearLearnerRegressor):
    """Linear Learner for real labels, trained on records on a Dask cluster.

    As `eigenline.LinearLearnerRegressor`, whose hyperparameters and attributes it has, as numpy arrays.
    The model is the same to the byte wherever the chunks lie, for any number of workers.

    Parameters
    ----------
    client
        Of the cluster; None for Dask's default client. It is neither in `get_params` nor pickled.
    """

    _plain = plain_linear_learner.LinearLearnerRegressor

    def fit(self, X: Any, y: Any, sample_weight: Any = None, validation: Any = None) -> Self:
        """Train; parameters and errors as those of `LinearLearnerClassifier.fit`."""
        if not _any_dask(X, y, sample_weight, validation):
            super().fit(X, y, sample_weight, validation)
            return self
        self._fit_chunks(X, y, sample_weight, validation, classes=False)
        return self

    def predict(self, X: Any) -> Any:
        """Return predicted values: a Dask array for Dask input, not computed yet; else numpy."""
        return self._lazily("predict", X, np.float64) if is_dask(X) else super().predict(X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return R squared; of Dask input the labels come to the client, and no features."""
        if not is_dask(X):
            return float(super().score(X, y, sample_weight))
        true, predicted, weights = self._predicted(X, y, sample_weight)
        return float(r2_score(true, predicted, sample_weight=weights))


def _beside_predicted(estimator: Any, features: Any, labels: Any, weights: Any) -> tuple[Any, Any, Any]:
    predicted = _applied(estimator, "predict", features)
    return np.asarray(labels), predicted, None if weights is None else np.asarray(weights)


def _any_dask(X: Any, y: Any, sample_weight: Any, validation: Any) -> bool:
    return any(is_dask(array) for array in (X, y, sample_weight, *(validation or ())))
