"""Checkpoints: the newest state of a job, kept so that a kill costs at most an epoch, or seconds of the finish."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np

from eigenline.container.job import Arrays
from eigenline.container.metric_lines import JobLog
from eigenline.container.model_folder import write_together

FILE = "checkpoint.npz"
_KEY = "eigenline.job"


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
        A text that tells this job from others: algorithm, resolved hyperparameters, data. A checkpoint of another
        job is left alone and reported, because going on from it would give a model that nobody asked for.
    log
        Where a checkpoint that cannot be used is reported.
    """

    def __init__(self, folder: Path, job: str, log: JobLog) -> None:
        self._folder = folder
        self._key = hashlib.sha256(job.encode()).hexdigest()
        self._log = log

    def load(self) -> Arrays | None:
        """Return the newest complete state of this job, or None."""
        path = self._folder / FILE
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
                state = dict(archive.items())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            self._log.warning(f"The checkpoint {path} cannot be read ({error}); training starts anew.")
            return None
        if str(state.pop(_KEY, "")) != self._key:
            self._log.warning(
                f"The checkpoint {path} belongs to a job with other hyperparameters or other data; "
                "training starts anew and will replace it."
            )
            return None
        self._log.info(f"Resuming from the checkpoint {path}.")
        return state

    def save(self, state: Arrays) -> None:
        """Replace the kept state by a newer one, atomically."""
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **{_KEY: np.array(self._key)}, **dict(state))
        write_together(self._folder, {FILE: buffer.getvalue()})
        self._log.info(f'Saved checkpoint to "{self._folder / FILE}"')
