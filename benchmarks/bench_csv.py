"""CSV to float32 arrays beside numpy.loadtxt, pandas, pyarrow and polars: large files, and requests of a few rows.

Run ``python -m benchmarks.bench_csv [--rows N]``. Each reader of files works in fresh processes, in turn with the
others, as a training job reads in a process of its own: in one process, what some leave behind (threads, gigabytes
of memory) is paid for by others. Peak memory is what reading added, worker processes included.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import mmap
import multiprocessing
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import interleaved, print_machine, print_table
from eigenline import write_recordio
from eigenline.formats.content_types import parse_content_type
from eigenline.formats.machine_limits import cpu_quota
from eigenline.formats.reading import read_batches
from eigenline.formats.requests import read_features

UNLABELLED = "text/csv;label_size=0"


def read_ours(path: str, processes: int = int(cpu_quota())) -> Any:
    """Read as training does: a mapped file, block by block, parsed on all cores."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        batches = read_batches(content, UNLABELLED, name="data.csv", processes=processes)
        return [batch.features for batch in batches]


def read_ours_alone(path: str) -> Any:
    """Read in one process."""
    return read_ours(path, 1)


def read_loadtxt(path: str) -> Any:
    """Read with numpy."""
    return np.loadtxt(path, np.float32, delimiter=",", ndmin=2)


def read_pandas(path: str) -> Any:
    """Read with pandas' C parser."""
    import pandas

    return pandas.read_csv(path, header=None, dtype=np.float32, engine="c").to_numpy()


def read_pyarrow(path: str) -> Any:
    """Read with pyarrow, on all cores."""
    import pyarrow.csv

    options = pyarrow.csv.ReadOptions(autogenerate_column_names=True)
    table = pyarrow.csv.read_csv(path, read_options=options)
    return np.column_stack([np.asarray(column, np.float32) for column in table.columns])


def read_polars(path: str) -> Any:
    """Read with polars, on all cores."""
    import polars

    return polars.read_csv(path, has_header=False).cast(polars.Float32).to_numpy()


READERS: dict[str, Callable[[str], Any]] = {
    "ours, all cores": read_ours,
    "ours, one process": read_ours_alone,
    "numpy.loadtxt": read_loadtxt,
    "pandas": read_pandas,
    "pyarrow": read_pyarrow,
    "polars": read_polars,
}


def measure(reader: str, path: Path) -> tuple[float, float]:
    """Return the median seconds of a reading, and the peak megabytes that it adds, in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.bench_csv", "--measure", reader, str(path)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(printed[0]), float(printed[1])


def print_measured(reader: str, path: str) -> None:
    """Print seconds, and by how many MB the process and its workers grew at most."""
    small = Path(path).with_suffix(".small")
    small.write_bytes(b"1,2\n3,4\n")
    READERS[reader](str(small))  # imports and pools are not the file's cost
    peak = _peak_growth(lambda: READERS[reader](path))
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        READERS[reader](path)
        seconds.append(time.perf_counter() - start)
    print(statistics.median(seconds), peak)


def _peak_growth(read: Callable[[], Any]) -> float:
    """Return by how many MB this process and its workers grow at most while something is read."""
    before, before_all = _peak_kilobytes(), _shared_out_kilobytes()
    samples, done = [0], threading.Event()

    def sample() -> None:
        while not done.wait(0.005):
            samples.append(_shared_out_kilobytes() - before_all)

    sampler = threading.Thread(target=sample)
    sampler.start()
    read()
    done.set()
    sampler.join()
    return max(_peak_kilobytes() - before, *samples) / 1024


def _peak_kilobytes() -> int:
    # Not ru_maxrss, which begins with what the parent process had.
    found = re.search(r"VmHWM:\s+([0-9]+)", Path("/proc/self/status").read_text())
    assert found
    return int(found[1])


def _shared_out_kilobytes() -> int:
    """Return the memory of this process and its children now; what n processes share counts 1/n in each."""
    total = 0
    for process in (os.getpid(), *(child.pid for child in multiprocessing.active_children())):
        with contextlib.suppress(OSError):  # it has just ended
            found = re.search(r"Pss:\s+([0-9]+)", Path(f"/proc/{process}/smaps_rollup").read_text())
            total += int(found[1]) if found else 0
    return total


def compare_files(title: str, values: Any, form: str, folder: Path, repeats: int) -> None:
    """Print one table for one kind of file."""
    path = folder / "data.csv"
    np.savetxt(path, values, form, ",")
    for name, reader in READERS.items():
        found = np.concatenate(reader(str(path))) if name.startswith("ours") else reader(str(path))
        np.testing.assert_allclose(found, values, rtol=1e-5, atol=1e-5, err_msg=name)
        del found
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in READERS}
    for _ in range(repeats):
        for name, runs in measured.items():
            runs.append(measure(name, path))
    size = path.stat().st_size / 1e6
    seconds, peaks = (
        {name: statistics.median(run[which] for run in runs) for name, runs in measured.items()}
        for which in (0, 1)
    )
    rows = [
        (name, s, size / s, s / seconds["ours, all cores"], f"{peaks[name]:.0f}") for name, s in seconds.items()
    ]
    print_table(f"{title}, {size:.0f} MB", ("reader", "seconds", "MB/s", "times ours", "peak MB"), rows)


def compare_requests(rows: int, columns: int, repeats: int) -> None:
    """Print one table for request bodies."""
    import orjson
    import pandas

    values = np.random.default_rng(1).random((rows, columns), np.float32)
    buffer = io.BytesIO()
    np.savetxt(buffer, values, "%.6g", ",")
    text = buffer.getvalue()
    document = json.dumps({"instances": [{"features": row} for row in values.tolist()]}).encode()
    frames = write_recordio(values)
    csv, js, rec = (parse_content_type(name) for name in ("csv", "json", "protobuf"))
    batch = max(1, 200 // rows)

    def many(run: Callable[[], Any]) -> Callable[[], Any]:
        return lambda: [run() for _ in range(batch)]

    def json_rows(load: Callable[[bytes], Any]) -> Any:
        return np.array([instance["features"] for instance in load(document)["instances"]], np.float32)

    candidates = {
        "CSV, ours": many(lambda: read_features(text, csv, columns)),
        "CSV, numpy.loadtxt": many(lambda: np.loadtxt(io.BytesIO(text), np.float32, delimiter=",", ndmin=2)),
        "CSV, pandas": many(lambda: pandas.read_csv(io.BytesIO(text), header=None, dtype=np.float32).to_numpy()),
        "JSON, ours": many(lambda: read_features(document, js, columns)),
        "JSON, json module": many(lambda: json_rows(json.loads)),
        "JSON, orjson": many(lambda: json_rows(orjson.loads)),
        "recordIO, ours": many(lambda: read_features(frames, rec, columns)),
    }
    seconds = interleaved(candidates, repeats)
    table = []
    for name, s in seconds.items():
        own = seconds[f"{name.split(',')[0]}, ours"]
        table.append((name, s / batch * 1e6, s / own))
    print_table(f"requests of {rows} x {columns}", ("reader", "microseconds", "times ours"), table)


def main() -> None:
    """Print tables for large files and for requests."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure", nargs=2, metavar=("READER", "PATH"))
    arguments = parser.parse_args()
    if arguments.measure:
        print_measured(*arguments.measure)
        return
    print_machine()
    for rows in (1, 100):
        compare_requests(rows, 784, 15)
    rng = np.random.default_rng(0)
    # Like pictures: four cells of five are zero, the others 1 to 255.
    pixels = rng.integers(1, 256, (arguments.rows, 784)) * (rng.random((arguments.rows, 784)) < 0.2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compare_files(f"integers like pictures, {arguments.rows} x 784", pixels, "%d", folder, arguments.repeats)
        compare_files(f"the same / 255, {arguments.rows} x 784", pixels / 255, "%.9g", folder, arguments.repeats)
        values = rng.standard_normal((arguments.rows * 10, 20))
        compare_files(f"numbers, {arguments.rows * 10} x 20", values, "%.6g", folder, arguments.repeats)


if __name__ == "__main__":
    main()
