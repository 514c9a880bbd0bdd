"""How the tests of PCA's routes take each one: limits that leave only one way open."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from eigenline.algorithms.batch import Batch
from eigenline.algorithms.pca import routes
from eigenline.algorithms.pca.plan import Plan, Progress, Solution
from eigenline.algorithms.pca.training import never

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
ROUTES: dict[str, dict[str, Any]] = {
    "features": {"direct_features": 10_000},
    "records": {"direct_records": 10_000, "held_bytes": 1 << 30},
    "memory": {"held_bytes": 1 << 30},
    "channel": {},
}
every_route = pytest.mark.parametrize("route", ROUTES)


def solve(batches: Any, route: str, stopping: Any = never, **changes: Any) -> Solution:
    return finished(
        routes.solve(batches, replace(PLAN, **ROUTES[route], **changes), np.random.default_rng(0), stopping)
    )


def finished(steps: Any) -> Any:
    while True:
        try:
            assert isinstance(next(steps), Progress)
        except StopIteration as end:
            return end.value


def cut(features: Any, size: int) -> list[Batch]:
    return [Batch(features[i : i + size]) for i in range(0, features.shape[0], size)]
