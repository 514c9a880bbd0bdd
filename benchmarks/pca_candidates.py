"""PCA implementations under one face: records in, components and mean out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Batch
from eigenline.algorithms.pca.blocks import BLOCK_BYTES
from eigenline.algorithms.pca.settings import read_settings
from eigenline.algorithms.pca.training import TrainedPCA, train
from eigenline.algorithms.records import RecordsHere

READ_BYTES = 32 << 20  # what the channel readers hand out at a time


@dataclass(frozen=True)
class Fitted:
    """Components as rows, strongest first or not."""

    components: NDArray[Any]


Candidate = Callable[[], Fitted]


class Blocks:
    """A channel: each pass hands out the records in blocks, as views; sparse ones, whose slices copy, in one."""

    def __init__(self, features: Any) -> None:
        self._features = features
        dense = isinstance(features, np.ndarray)
        width = features.shape[1] * features.dtype.itemsize
        self._rows = max(1, READ_BYTES // width) if dense else features.shape[0]

    def __iter__(self) -> Iterator[Batch]:
        if self._rows >= self._features.shape[0]:
            yield Batch(self._features)
            return
        for start in range(0, self._features.shape[0], self._rows):
            yield Batch(self._features[start : start + self._rows])


def fit_ours(features: Any, k: int, mode: str, threads: int = 2) -> TrainedPCA:
    """Train as the `train` command does, from blocks of records."""
    given = {"feature_dim": features.shape[1], "mini_batch_size": 500, "num_components": k, "algorithm_mode": mode}
    records = RecordsHere(Blocks(features), block_bytes=BLOCK_BYTES)
    return train(read_settings(given), records, np.random.default_rng(0), threads=threads)


def ours(features: Any, k: int, mode: str) -> Fitted:
    """Train with this project."""
    return Fitted(fit_ours(features, k, mode).model.components.T)


def scikit_learn(features: Any, k: int, solver: str) -> Fitted:
    """Fit scikit-learn's PCA."""
    from sklearn import decomposition

    return Fitted(decomposition.PCA(k, svd_solver=solver, random_state=0).fit(features).components_)


def incremental(features: Any, k: int, batch_size: int = 500) -> Fitted:
    """Fit scikit-learn's IncrementalPCA."""
    from sklearn import decomposition

    return Fitted(decomposition.IncrementalPCA(k, batch_size=batch_size).fit(features).components_)


def facebook(features: Any, k: int) -> Fitted:
    """Fit fbpca with its default of two iterations."""
    import fbpca

    return Fitted(fbpca.pca(features, k, raw=False)[2])


def svds(features: Any, k: int) -> Fitted:
    """Fit scipy's ARPACK singular value decomposition of the implicitly centred records."""
    from scipy.sparse import linalg

    mean = np.asarray(features.mean(axis=0)).ravel().astype(features.dtype)
    operator = linalg.LinearOperator(
        features.shape,
        dtype=features.dtype,
        matvec=lambda v: features @ v.ravel() - mean @ v.ravel(),
        rmatvec=lambda u: features.T @ u.ravel() - mean * u.sum(),
        matmat=lambda block: features @ block - mean @ block,
        rmatmat=lambda block: features.T @ block - np.outer(mean, block.sum(axis=0)),
    )
    return Fitted(linalg.svds(operator, k=k, rng=np.random.default_rng(0))[2])


def documented_sketch(features: Any, k: int, mini_batch_size: int = 500) -> Fitted:
    """Fit the one-pass sketch that SageMaker documents for `randomized`.

    ``B = sum H_t X_t`` with random signs H_t, ``h = sum of the columns of all H_t``, ``s = sum of the records``;
    components are the right singular vectors of ``B - h' s / n``. Source: *How PCA Works*.
    """
    rng = np.random.default_rng(0)
    n, d = features.shape
    size = k + max(10, k)
    sketch, signs_sum, sums = np.zeros((size, d)), np.zeros(size), np.zeros(d)
    for start in range(0, n, mini_batch_size):
        batch = features[start : start + mini_batch_size].astype(np.float32, copy=False)
        signs = rng.integers(0, 2, (size, batch.shape[0])).astype(np.float32) * 2 - 1
        sketch += np.asarray((batch.T @ signs.T).T)
        signs_sum += signs.sum(axis=1)
        sums += np.asarray(batch.sum(axis=0, dtype=np.float64)).ravel()
    sketch -= np.outer(signs_sum, sums / n)
    return Fitted(np.linalg.svd(sketch, full_matrices=False)[2][:k])


def captured_variance(features: Any, fitted: Fitted) -> float:
    """Sum of squares of the centred records along the components, made orthonormal first, in float64."""
    basis = np.linalg.qr(fitted.components.T.astype(np.float64))[0]
    shift = np.asarray(features.mean(axis=0, dtype=np.float64)).ravel() @ basis
    total = 0.0
    for start in range(0, features.shape[0], 2000):
        block = features[start : start + 2000].astype(np.float64)
        total += float(np.square(block @ basis - shift).sum())
    return total


def candidates(features: Any, k: int, names: list[str]) -> dict[str, Candidate]:
    """Bind the named candidates to a data set."""
    known: dict[str, Candidate] = {
        "eigenline regular": partial(ours, features, k, "regular"),
        "eigenline randomized": partial(ours, features, k, "randomized"),
        "scikit-learn randomized": partial(scikit_learn, features, k, "randomized"),
        "scikit-learn covariance_eigh": partial(scikit_learn, features, k, "covariance_eigh"),
        "scikit-learn arpack": partial(scikit_learn, features, k, "arpack"),
        "scikit-learn IncrementalPCA": partial(incremental, features, k),
        "fbpca": partial(facebook, features, k),
        "scipy svds": partial(svds, features, k),
        "documented AWS sketch": partial(documented_sketch, features, k),
    }
    return {name: known[name] for name in names}
