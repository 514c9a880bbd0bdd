"""Runs of `train` through SageMaker's SDKs: the far end of the driver, seen as just another way to run a tree."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import tarfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.contract.runs import IMAGE, Result, docker
from tests.contract.trees import Tree

ROOT = Path(__file__).parents[2]
_PATIENCE = 60.0  # for docker-compose, on top of what the test allows the job


def sdk_environment() -> dict[str, str]:
    """What the SDKs want to see even where they talk to nobody."""
    return os.environ | {
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "SAGEMAKER_SUPPRESS_V2_WARNING": "1",
        "PYTHONWARNINGS": "ignore",
        "EIGENLINE_IMAGE": IMAGE,
    }


class Driver:
    """One process that drives an SDK."""

    def __init__(self, python: Path, name: str, log: Path) -> None:
        self.log = log
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [python, Path(__file__).with_name("sdk_driver.py"), name],
                cwd=ROOT, env=sdk_environment(), text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file,
            )  # fmt: skip
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put('{"error": "the driver ended"}')

    def send(self, call: str, **arguments: Any) -> None:
        """Make a call without waiting for it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"call": call, **arguments}) + "\n")
        self._process.stdin.flush()

    def answer(self, seconds: float) -> dict[str, Any]:
        """Wait for the answer to the call that is under way."""
        try:
            answer: dict[str, Any] = json.loads(self._answers.get(timeout=seconds))
        except queue.Empty:
            raise AssertionError(f"no answer in {seconds:.0f} s; {self.log.read_text()[-3000:]}") from None
        assert "error" not in answer, f"{answer['error']}\n{self.log.read_text()[-3000:]}"
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


class SdkRun:
    """`fit` or `train` of an SDK over a tree's hyperparameters and channels; what comes back lands in the tree."""

    def __init__(
        self, driver: Driver, tree: Tree, environment: Mapping[str, str], options: Mapping[str, object], root: Path
    ) -> None:
        self._driver = driver
        self._tree = tree
        self._folder = tree.root / "input" / "data" / next(iter(tree.channels))
        self._result: Result | None = None
        self._answered = False
        self._started = time.monotonic()
        root.mkdir()
        channels = {
            name: {
                "folder": str(tree.root / "input" / "data" / name),
                "content_type": channel.get("ContentType"),
            }
            for name, channel in tree.channels.items()
        }
        driver.send(
            "train",
            root=str(root),
            hyperparameters=tree.hyperparameters,
            channels=channels,
            environment=dict(environment),
            hosts=len(tree.hosts),
            options=dict(options),
        )

    def _container(self) -> str | None:
        found = docker("ps", "--all", "--quiet", f"--filter=volume={self._folder}").split()
        return found[0] if found else None

    def log_so_far(self) -> str:
        name = self._container()
        if name is None:
            return ""
        done = subprocess.run(["docker", "logs", name], capture_output=True, text=True, check=False)
        return (done.stdout + done.stderr).replace("\r\n", "\n")  # the SDK 2 gives the container a terminal

    def signal(self, number: signal.Signals) -> None:
        docker("kill", f"--signal={number.name}", str(self._container()))

    def wait(self, timeout: float = 300) -> Result:
        if self._result is None:
            self._answered = True
            answer = self._driver.answer(timeout + _PATIENCE)
            log = self.log_so_far()
            for name, folder in {"model": "model", "output": "output"}.items():
                archive = Path(answer["artifacts"]) / f"{name}.tar.gz"
                _unpack(archive, self._tree.root / folder)
            self._result = Result(answer["code"], log, time.monotonic() - self._started)
            self.remove()
        return self._result

    def remove(self) -> None:
        """Remove the stopped containers, which the SDKs leave behind; wait for a run that nobody waited for."""
        for name in docker("ps", "--all", "--quiet", f"--filter=volume={self._folder}").split():
            subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=False)
        if not self._answered:
            self._driver.answer(_PATIENCE)


def _unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        for member in tar:
            content = tar.extractfile(member)
            if content is not None:
                path = folder / member.name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.read())
