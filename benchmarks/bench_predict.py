"""`eigenline predict` on a large CSV file: time beside the reader's alone, and peak memory of all its processes.

Run ``python -m benchmarks.bench_predict [--megabytes 1000]``. Each run is a process of its own, in turn with the
others, and so is the reader: the file read as `predict` reads it, in as many processes, and nothing done with it.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from benchmarks.timing import print_machine, print_table

_READER = """
import sys
from eigenline.formats.reading import read_batches
from eigenline.formats.machine_limits import cpu_quota
with open(sys.argv[1], "rb") as file:
    kind = "text/csv;label_size=0;header=present"
    print(sum(len(batch) for batch in read_batches(file, kind, name="x", processes=max(1, int(cpu_quota())))))
"""
_PEERS = """
import sys
import pandas
rows = 0
for chunk in pandas.read_csv(sys.argv[1], chunksize=100_000, dtype="float32"):
    rows += len(chunk)
print(rows)
"""


def write_file(path: Path, num_bytes: int, columns: int = 20) -> None:
    """Write random numbers of five decimals under names, the last column a label."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50_000, columns))
    y = X[:, 0] - X[:, 1] > 0
    line = ",".join(["%.5f"] * columns)
    block = "".join(f"{line % tuple(row)},{int(label)}\n" for row, label in zip(X.tolist(), y, strict=True))
    with path.open("w") as file:
        file.write(",".join([f"x{number}" for number in range(columns)] + ["y"]) + "\n")
        while file.tell() < num_bytes:
            file.write(block)


def peak_of(pid: int, ended: threading.Event) -> int:
    """Return the most bytes that a process and its children held together, shared pages counted once (PSS)."""
    most = 0
    while not ended.wait(0.1):
        total = 0
        for child in [pid, *_children(pid)]:
            try:
                lines = Path(f"/proc/{child}/smaps_rollup").read_text().splitlines()
            except OSError:
                continue
            # pages of the file that is read are the system's, not ours
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss_Anon:"))
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss_Shmem:"))
        most = max(most, total << 10)
    return most


def _children(pid: int) -> list[int]:
    try:
        return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def run(arguments: list[str]) -> tuple[float, int]:
    """Run a process; return its seconds and its peak of bytes."""
    began = time.perf_counter()
    found: list[int] = []
    ended = threading.Event()
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        watch = threading.Thread(target=lambda: found.append(peak_of(process.pid, ended)))
        watch.start()
        code = process.wait()
        seconds = time.perf_counter() - began
        ended.set()
        watch.join()
    if code:
        raise SystemExit(f"{arguments} ended with exit code {code}")
    return seconds, found[0]


def main() -> None:
    """Print a table: the reader, `predict`, `predict --join`, and pandas' reader."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print_machine()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        big, small = folder / "big.csv", folder / "small.csv"
        write_file(big, options.megabytes * 1_000_000)
        write_file(small, 1000)
        model = str(folder / "model")
        train = [sys.executable, "-m", "eigenline", "train", str(small), "--target", "y", "-o", model]
        subprocess.run(train, check=True, stdout=subprocess.DEVNULL)
        python, verb = [sys.executable, "-c"], [sys.executable, "-m", "eigenline", "predict", model, str(big)]
        runs = {
            "the reader alone": [*python, _READER, str(big)],
            "predict": [*verb, "-o", str(folder / "out.csv")],
            "predict --join": [*verb, "--join", "-o", str(folder / "out.csv")],
        }
        if importlib.util.find_spec("pandas"):
            runs["pandas' reader alone"] = [*python, _PEERS, str(big)]
        seconds: dict[str, list[float]] = {key: [] for key in runs}
        peaks: dict[str, int] = dict.fromkeys(runs, 0)
        for _ in range(options.rounds):
            for key, arguments in runs.items():
                taken, peak = run(arguments)
                seconds[key].append(taken)
                peaks[key] = max(peaks[key], peak)
        first = float(np.median(seconds["the reader alone"]))
        rows = [
            [key, f"{np.median(found):.1f} s", f"{np.median(found) / first:.2f}", f"{peaks[key] / 1e6:.0f} MB"]
            for key, found in seconds.items()
        ]
        print_table(f"{options.megabytes:,} MB of CSV, 21 columns", ["", "median", "of the reader", "peak"], rows)


if __name__ == "__main__":
    main()
