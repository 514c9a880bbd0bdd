"""How the tests of PCA's solvers choose each one: limits that leave only one open."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from eigenline.algorithms.batch import Batch
from eigenline.algorithms.pca import training
from eigenline.algorithms.pca.solver_choice import Plan
from eigenline.algorithms.pca.training import Solution
from eigenline.algorithms.records import RecordsHere

PLAN = Plan(
    num_components=3,
    block_size=13,
    direct_features=0,
    direct_records=0,
    held_bytes=0,
    tolerance=1e-9,
    max_products=60,
    centred=True,
    precision=np.float64,
)
SOLVERS: dict[str, dict[str, Any]] = {
    "covariance_eigh": {"direct_features": 10_000},
    "gram_eigh": {"direct_records": 10_000, "held_bytes": 1 << 30},
    "krylov in memory": {"held_bytes": 1 << 30},
    "krylov over passes": {},
}
every_solver = pytest.mark.parametrize("solver", SOLVERS)


def never() -> bool:
    return False


def solve(batches: Any, solver: str, stopping: Any = never, **changes: Any) -> Solution:
    plan = replace(PLAN, **SOLVERS[solver], **changes)
    return training.solve(RecordsHere(batches, stopping=stopping), plan, np.random.default_rng(0))


def cut(features: Any, size: int) -> list[Batch]:
    return [Batch(features[i : i + size]) for i in range(0, features.shape[0], size)]
