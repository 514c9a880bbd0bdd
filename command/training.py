"""Training on a person's file: laid out as a SageMaker job in a temporary folder and run by the job's own command.

So there is one way to train, with one log, one set of reports and one way to fail; this file translates.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Features
from eigenline.algorithms.errors import UserError
from eigenline.command.data_summary import held_out_rows
from eigenline.command.tables.chunk import Table, csv_line
from eigenline.formats.artifact.columns_file import COLUMNS_FILE, ColumnNames, write_column_names
from eigenline.formats.preparation import FILE, Preparation
from eigenline.formats.recordio.writer import write_recordio_to

_PROGRESS: Final = re.compile(r"#progress_metric: .*completed ([0-9.]+) %")
_STAMP: Final = re.compile(r"^\[\S+ \S+ (INFO|WARNING|ERROR) 0\] (.*)")
_SECONDS_TO_STOP: Final = 1.5
STOPPED: Final = 130  # 128 + SIGINT


class TrainingFailed(Exception):  # noqa: N818 -- carries the job's own exit code and sentence
    """The job ended without a model."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass
class Channels:
    """The job's channel files, and how many rows went into each.

    Attributes
    ----------
    folder
        The root of the temporary tree.
    preparation
        How columns become features.
    labelled
        Whether records have labels (Linear Learner).
    sparse
        Whether records are written as sparse recordIO.
    rows
        Channel -> rows.
    """

    folder: Path
    preparation: Preparation
    labelled: bool
    sparse: bool
    rows: dict[str, int] = field(default_factory=dict)

    def write(self, table: Table, share_held_out: float, into: str = "train") -> None:
        """Write every row of a table into the channel `into`, or into ``test`` where it is held out."""
        positions = self.preparation.positions(table) if not self.sparse else list(range(self._width(table)))
        target = self._target_in(table)
        first = 0
        with contextlib.ExitStack() as stack:
            files: dict[str, BinaryIO] = {}

            def file(channel: str) -> BinaryIO:
                if channel not in files:
                    files[channel] = stack.enter_context(self._open(channel))
                return files[channel]

            for chunk in table.chunks():
                features = self.preparation.features(chunk, positions)
                labels = self.preparation.labels(chunk, target) if self.labelled else None
                held = held_out_rows(first, len(chunk), share_held_out)
                first += len(chunk)
                for channel, rows in ((into, ~held), ("test", held)):
                    count = int(rows.sum())
                    if count:
                        self.rows[channel] = self.rows.get(channel, 0) + count
                        chosen = features if count == len(chunk) else features[rows]
                        own = None if labels is None else labels[rows]
                        self._append(file(channel), chosen, own)

    def _width(self, table: Table) -> int:
        return min(table.width, len(self.preparation.inputs))

    def _target_in(self, table: Table) -> int | None:
        if not self.labelled or self.preparation.target is None:
            return None
        if table.names is not None and self.preparation.named:
            if self.preparation.target not in table.names:
                raise UserError(
                    f"{table.name} lacks the label {self.preparation.target!r}, so nothing can be measured."
                )
            return table.names.index(self.preparation.target)
        if table.width != self.preparation.width:
            raise UserError(
                f"{table.name} has {table.width} columns, but the file that trains has "
                f"{self.preparation.width}: is "
                "the label missing? Without it nothing can be measured."
            )
        return self.preparation.target_position

    def _open(self, channel: str) -> BinaryIO:
        folder = self.folder / "input" / "data" / channel
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / ("data.pbr" if self.sparse else "data.csv")
        fresh = not path.exists()
        file = path.open("ab")
        if fresh and not self.sparse:
            names = list(self.preparation.feature_names)
            header = [self.preparation.target or "label", *names] if self.labelled else names
            file.write(csv_line(header).encode() + b"\n")
        return file

    def _append(self, file: BinaryIO, features: Features, labels: NDArray[np.float32] | None) -> None:
        if self.sparse:
            write_recordio_to(file, self._padded(features), labels)
            return
        assert isinstance(features, np.ndarray)
        table = features if labels is None else np.concatenate([labels[:, None], features], axis=1)
        file.write(number_lines(table).encode())

    def _padded(self, features: Features) -> Any:
        """Widen svmlight records whose last features never occur in their own file."""
        missing = len(self.preparation.inputs) - features.shape[1]
        if isinstance(features, np.ndarray) or not missing:
            return features
        from scipy.sparse import csr_array

        shape = features.shape[0], len(self.preparation.inputs)
        return csr_array((features.data, features.indices, features.indptr), shape=shape)

    def configure(self, hyperparameters: Mapping[str, str]) -> None:
        """Write the job's configuration."""
        folder = self.folder / "input" / "config"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hyperparameters.json").write_text(json.dumps(dict(hyperparameters)))
        kind = "application/x-recordio-protobuf"
        if not self.sparse:
            kind = f"text/csv;header=present;label_size={int(self.labelled)}"
        (folder / "inputdataconfig.json").write_text(json.dumps({c: {"ContentType": kind} for c in self.rows}))


def number_lines(table: NDArray[np.floating[Any]]) -> str:
    """Return a matrix as lines of CSV; nine digits give every float32 back exactly."""
    line = ",".join(["%.9g"] * table.shape[1]) + "\n"
    return (line * len(table)) % tuple(table.ravel().tolist())


def run_job(folder: Path, log: Path, on_progress: Callable[[float], None]) -> Iterator[str]:
    """Run the job in a folder; yield its warnings, and write its whole log to a file.

    Raises
    ------
    TrainingFailed
        With the job's own exit code and the sentence of its failure file.
    """
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(folder), "PYTHONUNBUFFERED": "1", "WRITE_REPORT": "no"}
    environment.pop("ALGORITHM", None)
    with (
        subprocess.Popen(
            [sys.executable, "-m", "eigenline", "train"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as child,
        _stopped_with(child),
        log.open("w", encoding="utf-8") as kept,
    ):
        assert child.stdout is not None
        for line in child.stdout:
            kept.write(line)
            if progress := _PROGRESS.search(line):
                on_progress(float(progress[1]))
            elif (found := _STAMP.match(line)) and found[1] == "WARNING":
                yield found[2]
        child.wait()
    if child.returncode:
        raise TrainingFailed(child.returncode, _failure(folder, child.returncode))


@contextlib.contextmanager
def _stopped_with(child: subprocess.Popen[str]) -> Iterator[None]:
    """Pass a stop on to the job; what is not over within seconds is killed."""

    def forward(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, forward)
    try:
        yield
    except BaseException:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_SECONDS_TO_STOP)
            if child.poll() is None:
                child.kill()
                child.wait()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _failure(folder: Path, code: int) -> str:
    try:
        text = (folder / "output" / "failure").read_text(encoding="utf-8")
    except OSError:
        return f"Training ended with exit code {code} and left no reason."
    return text.removeprefix("ClientError: ").removeprefix("AlgorithmError: ")


def install(folder: Path, into: Path, preparation: Preparation) -> None:
    """Move the job's model to where the person wants it, the artifact last: whoever finds it finds everything."""
    into.mkdir(parents=True, exist_ok=True)
    for old in (FILE, COLUMNS_FILE, "report.html"):
        (into / old).unlink(missing_ok=True)
    (into / FILE).write_bytes(preparation.to_json())
    # The job knows its channel's header; names of classes, and whether columns had names, are known only here.
    (folder / "model" / COLUMNS_FILE).unlink(missing_ok=True)
    if preparation.named or preparation.classes is not None:
        names = ColumnNames(preparation.feature_names, preparation.target, preparation.classes)
        (into / COLUMNS_FILE).write_bytes(write_column_names(names))
    made = sorted((folder / "model").iterdir(), key=lambda path: path.name.startswith("model_"))
    for path in made:
        shutil.move(path, into / path.name)


def refuse_foreign_folder(into: Path) -> None:
    """Refuse to write a model among files that are none of it.

    Raises
    ------
    UserError
        Naming a file that is there.
    """
    if into.is_file():
        raise UserError(f"{into} is a file; the model is a folder. Name another one: -o FOLDER.")
    if not into.is_dir():
        return
    inside = sorted(path.name for path in into.iterdir())
    if inside and not any(name.startswith("model_") or name == FILE for name in inside):
        raise UserError(
            f"The folder {into} holds other files ({', '.join(inside[:3])}) and no model, so nothing is "
            "written into it. "
            "Name another folder: -o FOLDER."
        )


def seconds_since(began: float) -> str:
    """Return a duration as people say it."""
    seconds = time.monotonic() - began
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
