"""Fair timing on small, noisy machines: candidates take turns, medians and ratios are printed."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np


def interleaved(candidates: Mapping[str, Callable[[], Any]], repeats: int = 5) -> dict[str, float]:
    """Run all candidates in turn, `repeats` times over, and return each one's median seconds.

    One untimed round comes first, so that imports, page caches and thread pools are warm for everybody.
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for round_number in range(repeats + 1):
        for name, run in candidates.items():
            start = time.perf_counter()
            run()
            if round_number:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows as an aligned Markdown table under a title."""
    texts = [[f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(header), *texts]) for i in range(len(header))]
    print(f"\n### {title}\n")
    for row in [list(header), ["-" * width for width in widths], *texts]:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")


def print_machine() -> None:
    """Print what the figures were measured on."""
    import os

    cpu = platform.processor() or platform.machine()
    with open("/proc/cpuinfo") as lines:
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    threads = os.environ.get("OPENBLAS_NUM_THREADS", "default")
    print(
        f"{names[0] if names else cpu}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"numpy {np.__version__}, BLAS threads: {threads}"
    )
