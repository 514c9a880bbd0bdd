"""What all tests share: a clean environment, a seeded generator, and where reference data lie."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest

from examples.digits import BESIDE_THE_CHECKOUT
from examples.mnist import FILES, cache_folder

ROOT = Path(__file__).parents[1]

# No test may fail for want of speed: machines are small and busy, and on a new one hypothesis spends its first
# second on a table of Unicode.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")
# For `make mutants`, which wants to know that a test fails, not the smallest example.
hypothesis.settings.register_profile(
    "unshrunk",
    hypothesis.settings.get_profile("untimed"),
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    database=None,
)


@pytest.fixture(autouse=True)
def unchanged_environment() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20261120)


class ReferenceData:
    """What real SageMaker jobs wrote: a file from the first place that has it, or a skip where none has.

    `tests/data` holds what may be shipped; the rest lies beside the checkout, on some machines.
    """

    def __init__(self, *places: Path) -> None:
        self._places = places

    def __truediv__(self, name: str) -> "Path | ReferenceData":
        found = [place / name for place in self._places if (place / name).exists()]
        if not found:
            pytest.skip(f"{name} may not be shipped; tests/data/README.md says where it is found")
        return ReferenceData(*found) if found[0].is_dir() else found[0]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._places[0], name)

    def __fspath__(self) -> str:
        return str(self._places[0])

    __str__ = __fspath__


@pytest.fixture(scope="session")
def aws_data() -> ReferenceData:
    """Artifacts, losses and data of real SageMaker jobs."""
    return ReferenceData(ROOT / "tests" / "data" / "aws", ROOT.parent / "shared" / "data" / "aws")


@pytest.fixture(scope="session")
def mnist_folder() -> Path:
    """The four MNIST files: from MNIST_DIR, from beside the checkout, or where `make demo` keeps them."""
    places = (
        [Path(os.environ["MNIST_DIR"])] if "MNIST_DIR" in os.environ else [BESIDE_THE_CHECKOUT, cache_folder()]
    )
    for folder in places:
        if all((folder / file).is_file() for file in FILES):
            return folder
    pytest.skip("MNIST is not on this machine: `make demo` fetches it")


def environment_python(name: str) -> Path:
    """The interpreter of a tool's own environment, made by `make tools`; EIGENLINE_TOOLS names another folder."""
    folder = Path(os.environ.get("EIGENLINE_TOOLS", ROOT / "build")) / name
    if not (folder / ".ready").exists():
        pytest.skip(f"{name} is not in {folder}: run `make tools`")
    return folder / "bin" / "python"


@pytest.fixture(scope="session")
def sdk2_python() -> Path:
    """An interpreter with version 2 of SageMaker's SDK, which pins an older protobuf than ours."""
    return environment_python("sdk2")


@pytest.fixture(scope="session")
def sdk3_python() -> Path:
    """An interpreter with version 3 of SageMaker's SDK."""
    return environment_python("sdk3")


@pytest.fixture(scope="session")
def schemathesis_python() -> Path:
    """An interpreter with schemathesis, which pins an older version of what our own tests use."""
    return environment_python("schemathesis")


@pytest.fixture(scope="session")
def mxnet_python() -> Path:
    """An interpreter with MXNet 1.9, the retired library of the real artifacts, which needs an old numpy."""
    return environment_python("mxnet")
