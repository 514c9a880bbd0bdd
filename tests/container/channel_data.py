"""What the tests of channels, pipes and wrapped records read: four labelled rows, and FIFOs that are fed."""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from eigenline.algorithms.batch import Batch
from eigenline.container.channels import PipeChannel
from eigenline.container.configuration import ChannelDescription
from eigenline.container.stopping import Stopping

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)
never = Stopping()  # which nobody asks to stop
LABELS = np.array([0, 1, 0, 1], np.float32)
CSV_TEXT = b"0,0,1,2\n1,3,4,5\n0,6,7,8\n1,9,10,11\n"


def rows_of(batches: Iterator[Batch]) -> np.ndarray:
    return np.concatenate([np.asarray(batch.features) for batch in batches])


def labels_of(batches: Iterator[Batch]) -> list[float]:
    return [float(label) for batch in batches for label in batch.labels]  # type: ignore[union-attr]


def feed(path: Path, chunks: Sequence[bytes], *, make_after: float = 0.0) -> threading.Thread:
    """Write chunks into a FIFO as SageMaker does: it appears late and is opened once."""

    def run() -> None:
        time.sleep(make_after)
        if not path.exists():
            os.mkfifo(path)
        try:
            with path.open("wb", buffering=0) as fifo:
                for chunk in chunks:
                    fifo.write(chunk)
                    time.sleep(0.01)
        except BrokenPipeError:
            pass

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def pipe_channel(
    folder: Path, stopping: Stopping = never, timeout_seconds: float = 5, **fields: object
) -> PipeChannel:
    description = ChannelDescription("train", "text/csv", "Pipe", **fields)  # type: ignore[arg-type]
    return PipeChannel(description, folder, "required", stopping, timeout_seconds)
