"""The two ways to run the real `train` over a tree: as a process of this machine, and as a container."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.contract.trees import Tree

TRAIN = [sys.executable, "-m", "eigenline", "train"]
IMAGE = os.environ.get("EIGENLINE_IMAGE", "eigenline")


@dataclass(frozen=True)
class Result:
    """How a run ended."""

    code: int
    log: str
    seconds: float


class Run(Protocol):
    """A run that is under way."""

    def log_so_far(self) -> str: ...
    def signal(self, number: signal.Signals) -> None: ...
    def wait(self, timeout: float = 300) -> Result: ...
    def remove(self) -> None: ...


class ProcessRun:
    """`train` as a process of this machine."""

    def __init__(self, tree: Tree, environment: Mapping[str, str], log: Path, plain_user: bool = False) -> None:
        self._log = log
        self._started = time.monotonic()
        without_power = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [*(without_power if plain_user and os.geteuid() == 0 else []), *TRAIN],
                stdout=file,
                stderr=subprocess.STDOUT,
                env=os.environ | {"SAGEMAKER_BASE_DIR": str(tree.root)} | dict(environment),
            )

    def log_so_far(self) -> str:
        return self._log.read_text()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def wait(self, timeout: float = 300) -> Result:
        code = self.process.wait(timeout)
        return Result(code, self.log_so_far(), time.monotonic() - self._started)

    def remove(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class ContainerRun:
    """`docker run IMAGE train`, its log as `docker logs` shows it."""

    def __init__(
        self,
        tree: Tree,
        environment: Mapping[str, str],
        options: Sequence[str] = (),
        command: Sequence[str] = ("train",),
    ) -> None:
        self.name = f"eigenline-test-{uuid.uuid4().hex[:12]}"
        variables = [f"--env={name}={value}" for name, value in environment.items()]
        self._started = time.monotonic()
        docker(
            "run", "--detach", f"--name={self.name}", f"--volume={tree.root}:/opt/ml",
            *variables, *options, IMAGE, *command,
        )  # fmt: skip

    def log_so_far(self) -> str:
        done = subprocess.run(["docker", "logs", self.name], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def signal(self, number: signal.Signals) -> None:
        docker("kill", f"--signal={number.name}", self.name)

    def wait(self, timeout: float = 300) -> Result:
        code = int(docker("wait", self.name, timeout=timeout))
        return Result(code, self.log_so_far(), time.monotonic() - self._started)

    def remove(self) -> None:
        subprocess.run(["docker", "rm", "--force", self.name], capture_output=True, check=False)


def docker(*arguments: str, timeout: float = 60) -> str:
    """Run a docker command and return what it prints."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def run_in(image: str, *command: str) -> str:
    """Run a command in the image and return what it prints."""
    return docker("run", "--rm", "--network=none", image, *command)


def wait_until(condition: Callable[[], bool], seconds: float = 300) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def assert_failed(tree: Tree, result: Result, first_line: str, code: int = 1) -> None:
    """The exit code, the failure file's beginning, the same text in the log, no file in the model folder."""
    assert result.code == code, result.log
    assert tree.failure is not None, result.log
    assert tree.failure.startswith(first_line), tree.failure
    assert len(tree.failure) <= 1024
    assert tree.failure.partition(": ")[2][:60] in result.log
    assert tree.model_files == []
