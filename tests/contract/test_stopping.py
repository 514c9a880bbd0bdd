"""Signals: SIGTERM and Ctrl-C in every phase, SIGKILL, and what is found when the job starts again."""

import contextlib
import os
import signal
import time
from collections.abc import Callable

import numpy as np
import pytest

from eigenline import write_recordio
from tests.contract.clauses import (
    ENDS_WITH_ITS_FIRST,
    FILES_ONLY,
    NEEDS_A_CONTAINER,
    NO_CHECKPOINTS,
    NOT_A_CALL,
    SAME_CONTAINER,
    clause,
)
from tests.contract.conftest import Start
from tests.contract.runs import ContainerRun, assert_failed, docker, wait_until
from tests.contract.trees import Tree, labelled_rows

ENDLESS = {"epochs": "100000", "early_stopping_patience": "100000", "compatibility": "aws"}


@clause("Stop", "SIGTERM or Ctrl-C while waiting for data: exit 143", sdk2=FILES_ONLY, sdk3=FILES_ONLY)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_while_waiting_for_data(start: Start, pca_tree: Tree, number: signal.Signals) -> None:
    pca_tree.channels = {"train": {"TrainingInputMode": "Pipe"}}
    run = start(pca_tree.write())
    wait_until(lambda: "pipe input mode" in run.log_so_far())
    run.signal(number)
    assert_failed(
        pca_tree, run.wait(10), "ClientError: Training was asked to stop before it had a model", code=143
    )


@clause("Stop", "SIGTERM in the midst of the first pass over the data: exit 143", sdk2=FILES_ONLY, sdk3=FILES_ONLY)
def test_a_stop_while_reading(start: Start, linear_tree: Tree) -> None:
    """The writer of the pipe has sent half of its records, and then nothing more."""
    content = (linear_tree.root / "input/data/train/matrix_0.pbr").read_bytes()
    linear_tree.channels = {"train": {"TrainingInputMode": "Pipe"}}
    path = linear_tree.write().root / "input/data/train_0"
    os.mkfifo(path)
    run = start(linear_tree)
    with path.open("wb", buffering=0) as writer:
        writer.write(content[: len(content) // 2])
        wait_until(lambda: "pipe input mode" in run.log_so_far())
        run.signal(signal.SIGTERM)
        assert_failed(
            linear_tree, run.wait(10), "ClientError: Training was asked to stop before it had a model", code=143
        )


@clause("Stop", "SIGTERM during training saves the best model so far, exit 0")
def test_a_stop_during_training_saves_the_best_model_so_far(start: Start, linear_tree: Tree) -> None:
    linear_tree.hyperparameters |= ENDLESS
    run = start(linear_tree.write())
    wait_until(lambda: "epoch=2" in run.log_so_far())
    run.signal(signal.SIGTERM)
    result = run.wait(20)
    assert result.code == 0, result.log
    assert "Stopped by SIGTERM: the best model so far was saved." in result.log
    assert linear_tree.failure is None
    features, labels = labelled_rows(np.random.default_rng(7))
    model = linear_tree.model()
    assert np.mean(model.predict(features).predicted_label == labels) > 0.8  # type: ignore[union-attr]


@clause("Stop", "SIGTERM at any moment leaves a whole model or none", sdk2=SAME_CONTAINER, sdk3=SAME_CONTAINER)
@pytest.mark.parametrize("milliseconds", [20, 60, 100, 150, 200, 250, 300, 400])
def test_a_stop_at_any_moment_leaves_a_whole_model_or_none(
    start: Start, linear_tree: Tree, milliseconds: int
) -> None:
    run = start(linear_tree.write())
    time.sleep(milliseconds / 1000)
    with contextlib.suppress(AssertionError, ProcessLookupError):  # it may be done already
        run.signal(signal.SIGTERM)
    result = run.wait(20)
    assert not [name for name in linear_tree.model_files if name.startswith(".")]
    if result.code == 0:
        assert linear_tree.failure is None
        assert linear_tree.model() is not None
    elif result.code == 143:
        assert linear_tree.failure is not None
        assert linear_tree.model_files == []
    else:  # so early that the interpreter itself had not yet started
        assert result.code == -signal.SIGTERM, result.log
        assert linear_tree.model_files == []


@clause(
    "Stop",
    "SIGKILL, then the same job again: it resumes and ends with the same bytes",
    sdk2=NO_CHECKPOINTS,
    sdk3=NO_CHECKPOINTS,
)
@pytest.mark.parametrize(("after", "mode"), [("epoch=0", "best"), ("epoch=0", "aws"), ("epoch=3", "aws")])
def test_a_killed_job_goes_on_and_ends_with_the_same_bytes(
    start: Start, linear_tree: Tree, after: str, mode: str
) -> None:
    """SIGKILL, at two moments, then the same command again; compared with a job that nobody interrupted."""
    linear_tree.hyperparameters |= {"epochs": "20", "early_stopping_patience": "20", "compatibility": mode}
    rows, labels = labelled_rows(np.random.default_rng(3), count=40_000)  # long enough to be killed in the midst
    linear_tree.put("train", "matrix_0.pbr", write_recordio(rows, labels))
    assert start(linear_tree.write()).wait().code == 0
    uninterrupted = linear_tree.artifact
    linear_tree.clear_model()

    checkpoints = linear_tree.root / "checkpoints"
    checkpoints.mkdir()
    run = start(linear_tree)
    wait_until(lambda: after in run.log_so_far() and (checkpoints / "checkpoint.npz").exists())
    run.signal(signal.SIGKILL)
    assert run.wait().code in (-9, 137)
    linear_tree.clear_model()
    resumed = start(linear_tree).wait()
    assert resumed.code == 0, resumed.log
    assert "Resuming from the checkpoint" in resumed.log
    assert linear_tree.artifact == uninterrupted


@clause("Stop", "a checkpoint of other hyperparameters is not used", sdk2=NO_CHECKPOINTS, sdk3=NO_CHECKPOINTS)
def test_a_checkpoint_of_another_job_is_not_used(start: Start, linear_tree: Tree) -> None:
    (linear_tree.root / "checkpoints").mkdir(parents=True)
    assert start(linear_tree.write()).wait().code == 0
    linear_tree.hyperparameters["epochs"] = "5"
    result = start(linear_tree.write()).wait()
    assert result.code == 0
    assert "belongs to a job with other hyperparameters or other data" in result.log


@clause("Stop", "a job that is killed leaves no model")
def test_a_killed_job_leaves_no_model(start: Start, linear_tree: Tree) -> None:
    linear_tree.hyperparameters |= ENDLESS
    run = start(linear_tree.write())
    wait_until(lambda: "epoch=1" in run.log_so_far())
    run.signal(signal.SIGKILL)
    assert run.wait(20).code in (-9, 137)
    assert linear_tree.model_files == []


@clause(
    "Stop",
    "`docker stop` ends training within seconds",
    process=NEEDS_A_CONTAINER,
    sdk2=NOT_A_CALL,
    sdk3=NOT_A_CALL,
)
@pytest.mark.image
def test_docker_stop_ends_training_within_seconds(
    container: Callable[..., ContainerRun], linear_tree: Tree
) -> None:
    linear_tree.hyperparameters |= ENDLESS
    run = container(linear_tree.write())
    wait_until(lambda: "epoch=2" in run.log_so_far())
    docker("stop", "--time=30", run.name)
    result = run.wait()
    assert result.code == 0, result.log  # 137 would mean that it had to be killed
    assert "model_algo-1" in linear_tree.model_files


@clause(
    "Stop",
    "no process outlives a `train` that is killed",
    container=ENDS_WITH_ITS_FIRST,
    sdk2=ENDS_WITH_ITS_FIRST,
    sdk3=ENDS_WITH_ITS_FIRST,
)
def test_nobody_else_is_left_when_train_is_killed(linear_tree: Tree, start: Start) -> None:
    """SIGKILL of the supervising process must not leave the training process behind."""
    linear_tree.hyperparameters |= ENDLESS
    run = start(linear_tree.write())
    wait_until(lambda: "epoch=1" in run.log_so_far())
    parent = run.process.pid  # type: ignore[attr-defined]
    with open(f"/proc/{parent}/task/{parent}/children") as file:
        children = [int(pid) for pid in file.read().split()]
    assert len(children) == 1
    run.signal(signal.SIGKILL)
    run.wait()
    wait_until(lambda: not os.path.exists(f"/proc/{children[0]}/cmdline") or not _running(children[0]), 5)


def _running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().split()[2] != "Z"
    except OSError:
        return False


@clause("Stop", "a checkpoint of other data is not used", sdk2=NO_CHECKPOINTS, sdk3=NO_CHECKPOINTS)
def test_a_checkpoint_of_other_data_is_not_used(start: Start, linear_tree: Tree) -> None:
    """The same names and sizes, and other numbers: nothing but the content tells."""
    (linear_tree.root / "checkpoints").mkdir(parents=True)
    assert start(linear_tree.write()).wait().code == 0
    features, labels = labelled_rows(np.random.default_rng(99))
    linear_tree.put("train", "matrix_0.pbr", write_recordio(features, labels))
    result = start(linear_tree).wait()
    assert result.code == 0, result.log
    assert "belongs to a job with other hyperparameters or other data" in result.log
