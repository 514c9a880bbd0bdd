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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.interrupts import interrupts

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


@contextmanager
def running(
    verb: str, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a verb of `eigenline` on a job's folder, its output in `<verb>.log`; it ends with the block."""
    settings = {**os.environ, "SAGEMAKER_BASE_DIR": str(folder), **(environment or {})}
    process = None
    try:
        with (folder / f"{verb}.log").open("wb") as output, interrupts.held():
            # A session of its own: Ctrl-C reaches this program only, which then stops the other in order.
            process = subprocess.Popen(
                [*EIGENLINE, verb], env=settings, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        yield process
    finally:
        if process is not None:
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def train(folder: Path) -> Path:
    """Run `train` on a job's folder and return the file with its log; a failed job ends the program."""
    log = folder / "train.log"
    with running("train", folder) as process:
        code = process.wait()
    if code:
        failure = folder / "output" / "failure"
        reason = failure.read_text() if failure.is_file() else log.read_text()[-2000:]
        raise SystemExit(f"train failed with exit code {code}: {reason}")
    return log


@contextmanager
def serve(folder: Path) -> Iterator[Endpoint]:
    """Run `serve` over a job's model, and wait until it is healthy; it ends with the block."""
    with socket.socket() as probe:  # the system names a port that is free
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with running("serve", folder, {"SAGEMAKER_BIND_TO_PORT": str(port)}) as process:
        endpoint = Endpoint(port)
        while not endpoint.is_healthy():
            if process.poll() is not None:
                log = (folder / "serve.log").read_text()
                raise SystemExit(f"serve ended with exit code {process.returncode}:\n{log[-2000:]}")
            interrupts.check()
            time.sleep(0.02)
        yield endpoint


@dataclass(frozen=True)
class Endpoint:
    """The address of a running `serve`."""

    port: int

    def is_healthy(self) -> bool:
        """Whether `/ping` answers 200."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ping", timeout=10):
                return True
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False

    def invoke(self, csv: bytes) -> Any:
        """POST records as CSV to `/invocations` and return the answer, read from JSON."""
        interrupts.check()
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
