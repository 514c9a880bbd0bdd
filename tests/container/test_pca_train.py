"""PCA through the real `train` command: File and Pipe mode, a request to stop, and a kill that costs no pass."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eigenline import write_recordio
from eigenline.formats.artifact.model_file import read_artifact

GIVEN = {"feature_dim": "6", "mini_batch_size": "50", "num_components": "2"}


@pytest.fixture
def features(rng: np.random.Generator) -> NDArray[np.float32]:
    return (rng.standard_normal((120, 6)) * [5, 3, 1, 0.5, 0.2, 0.1]).astype(np.float32)


def make_tree(root: Path, hyperparameters: Mapping[str, str], channels: Mapping[str, Any]) -> None:
    for folder in ("input/config", "input/data", "model", "output"):
        (root / folder).mkdir(parents=True)
    (root / "input/config/hyperparameters.json").write_text(json.dumps(hyperparameters))
    (root / "input/config/inputdataconfig.json").write_text(json.dumps(channels))


def start_train(root: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(root)}
    command = [sys.executable, "-c", "import sys; from eigenline.container.train import main; sys.exit(main())"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_train_writes_the_artifact_and_reports(tmp_path: Path, features: NDArray[np.float32]) -> None:
    make_tree(tmp_path, GIVEN, {"train": {"ContentType": "text/csv;label_size=0", "TrainingInputMode": "File"}})
    (tmp_path / "input/data/train").mkdir()
    np.savetxt(tmp_path / "input/data/train/part.csv", features, delimiter=",", fmt="%.9g")
    process = start_train(tmp_path)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    model = read_artifact((tmp_path / "model/model_algo-1").read_bytes())
    values = np.linalg.svd(features - features.mean(axis=0), compute_uv=False)[:2]
    np.testing.assert_allclose(model.singular_values[::-1], values, rtol=1e-5)
    assert json.loads((tmp_path / "model/report.json").read_text())["num_records"] == 120
    assert "#throughput_metric" in output


def feed(path: Path, chunks: Iterator[bytes]) -> threading.Thread:
    def write() -> None:
        # a reader that stops early closes its end, which SageMaker's writer bears too
        with contextlib.suppress(BrokenPipeError), path.open("wb") as pipe:
            for chunk in chunks:
                pipe.write(chunk)
                pipe.flush()

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    return thread


def test_pipe_mode_reads_one_fifo_for_each_pass(tmp_path: Path, rng: np.random.Generator) -> None:
    wide = rng.standard_normal((60, 1500)).astype(np.float32)
    given = {"feature_dim": "1500", "mini_batch_size": "10", "num_components": "2", "algorithm_mode": "randomized"}
    content = {"ContentType": "application/x-recordio-protobuf", "TrainingInputMode": "Pipe"}
    make_tree(tmp_path, given, {"train": content})
    for number in range(2):
        os.mkfifo(tmp_path / f"input/data/train_{number}")
    feed(tmp_path / "input/data/train_0", iter([write_recordio(wide)]))
    process = start_train(tmp_path)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    model = read_artifact((tmp_path / "model/model_algo-1").read_bytes())
    values = np.linalg.svd(wide - wide.mean(axis=0), compute_uv=False)[:2]
    np.testing.assert_allclose(model.singular_values, values, rtol=1e-3)


def test_sigterm_in_the_midst_of_a_pipe_saves_what_was_read(tmp_path: Path, features: NDArray[np.float32]) -> None:
    content = {"ContentType": "text/csv;label_size=0", "TrainingInputMode": "Pipe"}
    make_tree(tmp_path, {**GIVEN, "mini_batch_size": "5"}, {"train": content})
    os.mkfifo(tmp_path / "input/data/train_0")
    read = threading.Event()
    lines = b"".join(b",".join(b"%.9g" % value for value in row) + b"\n" for row in features.tolist())

    def chunks() -> Iterator[bytes]:
        for _ in range(40_000):  # enough for the reader to hand out its first blocks
            yield lines
        read.wait(30)

    thread = feed(tmp_path / "input/data/train_0", chunks())
    with start_train(tmp_path) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "feature(s) found" in line:
                process.send_signal(signal.SIGTERM)
                break
        output = process.stdout.read()
    read.set()
    thread.join(timeout=5)
    assert "Training was asked to stop early" in output
    assert read_artifact((tmp_path / "model/model_algo-1").read_bytes()).feature_dim == 6


def test_a_kill_after_the_pass_costs_no_second_pass_and_changes_no_byte(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    given = {"feature_dim": "1500", "mini_batch_size": "50", "num_components": "2"}
    content = {"ContentType": "application/x-recordio-protobuf", "TrainingInputMode": "File"}
    wide = write_recordio(rng.standard_normal((400, 1500)).astype(np.float32))
    for name in ("killed", "whole"):
        make_tree(tmp_path / name, given, {"train": content})
        (tmp_path / name / "input/data/train").mkdir()
        (tmp_path / name / "input/data/train/part").write_bytes(wide)
    (tmp_path / "killed/checkpoints").mkdir()
    with start_train(tmp_path / "killed") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "Saved checkpoint" in line:  # solving 1500 x 1500 is still to come
                os.kill(child_of(process.pid), signal.SIGKILL)
                break
        process.stdout.read()
    assert process.returncode != 0
    assert not (tmp_path / "killed/model/model_algo-1").exists()
    outputs = {}
    for name in ("killed", "whole"):
        process = start_train(tmp_path / name)
        outputs[name], _ = process.communicate(timeout=600)
        assert process.returncode == 0, outputs[name]
    assert "Resuming from the checkpoint" in outputs["killed"]
    assert "Resuming" not in outputs["whole"]
    models = [(tmp_path / name / "model/model_algo-1").read_bytes() for name in outputs]
    assert models[0] == models[1]


def child_of(supervisor: int) -> int:
    """Give the process that trains: the only child of the one that was started."""
    return int(Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()[0])
