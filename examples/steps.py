"""Says what a walkthrough is doing and how long it took; and writes arrays as CSV text."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from examples.interrupts import interrupts


@dataclass
class Step:
    """One line of the walkthrough; `result` and `log` are shown beside its time."""

    result: str = ""
    log: Path | None = None


class Steps:
    """Prints a line for each step, with its seconds."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def title(self, text: str) -> None:
        """Begin a new part."""
        print(f"\n{text}\n", flush=True)

    @contextmanager
    def step(self, text: str) -> Iterator[Step]:
        """Time a block of work."""
        interrupts.check()
        step = Step()
        print(f"  {text} ... ", end="", flush=True)
        start = time.perf_counter()
        yield step
        notes = [f"{time.perf_counter() - start:.2f} s"]
        notes += [step.result] * bool(step.result) + [f"log: {step.log}"] * bool(step.log)
        print("   ".join(notes), flush=True)
        interrupts.check()

    def total(self) -> float:
        """Seconds since the first line."""
        return time.perf_counter() - self._start


def csv_text(rows: NDArray[np.floating]) -> bytes:
    """Write rows as CSV. Pixels take few values, so each value is formatted once and then looked up."""
    values, places = np.unique(rows, return_inverse=True)
    texts = [repr(value) for value in values.tolist()]
    return "\n".join(
        ",".join([texts[place] for place in row]) for row in places.reshape(rows.shape).tolist()
    ).encode()
