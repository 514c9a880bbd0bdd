"""PCA from a FIFO: time grows with the records, memory does not; and training against merely decoding."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from benchmarks.timing import print_machine, print_table
from eigenline import write_recordio
from eigenline.algorithms.pca.blocks import BLOCK_BYTES
from eigenline.algorithms.pca.settings import read_settings
from eigenline.algorithms.pca.training import train
from eigenline.algorithms.records import RecordsHere
from eigenline.container.channels import PipeChannel
from eigenline.container.configuration import ChannelDescription
from eigenline.container.stopping import Stopping

CHUNK_RECORDS = 25_000
CASES = [("regular", 784, 10, 1), ("randomized", 784, 10, 1), ("randomized", 3_000, 10, 2)]


def main() -> None:
    """Print both tables."""
    print_machine()
    for mode, d, k, divisor in CASES:
        chunk_records = CHUNK_RECORDS // divisor
        rng = np.random.default_rng(0)
        scales = (np.arange(1, d + 1) ** -0.5).astype(np.float32)
        chunk = write_recordio(rng.standard_normal((chunk_records, d), dtype=np.float32) * scales)
        rows = []
        for factor in (1, 2, 4, 8):
            chunks = 2 * factor
            decode = _in_child(_decode, chunk, chunks, mode, d, k)
            fit = _in_child(_fit, chunk, chunks, mode, d, k)
            records = chunks * chunk_records
            passes = fit["passes"]
            rows.append(
                [
                    f"{records:,}",
                    f"{fit['seconds']:.2f}",
                    f"{passes:.0f}",
                    f"{records * passes / fit['seconds']:,.0f}",
                    f"{decode['seconds'] * passes / fit['seconds']:.2f}x",
                    f"{fit['peak_mb']:,.0f}",
                    f"{chunks * len(chunk) / 1e6:,.0f}",
                ]
            )
        print_table(
            f"{mode}, {d} features, {k} components, recordIO float32 through a FIFO",
            ["records", "seconds", "passes", "records/s", "rate / decoding only", "peak memory MB", "channel MB"],
            rows,
        )


def _in_child(work: object, chunk: bytes, chunks: int, mode: str, d: int, k: int) -> dict[str, float]:
    """Run in a fresh process, so that peak memory is this run's own."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as folder:
        for epoch in range(41):
            os.mkfifo(Path(folder) / f"train_{epoch}")
        process = context.Process(target=work, args=(sender, folder, mode, d, k))
        process.start()
        done = threading.Event()
        writer = threading.Thread(target=_write, args=(Path(folder), chunk, chunks, done), daemon=True)
        writer.start()
        result: dict[str, float] = receiver.recv()
        done.set()
        process.join()
    return result


def _write(folder: Path, chunk: bytes, chunks: int, done: threading.Event) -> None:
    for epoch in range(41):
        try:
            with (folder / f"train_{epoch}").open("wb") as pipe:
                for _ in range(chunks):
                    pipe.write(chunk)
        except (BrokenPipeError, FileNotFoundError):
            return
        if done.is_set():
            return


def _channel(folder: str) -> PipeChannel:
    description = ChannelDescription("train", "application/x-recordio-protobuf", "Pipe")
    return PipeChannel(description, Path(folder), "ignored", Stopping())


def _decode(sender: Connection, folder: str, mode: str, d: int, k: int) -> None:
    start = time.perf_counter()
    for _ in _channel(folder):
        pass
    sender.send({"seconds": time.perf_counter() - start})


def _fit(sender: Connection, folder: str, mode: str, d: int, k: int) -> None:
    given = {"feature_dim": d, "mini_batch_size": 500, "num_components": k, "algorithm_mode": mode}
    start = time.perf_counter()
    records = RecordsHere(_channel(folder), block_bytes=BLOCK_BYTES)
    passes = train(read_settings(given), records, np.random.default_rng(0)).passes
    seconds = time.perf_counter() - start
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    sender.send({"seconds": seconds, "passes": passes, "peak_mb": int(peak.split()[1]) / 1024})


if __name__ == "__main__":
    main()
