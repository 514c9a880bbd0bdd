"""The folder tree of a training job: where SageMaker puts what it gives, and looks for what it takes."""

from __future__ import annotations

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
        ``/opt/ml``, or what ``SAGEMAKER_BASE_DIR`` says.

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
    def configuration(self) -> Path:
        """Folder of the job's JSON files."""
        return self.root / "input" / "config"

    @property
    def data(self) -> Path:
        """Folder of the channels: ``<channel>/`` in File mode, FIFOs ``<channel>_<epoch>`` in Pipe mode."""
        return self.root / "input" / "data"

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


def writable_folder(folder: Path) -> Path:
    """Make sure that files can be written into a folder, and return it.

    Asked before training, so that a job does not learn after hours that its model has no place.

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
