"""Checkpoints: the newest state of a job, so that a kill costs at most an epoch, or seconds of a later phase."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np

from eigenline.algorithms.errors import excerpt
from eigenline.container.columns import Columns
from eigenline.container.job import Arrays
from eigenline.container.job_log import JobLog
from eigenline.container.model_folder import write_together

FILE = "checkpoint.npz"
_KEY = "eigenline.job"
_NAMES = "eigenline.feature_names"


class NoCheckpoints:
    """Stands where the job has no checkpoint folder: nothing is found, nothing is kept."""

    def load(self) -> Arrays | None:
        """Return None."""
        return None

    def save(self, state: Arrays) -> None:
        """Keep nothing."""


class FolderCheckpoints:
    """Keeps the newest state of one job in a folder, as one ``.npz`` file that is replaced whole.

    Parameters
    ----------
    folder
        SageMaker uploads it while the job runs, and restores it before a spot job starts again.
    job
        A text that differs for every other job: algorithm, resolved hyperparameters, data. A checkpoint of another
        job is left alone and reported, because going on from it would give a model that nobody asked for.
    log
        Where a checkpoint that cannot be used is reported.
    columns
        Whose names are kept too: a job that goes on may have no need to read where they stood.
    """

    def __init__(self, folder: Path, job: str, log: JobLog, columns: Columns | None = None) -> None:
        self._folder = folder
        self._key = hashlib.sha256(job.encode()).hexdigest()
        self._log = log
        self._columns = columns or Columns()
        self._failed = False

    def load(self) -> Arrays | None:
        """Return the newest complete state of this job, or None."""
        path = self._folder / FILE
        try:
            state = _arrays(path.read_bytes())
        except FileNotFoundError:
            return None
        except Exception as error:  # whatever a damaged archive makes of the libraries that read it
            reason = excerpt(str(error) or type(error).__name__, 200)
            self._log.warning(
                f"The checkpoint {path} cannot be read ({reason}): training starts from the beginning."
            )
            return None
        if str(state.pop(_KEY, "")) != self._key:
            self._log.warning(
                f"The checkpoint {path} belongs to a job with other hyperparameters or other data; "
                "training starts from the beginning and will replace it."
            )
            return None
        names = state.pop(_NAMES, None)
        if names is not None:
            self._columns.names = tuple(names.tolist())
        self._log.info(f"Resuming from the checkpoint {path}.")
        return state

    def save(self, state: Arrays) -> None:
        """Replace the kept state by a newer one, atomically.

        Where that fails (a full disk, most often) the older one stays, and training goes on: a checkpoint is there
        to save a model, not to cost one.
        """
        buffer = io.BytesIO()
        own = {_KEY: np.array(self._key)}
        if self._columns.names is not None:
            own[_NAMES] = np.array(self._columns.names)
        np.savez(buffer, allow_pickle=False, **own, **dict(state))
        try:
            write_together(self._folder, {FILE: buffer.getvalue()})
        except OSError as error:
            if not self._failed:
                self._log.warning(
                    f"No checkpoint can be saved in {self._folder}: {error.strerror}. Training goes on without; "
                    "a job that is killed would start again from the newest one that is there."
                )
            self._failed = True
            return
        self._failed = False
        self._log.info(f'Saved checkpoint to "{self._folder / FILE}"')


def _arrays(content: bytes) -> dict[str, np.ndarray]:
    """Read an ``.npz`` file as `FolderCheckpoints` writes it: nothing in it is compressed, so it cannot swell."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("it holds compressed arrays, which no checkpoint does")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return dict(arrays.items())
