"""Batches on their way into the moments: refused where they do not fit or are not finite, with the place named."""

from __future__ import annotations

import numpy as np

from eigenline.algorithms.batch import Batch, is_sparse
from eigenline.algorithms.errors import DataError
from eigenline.algorithms.pca import moments
from eigenline.algorithms.pca.moments import Moments
from eigenline.algorithms.pca.plan import Plan


def counted(state: Moments, batch: Batch, plan: Plan) -> Moments:
    """Add a batch to the moments, once it is known to fit and to be finite."""
    if batch.feature_dim != len(state.sums):
        raise DataError(
            f"The train channel: after {state.count} records of {len(state.sums)} features come records of "
            f"{batch.feature_dim}. Expected the same number everywhere."
        )
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is an error that names its place
        added = moments.update(state, batch.features, plan.precision)
    if not np.isfinite(added.squares):
        raise DataError(_not_finite(state.count, batch, plan))
    return added


def _not_finite(before: int, batch: Batch, plan: Plan) -> str:
    """Word the error for a batch whose sum of squares is not finite: name record, feature and value."""
    limit = float(np.sqrt(np.finfo(plan.precision).max / max(1, batch.features.size)))
    features = batch.features
    if is_sparse(features):
        places = np.flatnonzero(~(np.abs(features.data) < limit))[:1]
        record = np.searchsorted(features.indptr, places, side="right") - 1
        column, value = features.indices[places].astype(np.intp), features.data[places]
    else:
        values = np.asarray(features)
        record, column = (indices[:1] for indices in np.nonzero(~(np.abs(values) < limit)))
        value = values[record, column]
    if not len(value):
        return "The train channel: values are too large to be squared. Expected smaller ones; scale the features."
    return (
        f"The train channel: record {before + int(record[0]) + 1}, feature {int(column[0]) + 1} is {value[0]!s}. "
        f"Expected a finite number of magnitude below {limit:.1g}; fill missing values before training."
    )
