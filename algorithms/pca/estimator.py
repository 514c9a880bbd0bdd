"""PCA as a scikit-learn estimator, with SageMaker's parameter names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from inspect import Parameter, Signature
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from eigenline.algorithms.batch import Batch, Features, is_sparse
from eigenline.algorithms.blas_threads import blas_threads
from eigenline.algorithms.dask_refused import refuse_dask
from eigenline.algorithms.errors import UserError
from eigenline.algorithms.pca.blocks import BLOCK_BYTES
from eigenline.algorithms.pca.direct_solvers import completed
from eigenline.algorithms.pca.model import PCAModel
from eigenline.algorithms.pca.settings import PCASettings, read_settings
from eigenline.algorithms.pca.solver_choice import Plan, make_plan
from eigenline.algorithms.pca.training import FirstPass, Seen, Solution, from_one_pass, solve
from eigenline.algorithms.records import Records, RecordsHere

# What scikit-learn calls it -> what it is here
_ELSEWHERE: Final = {
    "n_components": "num_components",
    "random_state": "seed",
    "svd_solver": "algorithm_mode ('regular' or 'randomized')",
    "n_oversamples": "extra_components",
    "iterated_power": "nothing: the randomized mode iterates until it has converged",
    "batch_size": "nothing: give partial_fit as many records as suit you",
    "whiten": "nothing: divide what transform returns by np.sqrt(explained_variance_)",
}


def _without_keywords(constructor: Callable[..., None]) -> Callable[..., None]:
    """Hide `**elsewhere` from scikit-learn, which takes every name of a signature for a parameter."""
    signature = Signature.from_callable(constructor)
    kept = [each for each in signature.parameters.values() if each.kind != Parameter.VAR_KEYWORD]
    constructor.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
    return constructor


class PCA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Principal component analysis, as Amazon SageMaker's built-in PCA computes it.

    Components come strongest first whatever the mode, as everywhere in scikit-learn; `model_` has them in
    the order in which SageMaker's artifacts store them. Sparse input stays sparse: the mean is subtracted
    implicitly. float32 input is computed in float32, anything else in float64.

    Parameters
    ----------
    num_components
        Number of components to keep, at most the number of features; None keeps ``min(n_samples, n_features)``.
    algorithm_mode
        ``regular``: exact. ``randomized``: for many features; near the optimum, in less memory and time.
    extra_components
        ``randomized``: directions carried beyond num_components; -1 means ``max(10, num_components)``.
    subtract_mean
        Whether to centre the data.
    seed
        Start of the random numbers; the same seed gives the same model.

    Attributes
    ----------
    components_
        Shape (num_components, n_features), orthonormal rows, strongest first.
    singular_values_
        Shape (num_components,), of the centred data.
    explained_variance_
        Shape (num_components,), ``singular_values_**2 / (n_samples - 1)``.
    explained_variance_ratio_
        Shape (num_components,), shares of the total variance of the data.
    mean_
        Shape (n_features,); zeros where `subtract_mean` is false.
    n_components_
        Number of components kept.
    n_samples_
        Number of records seen.
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> from eigenline import PCA
    >>> X = np.array([[1.0, 2.0], [3.0, 6.1], [5.0, 9.9]])
    >>> PCA(num_components=1).fit(X).explained_variance_ratio_.round(4)
    array([0.9999])
    """

    @_without_keywords
    def __init__(
        self,
        num_components: int | None = None,
        *,
        algorithm_mode: str = "regular",
        extra_components: int = -1,
        subtract_mean: bool = True,
        seed: int = 0,
        **elsewhere: object,
    ) -> None:
        for name in elsewhere:
            hint = f"; here it is {_ELSEWHERE[name]}" if name in _ELSEWHERE else ""
            raise TypeError(f"PCA has no parameter {name!r}{hint}")
        self.num_components = num_components
        self.algorithm_mode = algorithm_mode
        self.extra_components = extra_components
        self.subtract_mean = subtract_mean
        self.seed = seed

    def fit(self, X: Any, y: Any = None) -> PCA:
        """Fit to records.

        Parameters
        ----------
        X
            Shape (n_samples, n_features), dense or sparse; float32 is computed in float32, all else in float64.
        y
            Ignored.
        """
        features = self._checked(X, reset=True)
        self._partial: tuple[FirstPass, Seen] | None = None
        records = RecordsHere([Batch(features)], block_bytes=BLOCK_BYTES)
        self._fit_records(records, self._plan(features.shape, features.dtype, _threads(features)))
        return self

    def _fit_records(self, records: Records, plan: Plan) -> None:
        """Fit to records anywhere, in blocks of `BLOCK_BYTES`."""
        generator = np.random.default_rng(self.seed)
        self._set(solve(records, plan, generator), plan, generator)

    def partial_fit(self, X: Any, y: Any = None) -> PCA:
        """Go on fitting with further records; after each call the model is that of all records so far.

        With few features the result is what `fit` on all records gives. Where the scatter matrix would not
        fit (`randomized` beyond 1,024 features), a single-pass Nystroem sketch takes its place: near the
        optimum for spectra that decay, since no record is seen twice.

        Records of the first call decide the default of `num_components`.

        Parameters
        ----------
        X
            Shape (n_samples, n_features), dense or sparse.
        y
            Ignored.
        """
        so_far: tuple[FirstPass, Seen] | None = getattr(self, "_partial", None)
        features = self._checked(X, reset=so_far is None)
        if so_far is None:
            plan = replace(self._plan(features.shape, features.dtype, _threads(features)), held_bytes=0)
            work = FirstPass.of(Batch(features), plan, np.random.default_rng(self.seed))
            so_far = work, work.begin()
        work, seen = so_far
        records = RecordsHere([Batch(features)], block_bytes=BLOCK_BYTES, first=seen.moments.count)
        self._partial = work, work.merge(seen, records.total(work))
        self._set(from_one_pass(*self._partial), work.plan, np.random.default_rng(self.seed))
        return self

    def transform(self, X: Any) -> NDArray[Any]:
        """Project records onto the components.

        Parameters
        ----------
        X
            Shape (n_samples, n_features), dense or sparse.

        Returns
        -------
        Shape (n_samples, num_components), strongest component first, in the precision of X.
        """
        check_is_fitted(self)
        features = self._checked(X, reset=False)
        components = self.components_.astype(features.dtype, copy=False).T
        shift = self.mean_.astype(features.dtype, copy=False) @ components
        projections: NDArray[Any] = np.asarray(features @ components) - shift
        return projections

    def inverse_transform(self, X: Any) -> NDArray[Any]:
        """Map projections back to records of the subspace.

        Parameters
        ----------
        X
            Shape (n_samples, num_components).

        Returns
        -------
        Shape (n_samples, n_features).
        """
        check_is_fitted(self)
        records: NDArray[Any] = np.asarray(X) @ self.components_ + self.mean_
        return records

    @property
    def model_(self) -> PCAModel:
        """The model as SageMaker's artifacts store it: float32, `regular` weakest first.

        ``eigenline.formats.artifact.write_artifact(pca.model_)`` gives the bytes of a ``model_algo-1`` file.
        """
        check_is_fitted(self)
        order = slice(None, None, -1 if self._settings.algorithm_mode == "regular" else 1)
        return PCAModel(
            np.ascontiguousarray(self.singular_values_[order], np.float32),
            np.ascontiguousarray(self.components_[order].T, np.float32),
            self.mean_.astype(np.float32) if self._settings.subtract_mean else None,
        )

    @property
    def _n_features_out(self) -> int:
        return int(self.components_.shape[0])

    def _plan(self, shape: tuple[int, ...], dtype: Any, threads: int) -> Plan:
        num_components = min(shape) if self.num_components is None else self.num_components
        try:
            self._settings: PCASettings = read_settings(
                {
                    "feature_dim": int(shape[1]),
                    "mini_batch_size": max(1, int(shape[0])),
                    "num_components": num_components,
                    "algorithm_mode": self.algorithm_mode,
                    "extra_components": self.extra_components,
                    "subtract_mean": self.subtract_mean,
                    "seed": self.seed,
                }
            )
        except UserError as error:
            raise ValueError(str(error)) from None
        if num_components > shape[1]:
            raise ValueError(f"num_components={num_components} must be at most n_features={shape[1]}")
        return make_plan(self._settings, np.float32 if dtype == np.float32 else np.float64, threads)

    def _checked(self, X: Any, *, reset: bool) -> Features:
        refuse_dask(self, X)
        checked = validate_data(
            self, X, reset=reset, accept_sparse="csr", dtype=[np.float64, np.float32], order="C"
        )
        if isinstance(checked, np.ndarray):
            return checked
        from scipy.sparse import csr_array

        return csr_array(checked)

    def _set(self, solution: Solution, plan: Plan, generator: np.random.Generator) -> None:
        pairs, seen = solution.decomposition, solution.moments
        k, precision = plan.num_components, plan.precision
        eigenvalues = np.zeros(k)
        eigenvalues[: len(pairs.eigenvalues)] = pairs.eigenvalues
        total = seen.total(plan.centred)
        self.components_ = np.ascontiguousarray(completed(pairs.components, k, generator).T, precision)
        self.singular_values_ = np.sqrt(eigenvalues).astype(precision)
        self.explained_variance_ = (eigenvalues / max(1, seen.count - 1)).astype(precision)
        self.explained_variance_ratio_ = (eigenvalues / total if total > 0 else eigenvalues).astype(precision)
        self.mean_ = (seen.mean if plan.centred else np.zeros_like(seen.mean)).astype(precision)
        self.n_components_ = k
        self.n_samples_ = seen.count

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _threads(features: Features) -> int:
    """Return the threads of products: those of dense records are BLAS's own."""
    return blas_threads() if is_sparse(features) else 1
