"""Runs the real `train` and `serve` on this machine: a folder tree like `/opt/ml`, two commands, plain HTTP."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

EIGENLINE = [sys.executable, "-m", "eigenline"]  # the command that is installed beside this interpreter


def write_job(
    folder: Path, hyperparameters: Mapping[str, str], channels: Mapping[str, bytes | memoryview]
) -> None:
    """Lay out what SageMaker would mount at `/opt/ml`: hyperparameters, channel list, one file a channel."""
    shutil.rmtree(folder, ignore_errors=True)
    config = folder / "input" / "config"
    config.mkdir(parents=True)
    (config / "hyperparameters.json").write_text(json.dumps(hyperparameters))
    (config / "resourceconfig.json").write_text('{"current_host": "algo-1", "hosts": ["algo-1"]}')
    listed = {
        name: {"ContentType": "application/x-recordio-protobuf", "TrainingInputMode": "File"} for name in channels
    }
    (config / "inputdataconfig.json").write_text(json.dumps(listed))
    for name, content in channels.items():
        path = folder / "input" / "data" / name / "examples.pbr"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)


def train(folder: Path) -> Path:
    """Run `train` on a job's folder and return the file with its log; a failed job ends the program."""
    log = folder / "train.log"
    with log.open("wb") as output:
        result = subprocess.run(
            [*EIGENLINE, "train"],
            env={**os.environ, "SAGEMAKER_BASE_DIR": str(folder)},
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if result.returncode:
        failure = folder / "output" / "failure"
        reason = failure.read_text() if failure.is_file() else log.read_text()[-2000:]
        raise SystemExit(f"train failed with exit code {result.returncode}: {reason}")
    return log


class Endpoint:
    """A running `serve` over a job's model; ``with Endpoint(folder) as endpoint: endpoint.invoke(...)``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:  # the system names a port that is free
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])

    def __enter__(self) -> Self:
        environment = {"SAGEMAKER_BASE_DIR": str(self._folder), "SAGEMAKER_BIND_TO_PORT": str(self.port)}
        log = self._folder / "serve.log"
        with log.open("wb") as output:
            # A session of its own: Ctrl-C reaches this program only, which then stops the server in order.
            self._process = subprocess.Popen(
                [*EIGENLINE, "serve"],
                env={**os.environ, **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_until_healthy(log)
        except BaseException:
            self._stop()
            raise
        return self

    def _wait_until_healthy(self, log: Path, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise SystemExit(
                    f"serve ended with exit code {self._process.returncode}:\n{log.read_text()[-2000:]}"
                )
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ping", timeout=2):
                    return
            except (urllib.error.URLError, TimeoutError, ConnectionError):
                time.sleep(0.02)
        raise SystemExit(f"serve did not answer /ping within {seconds:.0f} s:\n{log.read_text()[-2000:]}")

    def invoke(self, csv: bytes) -> Any:
        """POST records as CSV to `/invocations` and return the answer, read from JSON."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/invocations",
            data=csv,
            headers={"Content-Type": "text/csv", "Accept": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise SystemExit(f"/invocations answered {error.code}: {error.read().decode()}") from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
