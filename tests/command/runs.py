"""The command as a person runs it, a process of its own, and the files they have."""

import csv
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Run = Callable[..., subprocess.CompletedProcess[str]]


def command(*arguments: str, folder: Path, given: bytes | None = None, env: dict[str, str] | None = None) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "eigenline", *arguments],
        cwd=folder,
        input=given,
        stdin=subprocess.DEVNULL if given is None else None,
        capture_output=True,
        env={**os.environ, **(env or {})},
        timeout=300,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def write_csv(path: Path, names: Sequence[str], rows: Any) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows(rows)
    return path


def read_csv(path: Path) -> tuple[list[str], list[list[str]]]:
    with path.open(newline="", encoding="utf-8") as file:
        names, *rows = csv.reader(file)
    return names, rows


def people(count: int, seed: int = 0) -> tuple[list[str], list[list[Any]]]:
    """Rows with numbers, a text column, gaps and a text label that depends on them."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        age, income = int(rng.integers(18, 80)), float(np.round(rng.normal(30, 8), 3))
        city = str(rng.choice(["Oslo", "Rome", "Kyiv"]))
        bought = income + (6 if city == "Rome" else 0) + rng.normal() > 32
        shown = "" if rng.random() < 0.05 else age
        rows.append([f"c{number:05d}", shown, income, city, "yes" if bought else "no"])
    return ["customer", "age", "income", "city", "bought"], rows


def linear_table(count: int, seed: int = 0, decimals: int = 5) -> tuple[list[str], np.ndarray]:
    """Numbers only: y is a linear function of a, b and c with little noise."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, 3)) * [1, 10, 0.1] + [0, 5, 1]
    label = features @ [2.0, -0.3, 20.0] + 4 + 0.05 * rng.normal(size=count)
    return ["a", "b", "c", "y"], np.column_stack([features, label]).round(decimals)
