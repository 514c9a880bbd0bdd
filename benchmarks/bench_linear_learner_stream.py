"""Linear Learner from a FIFO that is never held: memory as the records grow, and records sorted by label."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.linear_learner_data import WALKTHROUGH, mnist
from benchmarks.timing import print_machine, print_table
from eigenline import write_recordio
from eigenline.algorithms.batch import Batch, HeldBatches
from eigenline.algorithms.linear_learner.reports import Trained
from eigenline.algorithms.linear_learner.settings import read_settings
from eigenline.algorithms.linear_learner.training import train
from eigenline.container.channels import PipeChannel
from eigenline.container.configuration import ChannelDescription
from eigenline.container.stopping import Stopping

CHUNK_RECORDS, FEATURES = 50_000, 100
MOST_PASSES = 80
CHANNEL_SHARE = 30_000_000  # bytes that the job may keep of its channel: less than the smallest channel has


def memory() -> None:
    """Print the peak resident memory of a job over n, 2n, 4n and 8n records, all of them different."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=FEATURES).astype(np.float32)
    chunks = []
    for _ in range(16):
        X = rng.standard_normal((CHUNK_RECORDS, FEATURES), dtype=np.float32)
        y = (X @ weights + 5 * rng.standard_normal(CHUNK_RECORDS) > 0).astype(np.float32)
        chunks.append(write_recordio(X, y))
    rows = []
    for factor in (1, 2, 4, 8):
        sent = chunks[: 2 * factor]
        seconds, peak = _in_child(sent)
        records = len(sent) * CHUNK_RECORDS
        rows.append([f"{records:,}", sum(map(len, sent)) / 1e6, seconds, 1e6 * seconds / records, peak])
    header = [f"records x {FEATURES}", "channel MB", "seconds", "microseconds a record", "peak memory MB"]
    print_table("Binary classifier with its 32 models, recordIO through a FIFO, 30 MB kept", header, rows)


def _in_child(chunks: list[bytes]) -> tuple[float, float]:
    """Train in a fresh process, so that peak memory is this run's own."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as folder:
        for epoch in range(MOST_PASSES):
            os.mkfifo(Path(folder) / f"train_{epoch}")
        process = context.Process(target=_fit, args=(sender, folder))
        process.start()
        threading.Thread(target=_write, args=(Path(folder), chunks), daemon=True).start()
        result: tuple[float, float] = receiver.recv()
        process.join()
    return result


def _write(folder: Path, chunks: list[bytes]) -> None:
    for epoch in range(MOST_PASSES):
        try:
            with (folder / f"train_{epoch}").open("wb") as pipe:
                for chunk in chunks:
                    pipe.write(chunk)
        except BrokenPipeError:
            continue  # the reader had seen enough of this pass
        except FileNotFoundError:
            return  # the job is done


def _fit(sender: Connection, folder: str) -> None:
    start = time.perf_counter()
    description = ChannelDescription("train", "application/x-recordio-protobuf", "Pipe")
    channel = HeldBatches(PipeChannel(description, Path(folder), "required", Stopping()), CHANNEL_SHARE)
    for _ in train(read_settings({"predictor_type": "binary_classifier"}), {"train": channel}):
        pass
    seconds = time.perf_counter() - start
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    sender.send((seconds, int(peak.split()[1]) / 1024))


class _Stream:
    """Records that can only be read again, never held."""

    def __init__(self, X: np.ndarray, y: np.ndarray, order: np.ndarray) -> None:
        self._X, self._y, self._order = X, y, order

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self._y), 2000):
            chosen = self._order[start : start + 2000]
            yield Batch(self._X[chosen], self._y[chosen])


def sorted_by_label() -> None:
    """Count test errors on MNIST after training from a shuffled stream and from one that is sorted by label."""
    data = mnist()
    if data is None:
        return
    (X, digits), (X_test, truth) = data["train"], data["test"]
    rng = np.random.default_rng(0)
    ten = {"predictor_type": "multiclass_classifier", "num_classes": "10"}
    tasks: dict[str, tuple[dict[str, str], np.ndarray, np.ndarray]] = {
        "0 against the rest": (WALKTHROUGH, (digits == 0).astype(np.float32), truth == 0),
        "ten digits": (ten, digits.astype(np.float32), truth),
    }
    first_order = {"learning_rate": "0.01", "epochs": "8"}
    rows: list[list[object]] = []
    for name, (task, y, wanted) in tasks.items():
        for way, more in (("default", {}), ("learning_rate named: no finish", first_order)):
            errors = []
            for order in (rng.permutation(len(y)), np.argsort(y, kind="stable")):
                model = _trained(_Stream(X, y, order), **task, **more).model
                errors.append(int((model.predict(X_test).predicted_label != wanted).sum()))
            rows.append([name, way, *errors])
    print_table("MNIST as a stream, test errors of 10,000", ["task", "way", "shuffled", "sorted by label"], rows)


def _trained(stream: _Stream, **hyperparameters: Any) -> Trained:
    for report in train(read_settings(hyperparameters), {"train": stream}):
        if isinstance(report, Trained):
            return report
    raise AssertionError("training ends with its result")


def main() -> None:
    """Print both tables."""
    print_machine()
    memory()
    sorted_by_label()


if __name__ == "__main__":
    main()
