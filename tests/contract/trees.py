"""Trees as SageMaker makes them."""

import json
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from eigenline.algorithms.linear_learner.model import LinearLearnerModel
from eigenline.algorithms.pca.model import PCAModel
from eigenline.formats.artifact.model_file import read_artifact

PCA_HYPERPARAMETERS = {"feature_dim": "6", "num_components": "2", "mini_batch_size": "50", "seed": "1"}
LINEAR_HYPERPARAMETERS = {
    "feature_dim": "6",
    "predictor_type": "binary_classifier",
    "mini_batch_size": "50",
    "epochs": "15",
}


def labelled_rows(rng: np.random.Generator, count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Records of six features whose label a line through them decides, but for some noise."""
    features = rng.normal(size=(count, 6)).astype(np.float32) * np.float32([3, 1, 1, 2, 1, 1])
    noisy = features @ np.float32([1, -1, 0.5, 0, 0, 0]) + rng.normal(scale=0.3, size=count)
    return features, (noisy > 0).astype(np.float32)


def csv(features: np.ndarray, labels: np.ndarray) -> bytes:
    """Records as CSV, the label first."""
    rows = np.column_stack([labels, features])
    return b"".join(b",".join(b"%.9g" % value for value in row) + b"\n" for row in rows)


def framed(contents: Iterable[bytes]) -> bytes:
    """Each content in a recordIO frame of its own, as `RecordWrapperType=RecordIO` wraps objects."""
    return b"".join(
        b"\x0a\x23\xd7\xce" + len(content).to_bytes(4, "little") + content + b"\0" * (-len(content) % 4)
        for content in contents
    )


@dataclass
class Tree:
    """One job's ``/opt/ml``."""

    root: Path
    hyperparameters: dict[str, str] = field(default_factory=dict)
    channels: dict[str, dict[str, str]] = field(default_factory=dict)
    hosts: tuple[str, ...] = ("algo-1",)

    def write(self, current_host: str = "algo-1") -> "Tree":
        """Write the JSON files of input/config."""
        for name, document in {
            "hyperparameters": self.hyperparameters,
            "inputdataconfig": self.channels,
            "resourceconfig": {
                "current_host": current_host,
                "hosts": list(self.hosts),
                "network_interface_name": "eth0",
                "current_instance_type": "ml.m5.large",
                "instance_groups": [{"instance_type": "ml.m5.large", "hosts": list(self.hosts)}],
            },
        }.items():
            path = self.root / "input" / "config" / f"{name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(document))
        for name in ("input/data", "model", "output"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        return self

    def put(self, channel: str, name: str, content: bytes) -> Path:
        """Put a file into a channel's folder."""
        path = self.root / "input" / "data" / channel / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    @property
    def failure(self) -> str | None:
        path = self.root / "output" / "failure"
        return path.read_text() if path.exists() else None

    @property
    def model_files(self) -> list[str]:
        return sorted(path.name for path in (self.root / "model").iterdir())

    @property
    def artifact(self) -> bytes:
        """The one model; the SDK 2 calls its hosts algo-1-<five letters>."""
        (path,) = (self.root / "model").glob("model_algo-1*")
        return path.read_bytes()

    def model(self) -> PCAModel | LinearLearnerModel:
        return read_artifact(self.artifact)

    def clear_model(self) -> None:
        """Empty the model folder."""
        for path in (self.root / "model").iterdir():
            path.unlink()

    def belongs_to(self, user: int) -> "Tree":
        """Give everything to another user, and let that user come here; only root can."""
        for path in (self.root, *self.root.rglob("*")):
            os.chown(path, user, user)
        for parent in self.root.parents:
            if parent.stat().st_uid == 0 and str(parent).startswith("/tmp/"):
                parent.chmod(0o755)
        return self


def feed_pipes(tree: Tree, channel: str, content: bytes, epochs: int) -> threading.Thread:
    """Offer a Pipe channel as SageMaker does: the next epoch's FIFO appears once the last was read or closed."""

    def run() -> None:
        for epoch in range(epochs):
            path = tree.root / "input" / "data" / f"{channel}_{epoch}"
            os.mkfifo(path)
            try:
                path.write_bytes(content)
            except BrokenPipeError:
                continue

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread
