"""The folder tree of a training job: where SageMaker puts what it gives, and looks for what it takes."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from eigenline.algorithms.errors import UserError


@dataclass(frozen=True)
class Folders:
    """The tree below ``/opt/ml``.

    Attributes
    ----------
    root
        ``/opt/ml``, or the value of ``SAGEMAKER_BASE_DIR``.

    Notes
    -----
    Source: SageMaker Developer Guide, "How Amazon SageMaker AI Provides Training Information".
    """

    root: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Folders:
        """Return the tree that the environment names, ``/opt/ml`` where it names none."""
        return cls(Path(environment.get("SAGEMAKER_BASE_DIR") or "/opt/ml"))

    @property
    def input(self) -> Path:
        """Folder of everything that the job is given."""
        return self.root / "input"

    @property
    def configuration(self) -> Path:
        """Folder of the job's JSON files."""
        return self.input / "config"

    @property
    def data(self) -> Path:
        """Folder of the channels: ``<channel>/`` in File mode, FIFOs ``<channel>_<epoch>`` in Pipe mode."""
        return self.input / "data"

    @property
    def model(self) -> Path:
        """Folder that becomes ``model.tar.gz``."""
        return self.root / "model"

    @property
    def output_data(self) -> Path:
        """Folder that becomes ``output.tar.gz``."""
        return self.root / "output" / "data"

    @property
    def failure(self) -> Path:
        """File whose first 1,024 characters become the job's ``FailureReason``."""
        return self.root / "output" / "failure"

    @property
    def checkpoints(self) -> Path:
        """Folder that SageMaker synchronises with S3 while the job runs."""
        return self.root / "checkpoints"


def claim_tree(folders: Folders) -> int:
    """Make sure that a job's tree is there and that no other job works in it; nothing is created.

    Two jobs in one tree would write over each other's checkpoints and model. The lock is on the folder itself, so
    it needs no file, and the operating system gives it back however the job ends.

    Returns
    -------
    int
        The descriptor that holds the lock, for this process and those that it forks.

    Raises
    ------
    UserError
        If there is no such folder, no ``input`` in it, or another job holds it.
    """
    root = folders.root
    how = (
        'Mount the job\'s folder there (docker run -v "$PWD/ml:/opt/ml" ...), or name it with SAGEMAKER_BASE_DIR.'
    )
    if not root.is_dir():
        raise UserError(f"There is no folder {root}, so there is no training job to run. {how}")
    if not folders.input.is_dir():
        raise UserError(
            f"{root} holds no training job: there is no folder {folders.input}. Expected input/config with the "
            f"hyperparameters and input/data with the channels. {how}"
        )
    try:
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise UserError(f"The folder {root} cannot be read: {error.strerror}.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise UserError(
            f"Another training job is at work in {root}. Two jobs need two folders; or wait for its end."
        ) from error
    except OSError:
        pass  # some network file systems lock no folders: then nothing can be known of other jobs
    return descriptor


def writable_folder(folder: Path) -> Path:
    """Make sure that files can be written into a folder, and return it.

    Checked before training: a model of hours must not be lost for want of a place.

    Raises
    ------
    UserError
        Naming the folder and what the operating system said.
    """
    probe = folder / f".writable-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written: {error.strerror}. The training job must be able to write there; look at "
            "the volume's mount options (no `:ro`), its owner and the `--user` of the container."
        ) from error
    return folder
