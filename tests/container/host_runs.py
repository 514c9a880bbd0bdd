"""Jobs on several hosts: the real command once for each, with a tree and a loopback address of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TIMEOUT = 300.0
# Few data are trained on one host: what is tested are several, and their patience is that of a test.
DRIVER = """
import sys
from eigenline.cluster import hosts
from eigenline.container import host_channels
hosts.PATIENCE_SECONDS, host_channels.FEW_BYTES = float(sys.argv[1]), float(sys.argv[2])
from eigenline.container.train import main
sys.exit(main([]))
"""


def addresses(count: int) -> list[str]:
    """Return addresses that no other test has: all of 127.0.0.0/8 is this machine."""
    number = int.from_bytes(os.urandom(2), "big")
    return [f"127.{number >> 8 & 127 | 64}.{number & 255}.{host}" for host in range(11, 11 + count)]


@dataclass
class HostRun:
    """One host of a job."""

    name: str
    root: Path
    process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def log(self) -> str:
        return (self.root / "log").read_text()

    @property
    def failure(self) -> str:
        path = self.root / "output/failure"
        return path.read_text() if path.exists() else ""

    @property
    def model_files(self) -> list[str]:
        return sorted(path.name for path in (self.root / "model").iterdir())

    @property
    def model(self) -> bytes:
        (path,) = (self.root / "model").glob("model_*")
        return path.read_bytes()

    def wait(self) -> int:
        return self.process.wait(TIMEOUT)

    def worker_process(self) -> int:
        """Return the process that trains, a child of the one that was started."""
        return int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()[0])


class Cluster:
    """Starts hosts, and ends what is left of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[HostRun] = []

    def start(
        self,
        hyperparameters: dict[str, str],
        channels: dict[str, dict[str, Any]],
        data: Sequence[Callable[[Path], None]],
        *,
        name: str = "job",
        patience: float = TIMEOUT,
        few_bytes: float = 0,
        absent: Sequence[int] = (),
        environment: dict[str, str] | None = None,
        checkpoints: Path | None = None,
        resource: dict[str, Any] | None = None,
    ) -> list[HostRun]:
        """Start a job on as many hosts as there are `data`, each of which fills a host's `input/data`."""
        hosts = addresses(len(data))
        started = []
        for number, (host, fill) in enumerate(zip(hosts, data, strict=True)):
            root = self._folder / name / host
            configuration = root / "input/config"
            for folder in (configuration, root / "input/data", root / "model", root / "output"):
                folder.mkdir(parents=True)
            (configuration / "hyperparameters.json").write_text(json.dumps(hyperparameters))
            (configuration / "inputdataconfig.json").write_text(json.dumps(channels))
            described = {"current_host": host, "hosts": hosts, **(resource or {})}
            (configuration / "resourceconfig.json").write_text(json.dumps(described))
            if checkpoints is not None and number == 0:
                checkpoints.mkdir(exist_ok=True)
                (root / "checkpoints").symlink_to(checkpoints)
            fill(root / "input/data")
            if number in absent:
                continue
            with (root / "log").open("wb") as log:
                process = subprocess.Popen(
                    [sys.executable, "-c", DRIVER, str(patience), str(few_bytes)],
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={
                        **os.environ,
                        "SAGEMAKER_BASE_DIR": str(root),
                        "OPENBLAS_NUM_THREADS": "1",
                        **(environment or {}),
                    },
                )
            started.append(HostRun(host, root, process))
        self._started += started
        return started

    def close(self) -> None:
        for run in self._started:
            if run.process.poll() is None:
                run.process.send_signal(signal.SIGCONT)
                run.process.kill()
            run.process.wait()


def run_all(runs: Sequence[HostRun]) -> list[int]:
    return [run.wait() for run in runs]


def logs(runs: Sequence[HostRun]) -> str:
    return "\n\n".join(f"{run.name}:\n{run.log}" for run in runs)


def wait_for(condition: Callable[[], bool], what: str, runs: Sequence[HostRun] = ()) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, f"{what}: {logs(runs)}"
        time.sleep(0.02)


def clusters(folder: Path) -> Iterator[Cluster]:
    cluster = Cluster(folder)
    yield cluster
    cluster.close()
