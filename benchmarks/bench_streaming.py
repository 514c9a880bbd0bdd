"""A channel far larger than memory through a FIFO: generated, never stored; time and peak resident memory.

Run ``python -m benchmarks.bench_streaming [--gigabytes 20]``. The reader is a process of its own, as in Pipe mode.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from benchmarks.timing import print_machine, print_table
from eigenline import write_recordio

READER = """
import multiprocessing, os, re, sys
from pathlib import Path
from eigenline.formats.reading import read_batches
from eigenline.formats.machine_limits import cpu_quota

def peak(process):
    # Not ru_maxrss, which begins with what the parent process had.
    return int(re.search(r"VmHWM:\\s+([0-9]+)", Path(f"/proc/{process}/status").read_text())[1]) / 1024

records, total, workers = 0, 0.0, {}
with open(sys.argv[1], "rb", buffering=0) as fifo:
    batches = read_batches(
        fifo, sys.argv[2], name=sys.argv[1], labels="required", processes=max(1, int(cpu_quota()))
    )
    for batch in batches:
        records += len(batch)
        total += float(batch.labels.sum(dtype=float))
        workers = {child.pid: peak(child.pid) for child in multiprocessing.active_children()} or workers
print(records, total, peak(os.getpid()), sum(workers.values()))
"""


def stream(
    block: bytes, records: int, ones: int, content_type: str, gigabytes: float
) -> tuple[float, float, float]:
    """Send a block of records again and again; return GB/s and the peak resident MB of the reader and its workers.

    What the processes share is counted in each of them, so that the sum is more than they take together.
    """
    times = max(1, int(gigabytes * 1e9 / len(block)))
    with tempfile.TemporaryDirectory() as folder:
        fifo = Path(folder) / "train_0"
        os.mkfifo(fifo)
        start = time.perf_counter()
        command = [sys.executable, "-c", READER, str(fifo), content_type]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
            with open(fifo, "wb", buffering=0) as file:
                for _ in range(times):
                    view = memoryview(block)
                    while view:
                        view = view[file.write(view) :]
            output, _ = reader.communicate()
        seconds = time.perf_counter() - start
    found, total, peak, workers = output.split()
    assert int(found) == times * records
    assert float(total) == times * ones
    return times * len(block) / seconds / 1e9, float(peak), float(workers)


def main() -> None:
    """Stream dense, sparse and CSV channels and print how it went."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--gigabytes", type=float, default=20)
    gigabytes = parser.parse_args().gigabytes
    print_machine()
    rng = np.random.default_rng(0)
    dense = rng.random((5000, 784), np.float32)
    labels = rng.integers(0, 2, 5000).astype(np.float32)
    narrow = rng.random((100_000, 28), np.float32)
    flags = np.zeros(100_000, np.float32)
    sparse = csr_array(dense * (dense < 100 / 784))
    text = "".join(
        f"{int(label)}," + ",".join(f"{v:.4g}" for v in row) + "\n"
        for label, row in zip(labels.tolist(), dense.tolist(), strict=True)
    ).encode()
    ones = int(labels.sum())
    channels = {
        "recordIO, 784 dense": (write_recordio(dense, labels), 5000, ones, "protobuf", gigabytes),
        "recordIO, 28 dense": (write_recordio(narrow, flags), 100_000, 0, "protobuf", gigabytes / 5),
        "recordIO, sparse": (write_recordio(sparse, labels), 5000, ones, "protobuf", gigabytes / 10),
        "CSV, 785 columns": (text, 5000, ones, "text/csv", gigabytes / 5),
    }
    rows = []
    for name, (block, records, positive, content_type, size) in channels.items():
        speed, peak, workers = stream(block, records, positive, content_type, size)
        rows.append((name, f"{size:g} GB", speed, f"{peak:.0f}", f"{workers:.0f}"))
    header = ("channel", "size", "GB/s", "peak resident MB", "of its workers")
    print_table("channels through a FIFO", header, rows)


if __name__ == "__main__":
    main()
