"""PCA beside its peers: variance captured and seconds, on data of every shape."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.pca_candidates import candidates, captured_variance
from benchmarks.timing import interleaved, print_machine, print_table
from examples.digits import load_digits

OURS = ["eigenline randomized", "eigenline regular"]
FAST = ["scikit-learn randomized", "fbpca", "documented AWS sketch"]
INCREMENTAL = "scikit-learn IncrementalPCA"
EVERY = [
    "scikit-learn randomized",
    "scikit-learn arpack",
    "fbpca",
    "scipy svds",
    "documented AWS sketch",
]


@dataclass(frozen=True)
class Case:
    """A data set, and who takes part on it."""

    title: str
    make: Callable[[], NDArray[Any]]
    names: list[str]
    num_components: int = 10
    once: tuple[str, ...] = ()  # slow ones: a single run, after the others


def images() -> NDArray[np.float32]:
    """Digits, a row an image."""
    return load_digits().train_images


def pixels() -> NDArray[np.float64]:
    """Digits, a row a pixel, as the walkthrough trains on them."""
    return np.ascontiguousarray(images().T, np.float64)


def decaying(n: int, d: int, power: float) -> Callable[[], NDArray[np.float32]]:
    """Gaussian records whose standard deviations fall like ``1 / i**power``, turned by a random reflection."""

    def make() -> NDArray[np.float32]:
        rng = np.random.default_rng(20261120)
        features = rng.standard_normal((n, d), dtype=np.float32)
        features *= (np.arange(1, d + 1) ** -power).astype(np.float32)
        normal = rng.standard_normal(d, dtype=np.float32)
        normal /= np.linalg.norm(normal)
        features -= np.outer(2 * (features @ normal), normal)
        return features

    return make


CASES = [
    Case("MNIST transposed, 784 x 50,000 float64 (the walkthrough)", pixels, OURS + EVERY, once=(INCREMENTAL,)),
    Case("the same, 50 components", pixels, [*OURS, *FAST], 50),
    Case(
        "MNIST, 50,000 x 784 float32", images, [*OURS, "scikit-learn covariance_eigh", *EVERY], once=(INCREMENTAL,)
    ),
    Case(
        "1,000,000 x 100 float32",
        decaying(1_000_000, 100, 0.5),
        [*OURS, "scikit-learn covariance_eigh", *FAST],
    ),
    Case(
        "slow decay, 20,000 x 5,000 float32",
        decaying(20_000, 5_000, 0.5),
        [OURS[0], *FAST],
        once=("scikit-learn covariance_eigh",),
    ),
    Case("noise, 20,000 x 2,000 float32", decaying(20_000, 2_000, 0.0), [*OURS, *FAST]),
]


def main() -> None:
    """Print one table for each data set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="run the cases whose title contains this text")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    print_machine()
    for case in CASES:
        if arguments.only in case.title:
            run(case, arguments.repeats)


def run(case: Case, repeats: int) -> None:
    """Time all candidates of a case in turn and print what they captured."""
    features = case.make()
    chosen = candidates(features, case.num_components, case.names)
    seconds = interleaved(chosen, repeats)
    captured = {name: captured_variance(features, fit()) for name, fit in chosen.items()}
    for name, fit in candidates(features, case.num_components, list(case.once)).items():
        start = time.perf_counter()
        fitted = fit()
        seconds[name] = time.perf_counter() - start
        captured[name] = captured_variance(features, fitted)
    best = max(captured.values())
    reference = seconds[case.names[0]]
    rows = [
        [name, f"{captured[name] / best:.6f}", f"{seconds[name]:.3f}", f"{seconds[name] / reference:.2f}x"]
        for name in [*case.names, *case.once]
    ]
    header = ["method", "captured variance / best", "seconds", f"time / {case.names[0]}"]
    print_table(f"{case.title}, {case.num_components} components", header, rows)


if __name__ == "__main__":
    main()
