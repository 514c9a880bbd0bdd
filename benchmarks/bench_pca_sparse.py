"""PCA of sparse records, never dense, beside the peers that can do it: variance captured and seconds."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from benchmarks.pca_candidates import candidates, captured_variance
from benchmarks.timing import interleaved, print_machine, print_table

NAMES = ["eigenline randomized", "scikit-learn arpack", "scipy svds", "documented AWS sketch"]
N, D, DENSITY = 100_000, 50_000, 0.001


def records(power: float) -> csr_array:
    """Random sparse records; column j holds a share of the values that falls with ``(j / D) ** (1 / power - 1)``.

    Power 1 spreads them evenly (a spectrum of noise); 3 makes few columns frequent and most rare, as words are.
    """
    rng = np.random.default_rng(20261120)
    count = int(N * D * DENSITY)
    rows = np.sort(rng.integers(0, N, count))
    columns = np.minimum((D * rng.random(count) ** power).astype(np.int64), D - 1)
    features = csr_array((rng.random(count, dtype=np.float32) + np.float32(0.5), (rows, columns)), shape=(N, D))
    features.sum_duplicates()
    return features


def main() -> None:
    """Print one table for each spectrum."""
    print_machine()
    for title, power, k, repeats in (
        ("word-like columns", 3.0, 10, 5),
        ("word-like columns", 3.0, 50, 3),
        ("even columns (noise)", 1.0, 10, 1),
    ):
        features = records(power)
        chosen = candidates(features, k, NAMES)
        seconds = interleaved(chosen, repeats)
        captured = {name: captured_variance(features, fit()) for name, fit in chosen.items()}
        best = max(captured.values())
        rows = [
            [
                name,
                f"{captured[name] / best:.6f}",
                f"{seconds[name]:.3f}",
                f"{seconds[name] / seconds[NAMES[0]]:.2f}x",
            ]
            for name in NAMES
        ]
        print_table(
            f"sparse {N:,} x {D:,}, {features.nnz:,} values, {title}, {k} components",
            ["method", "captured variance / best", "seconds", f"time / {NAMES[0]}"],
            rows,
        )


if __name__ == "__main__":
    main()
