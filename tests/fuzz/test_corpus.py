"""Every seed of the fuzz corpus, and every input that ever failed, through its target."""

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

SEEDS = sorted((Path(__file__).parent / "corpus").glob("*/*"))


@pytest.mark.parametrize("seed", SEEDS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_seed(seed: Path) -> None:
    TARGETS[seed.parent.name](seed.read_bytes())


def test_every_target_has_seeds() -> None:
    assert {seed.parent.name for seed in SEEDS} == set(TARGETS)
