"""Kill and resume: SIGKILL at random moments of a job, then the same command again, and the bytes compared.

Both algorithms in both of their ways. A job is killed at random moments of what it takes and started again; its

    python -m benchmarks.bench_kills [kills]
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.timing import print_machine, print_table
from eigenline import write_recordio
from examples.local_job import write_job

JOBS = {
    "PCA, regular": {"num_components": "3", "feature_dim": "400", "mini_batch_size": "100"},
    "PCA, randomized": {
        "num_components": "3", "feature_dim": "400", "mini_batch_size": "100", "algorithm_mode": "randomized"
    },
    "Linear Learner, best": {"predictor_type": "binary_classifier"},
    "Linear Learner, aws": {"predictor_type": "binary_classifier", "compatibility": "aws", "epochs": "4"},
}  # fmt: skip
KILLS = 200
_MOST_KILLS_OF_ONE_JOB = 3


def _start(folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "eigenline", "train"],
            env=os.environ | {"SAGEMAKER_BASE_DIR": str(folder)},
            stdout=log,
            stderr=log,
        )


def _killed_job(folder: Path, seconds: float, generator: np.random.Generator, most: int) -> tuple[int, bytes]:
    """Kill a job at up to `most` random moments; return how many of them it was alive at, and its artifact."""
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    (folder / "checkpoints").mkdir()
    kills = 0
    for _ in range(most):
        shutil.rmtree(folder / "model", ignore_errors=True)
        process = _start(folder)
        time.sleep(generator.uniform(0, seconds))
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        kills += process.wait() != 0
    process = _start(folder)
    if process.wait():
        raise RuntimeError((folder / "log").read_text()[-2000:])
    return kills, (folder / "model" / "model_algo-1").read_bytes()


def main() -> None:
    """Print for each kind of job how many kills it survived, and how many artifacts differed."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else KILLS
    print_machine()
    generator = np.random.default_rng(0)
    features = generator.normal(size=(20_000, 400)).astype(np.float32)
    labels = (features[:, 0] + 0.5 * generator.normal(size=len(features)) > 0).astype(np.float32)
    rows = []
    for name, hyperparameters in JOBS.items():
        with tempfile.TemporaryDirectory() as root:
            folder = Path(root)
            write_job(folder, hyperparameters, {"train": write_recordio(features, labels)})
            began = time.perf_counter()
            if _start(folder).wait():
                raise RuntimeError((folder / "log").read_text()[-2000:])
            seconds = time.perf_counter() - began
            expected = (folder / "model" / "model_algo-1").read_bytes()
            kills = jobs = other = 0
            while kills < wanted / len(JOBS):
                count, artifact = _killed_job(folder, seconds, generator, _MOST_KILLS_OF_ONE_JOB)
                kills, jobs, other = kills + count, jobs + 1, other + (artifact != expected)
            rows.append([name, f"{seconds:.2f}", kills, jobs, other])
    print_table("Killed and resumed", ["job", "seconds", "kills", "jobs", "other bytes"], rows)


if __name__ == "__main__":
    main()
