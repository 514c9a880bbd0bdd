"""The Linear Learner walkthrough from `docker run` to exit: how much of it is training, and how much is not.

Peers: the same command without Docker, and the bare image (`docker run IMAGE true`), all in turn.
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.timing import print_machine, print_table
from eigenline import write_recordio
from examples.digits import load_digits
from examples.local_job import write_job

IMAGE = os.environ.get("EIGENLINE_IMAGE", "eigenline")
TRAIN = [sys.executable, "-m", "eigenline", "train"]
REPEATS = 3
LONG = "walkthrough"  # takes long enough to be measured once, without a warm-up


def _seconds(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Run a command; return its seconds in all, and those that the log says were the job's own."""
    start = time.perf_counter()
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    total = time.perf_counter() - start
    match = re.search(r"Done in ([0-9.]+) seconds", done.stdout)
    return total, float(match[1]) if match else 0.0


def main() -> None:
    """Print the table."""
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True).returncode
    ):
        print(f"No Docker engine, or no image {IMAGE!r} (make image): nothing was measured.")
        return
    print_machine()
    digits = load_digits()
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory() as name:
        folders = {LONG: Path(name) / "all", "200 records": Path(name) / "few"}
        is_zero = (digits.train_labels == 0).astype(np.float32)
        hyperparameters = {
            "feature_dim": str(digits.train_images.shape[1]),
            "predictor_type": "binary_classifier",
            "mini_batch_size": "200",
        }
        for job, folder in folders.items():
            count = len(is_zero) if job == LONG else 200
            write_job(
                folder, hyperparameters, {"train": write_recordio(digits.train_images[:count], is_zero[:count])}
            )
        candidates = {"docker run IMAGE true": (["docker", "run", "--rm", IMAGE, "true"], {})}
        for job, folder in folders.items():
            command = ["docker", "run", "--rm", f"--volume={folder}:/opt/ml", IMAGE, "train"]
            candidates[f"docker run IMAGE train, {job}"] = (command, {})
            candidates[f"train, {job}"] = (TRAIN, {"SAGEMAKER_BASE_DIR": str(folder)})
        measured: dict[str, list[tuple[float, float]]] = {candidate: [] for candidate in candidates}
        for turn in range(REPEATS + 1):
            for candidate, (command, environment) in candidates.items():
                if turn != 1 and LONG in candidate:
                    continue
                result = _seconds(command, environment)
                if turn:
                    measured[candidate].append(result)
    for candidate, results in measured.items():
        total = statistics.median(total for total, _ in results)
        job = statistics.median(job for _, job in results)
        rows.append([candidate, total, job or "", total - job])
    print_table(
        f"Seconds from start to exit, {digits.name}, median of {REPEATS} turns (the walkthrough: one)",
        ["command", "in all", "reading, training, saving", "the rest"],
        rows,
    )


if __name__ == "__main__":
    main()
