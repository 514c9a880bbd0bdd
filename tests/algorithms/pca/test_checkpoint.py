"""A training that was killed after any of its passes goes on to the very same model."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array

from eigenline.algorithms.batch import Batch
from eigenline.algorithms.pca.checkpoint import Checkpoint
from eigenline.algorithms.pca.settings import read_settings
from eigenline.algorithms.pca.training import Stage, TrainedPCA, train
from eigenline.algorithms.records import RecordsHere


class Channel:
    """Records that count how often they are read."""

    def __init__(self, features: Any) -> None:
        self.features = features
        self.passes = 0

    def __iter__(self) -> Iterator[Batch]:
        self.passes += 1
        for start in range(0, self.features.shape[0], 100):
            yield Batch(self.features[start : start + 100])


def run(channel: Channel, mode: str, resume: Checkpoint | None = None) -> tuple[TrainedPCA, list[Checkpoint]]:
    given = {"feature_dim": 1, "mini_batch_size": 100, "num_components": 4, "algorithm_mode": mode}
    states: list[Checkpoint] = []

    def observe(stage: Stage) -> None:
        if stage.checkpoint is not None:  # copied, as a file would: training goes on in the same memory
            states.append({name: array.copy() for name, array in stage.checkpoint.items()})

    trained = train(
        read_settings(given), RecordsHere(channel), np.random.default_rng(3), resume=resume, observe=observe
    )
    return trained, states


def assert_same(resumed: TrainedPCA, whole: TrainedPCA) -> None:
    for name in ("singular_values", "components", "mean"):
        np.testing.assert_array_equal(getattr(resumed.model, name), getattr(whole.model, name))
    assert resumed.total_variance == whole.total_variance
    assert (resumed.num_records, resumed.passes, resumed.method) == (
        whole.num_records,
        whole.passes,
        whole.method,
    )


@pytest.fixture
def nothing_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eigenline.algorithms.pca.solver_choice._HELD_BYTES", 0)


@pytest.mark.parametrize("mode", ["regular", "randomized"])
def test_one_pass_is_never_read_twice(rng: np.random.Generator, mode: str) -> None:
    channel = Channel(rng.standard_normal((300, 20)).astype(np.float32) + 3)
    whole, states = run(channel, mode)
    assert len(states) == 1
    resumed, _ = run(channel, mode, states[0])
    assert channel.passes == 1
    assert_same(resumed, whole)


@pytest.mark.usefixtures("nothing_held")
@pytest.mark.parametrize("kind", ["near", "far", "sparse", "rank-two"])
def test_each_pass_but_those_behind_it_is_read_again(rng: np.random.Generator, kind: str) -> None:
    features: NDArray[np.float32] = rng.standard_normal((1500, 1200), dtype=np.float32)
    features *= np.arange(1, 1201, dtype=np.float32) ** -0.3
    if kind == "rank-two":  # two of the four components are made up, and must be the same ones
        features = features[:, :2] @ features[:2]
    channel = Channel(
        {"far": features + np.float32(50), "sparse": csr_array(features * (features > 0.8))}.get(kind, features)
    )
    whole, states = run(channel, "randomized")
    assert len(states) == whole.passes == channel.passes > (0 if kind == "rank-two" else 3)
    for done, state in enumerate(states, 1):
        channel.passes = 0
        resumed, later = run(channel, "randomized", state)
        assert channel.passes == whole.passes - done
        assert len(later) == len(states) - done + 1
        assert_same(resumed, whole)


@pytest.mark.usefixtures("nothing_held")
def test_a_state_is_bounded_by_the_basis_and_not_by_the_records(rng: np.random.Generator) -> None:
    _, states = run(Channel(rng.standard_normal((2000, 1100), dtype=np.float32)), "randomized")
    block = 14  # num_components + max(10, num_components)
    largest = max(sum(array.nbytes for array in state.values()) for state in states)
    assert largest < 1100 * 4 * (7 * block) + 1_000_000
