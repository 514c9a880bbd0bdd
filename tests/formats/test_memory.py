"""Memory is bounded by the block: channels much larger than it stream through a small process."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from eigenline import write_recordio

READER = """
import multiprocessing, os, re, sys
from pathlib import Path
from eigenline.formats.reading import read_batches

def peak(pid):
    return int(re.search(r"VmHWM:\\s+([0-9]+)", Path(f"/proc/{pid}/status").read_text())[1]) // 1024

records, workers = 0, {}
with open(sys.argv[1], "rb", buffering=0) as fifo:
    for batch in read_batches(fifo, sys.argv[2], name="train_0", processes=int(sys.argv[3])):
        records += len(batch)
        workers = {child.pid: peak(child.pid) for child in multiprocessing.active_children()} or workers
# What they share is counted in each.
print(records, peak(os.getpid()) + sum(workers.values()), len(workers))
"""


def send(path, block, times):
    with open(path, "wb", buffering=0) as fifo:
        for _ in range(times):
            view = memoryview(block)
            while view:
                view = view[fifo.write(view) :]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dense", "narrow", "sparse", "csv", "csv, 2 workers"])
def test_a_fifo_of_hundreds_of_megabytes_fits_in_a_small_process(rng, tmp_path, kind):
    fifo = tmp_path / "train_0"
    os.mkfifo(fifo)
    rows, columns = (20_000, 8) if kind == "narrow" else (2_000, 784)
    features = rng.integers(0, 9, (rows, columns)).astype(np.float32)
    is_csv, workers = kind.startswith("csv"), 2 * kind.endswith("workers")
    if is_csv:
        block = "".join(",".join(map(str, row)) + "\n" for row in features.astype(int).tolist()).encode()
    elif kind == "sparse":
        from scipy.sparse import csr_array

        block = write_recordio(csr_array(features * (features == 1)))
    else:
        block = write_recordio(features)
    times = 1 + (300 << 20) // len(block)
    sender = threading.Thread(target=send, args=(fifo, block, times))
    sender.start()
    content_type = "text/csv" if is_csv else "application/x-recordio-protobuf"
    command = [sys.executable, "-c", READER, str(fifo), content_type, str(max(1, workers))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    sender.join()
    records, peak_megabytes, found_workers = map(int, done.stdout.split())
    assert (records, found_workers) == (times * rows, workers)
    assert peak_megabytes < 300


def test_one_record_longer_than_the_block(rng):
    import io

    from eigenline.formats.reading import read_batches

    features = rng.random((3, 5000))
    data = write_recordio(features)
    for source in (data, io.BytesIO(data)):
        batches = list(read_batches(source, "protobuf", name="x", block_bytes=1000))
        np.testing.assert_array_equal(np.concatenate([batch.features for batch in batches]), features)
