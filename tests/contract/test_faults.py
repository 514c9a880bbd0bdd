"""What goes wrong, caused for real: the right exit code, the right first line, and nothing half-written."""

import contextlib
import os
import signal
import time
from collections.abc import Callable

import numpy as np
import pytest

from formats import write_recordio
from tests.contract.conftest import Start
from tests.contract.runs import ContainerRun, Result, docker, wait_until
from tests.contract.trees import Tree, feed_pipes, labelled_rows


def assert_failed(tree: Tree, result: Result, first_line: str, code: int = 1) -> None:
    """The exit code, the failure file's beginning, the same text in the log, no file in the model folder."""
    assert result.code == code, result.log
    assert tree.failure is not None, result.log
    assert tree.failure.startswith(first_line), tree.failure
    assert len(tree.failure) <= 1024
    assert tree.failure.partition(": ")[2][:60] in result.log
    assert tree.model_files == []


def test_a_wrong_hyperparameter(start: Start, pca_tree: Tree) -> None:
    pca_tree.hyperparameters |= {"num_components": "-2", "algorithm_mode": "exact"}
    result = start(pca_tree.write()).wait()
    assert_failed(pca_tree, result, "ClientError: 2 hyperparameters are wrong:")
    assert "num_components: must be" in str(pca_tree.failure)
    assert "Traceback" not in result.log


def test_a_missing_hyperparameter(start: Start, linear_tree: Tree) -> None:
    linear_tree.hyperparameters = {"mini_batch_size": "5"}
    assert_failed(linear_tree, start(linear_tree.write()).wait(), "ClientError: No algorithm was named.")


def test_a_configuration_that_is_no_json(start: Start, pca_tree: Tree) -> None:
    path = pca_tree.write().root / "input/config/hyperparameters.json"
    path.write_text("{'num_components': 2}")
    assert_failed(pca_tree, start(pca_tree).wait(), "ClientError: ")
    assert "hyperparameters.json is not valid JSON: line 1, column 2" in str(pca_tree.failure)


def test_a_missing_channel(start: Start, pca_tree: Tree) -> None:
    pca_tree.channels = {"test": pca_tree.channels["train"]}
    pca_tree.put("test", "data", b"x")
    assert_failed(pca_tree, start(pca_tree.write()).wait(), "ClientError: Channel 'train' is missing")


def test_an_empty_channel(start: Start, pca_tree: Tree) -> None:
    pca_tree.put("train", "matrix_0.pbr", b"")
    assert_failed(pca_tree, start(pca_tree.write()).wait(), "ClientError: Channel 'train' is empty")


def test_a_content_type_that_nothing_reads(start: Start, pca_tree: Tree) -> None:
    pca_tree.channels["train"]["ContentType"] = "application/x-parquet"
    assert_failed(pca_tree, start(pca_tree.write()).wait(), "ClientError: Channel 'train': ")
    assert "application/x-parquet" in str(pca_tree.failure)


def test_a_content_type_that_the_data_are_not(start: Start, pca_tree: Tree) -> None:
    pca_tree.channels["train"]["ContentType"] = "text/csv"
    assert_failed(pca_tree, start(pca_tree.write()).wait(), "ClientError: ")
    assert "matrix_0.pbr" in str(pca_tree.failure)


def test_a_corrupt_record_in_the_middle(start: Start, pca_tree: Tree, rng: np.random.Generator) -> None:
    data = bytearray(write_recordio(labelled_rows(rng)[0]))
    frame = len(data) // 400
    data[200 * frame : 200 * frame + 4] = b"\0\0\0\0"  # the magic number of record 200, counted from zero
    pca_tree.put("train", "matrix_0.pbr", bytes(data))
    assert_failed(pca_tree, start(pca_tree.write()).wait(), "ClientError: ")
    assert "matrix_0.pbr" in str(pca_tree.failure)
    assert "record 20" in str(pca_tree.failure)


def test_files_whose_records_differ_in_length(start: Start, pca_tree: Tree) -> None:
    pca_tree.put("train", "matrix_1.pbr", write_recordio(np.ones((3, 7), np.float32)))
    assert_failed(pca_tree, start(pca_tree.write()).wait(), "ClientError: Channel 'train': ")
    assert "matrix_1.pbr has 7 features, but" in str(pca_tree.failure)


def test_labels_that_are_missing(start: Start, linear_tree: Tree, rng: np.random.Generator) -> None:
    linear_tree.put("train", "matrix_0.pbr", write_recordio(labelled_rows(rng)[0]))
    assert_failed(linear_tree, start(linear_tree.write()).wait(), "ClientError: ")
    assert "label" in str(linear_tree.failure)


def test_a_writer_of_a_pipe_that_dies(start: Start, linear_tree: Tree) -> None:
    content = (linear_tree.root / "input/data/train/matrix_0.pbr").read_bytes()
    linear_tree.channels = {"train": {"TrainingInputMode": "Pipe"}}
    feed_pipes(linear_tree.write(), "train", content[: len(content) // 2 + 5], epochs=50)
    assert_failed(linear_tree, start(linear_tree).wait(), "ClientError: ")
    assert "train_0" in str(linear_tree.failure)


def test_shards_over_two_hosts_are_refused_rather_than_trained_by_halves(start: Start, pca_tree: Tree) -> None:
    pca_tree.channels["train"]["S3DistributionType"] = "ShardedByS3Key"
    pca_tree.hosts = ("localhost", "other")  # the other one never comes
    run = start(pca_tree.write("localhost"))
    wait_until(lambda: pca_tree.failure is not None)
    run.signal(signal.SIGKILL)
    run.wait()
    assert str(pca_tree.failure).startswith("ClientError: Channel 'train' is ShardedByS3Key over 2 hosts")


# --- stopping --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_while_waiting_for_data(start: Start, pca_tree: Tree, number: signal.Signals) -> None:
    pca_tree.channels = {"train": {"TrainingInputMode": "Pipe"}}
    run = start(pca_tree.write())
    wait_until(lambda: "pipe input mode" in run.log_so_far())
    run.signal(number)
    assert_failed(
        pca_tree, run.wait(10), "ClientError: Training was asked to stop before it had a model", code=143
    )


def test_a_stop_during_training_saves_the_best_model_so_far(start: Start, linear_tree: Tree) -> None:
    linear_tree.hyperparameters |= {
        "epochs": "100000",
        "early_stopping_patience": "100000",
        "compatibility": "aws",
    }
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


@pytest.mark.parametrize(("after", "mode"), [("epoch=0", "best"), ("epoch=0", "aws"), ("epoch=3", "aws")])
def test_a_killed_job_goes_on_and_ends_with_the_same_bytes(
    start: Start, linear_tree: Tree, after: str, mode: str
) -> None:
    """SIGKILL, at two moments, then the same command again; compared with a job that nobody interrupted."""
    linear_tree.hyperparameters |= {"epochs": "20", "early_stopping_patience": "20", "compatibility": mode}
    rows, labels = labelled_rows(np.random.default_rng(3), count=40_000)  # long enough to be killed in the midst
    linear_tree.put("train", "matrix_0.pbr", write_recordio(rows, labels))
    assert start(linear_tree.write()).wait().code == 0
    uninterrupted = (linear_tree.root / "model/model_algo-1").read_bytes()
    for path in (linear_tree.root / "model").iterdir():
        path.unlink()

    checkpoints = linear_tree.root / "checkpoints"
    checkpoints.mkdir()
    run = start(linear_tree)
    wait_until(lambda: after in run.log_so_far() and (checkpoints / "checkpoint.npz").exists())
    run.signal(signal.SIGKILL)
    assert run.wait().code in (-9, 137)
    for path in (linear_tree.root / "model").iterdir():
        path.unlink()
    resumed = start(linear_tree).wait()
    assert resumed.code == 0, resumed.log
    assert "Resuming from the checkpoint" in resumed.log
    assert (linear_tree.root / "model/model_algo-1").read_bytes() == uninterrupted


def test_a_checkpoint_of_another_job_is_not_used(start: Start, linear_tree: Tree) -> None:
    (linear_tree.root / "checkpoints").mkdir(parents=True)
    assert start(linear_tree.write()).wait().code == 0
    linear_tree.hyperparameters["epochs"] = "5"
    result = start(linear_tree.write()).wait()
    assert result.code == 0
    assert "belongs to a job with other hyperparameters or other data" in result.log


# --- what only a container can limit ---------------------------------------------------------------------------

Container = Callable[..., ContainerRun]


@pytest.mark.image
def test_a_disk_that_is_full(container: Container, pca_tree: Tree) -> None:
    run = container(pca_tree.write(), "--tmpfs=/opt/ml/model:size=4k")
    assert_failed(pca_tree, run.wait(), "ClientError: No space left on device: /opt/ml/model/")


@pytest.mark.image
def test_a_model_folder_that_is_read_only(container: Container, pca_tree: Tree) -> None:
    pca_tree.write()
    run = container(pca_tree, f"--volume={pca_tree.root}/model:/opt/ml/model:ro")
    assert_failed(pca_tree, run.wait(), "ClientError: /opt/ml/model cannot be written: Read-only file system.")


@pytest.mark.image
def test_a_file_that_this_user_may_not_read(container: Container, pca_tree: Tree) -> None:
    path = pca_tree.write().put("train", "matrix_1.pbr", write_recordio(np.ones((3, 6), np.float32)))
    path.chmod(0o600)
    for folder in ("model", "output"):
        (pca_tree.root / folder).chmod(0o777)
    result = container(pca_tree, "--user=12345:12345").wait()
    assert_failed(
        pca_tree, result, "ClientError: Channel 'train': /opt/ml/input/data/train/matrix_1.pbr cannot be"
    )
    assert "Permission denied" in str(pca_tree.failure)


@pytest.mark.image
def test_a_memory_limit_that_is_too_small(container: Container, pca_tree: Tree) -> None:
    """A Gram matrix of 6,000 features takes 288 MB; the kernel kills training, the failure file says why."""
    features = np.random.default_rng(1).normal(size=(6100, 6000)).astype(np.float32)
    pca_tree.put("train", "matrix_0.pbr", write_recordio(features))
    pca_tree.hyperparameters |= {"feature_dim": "6000"}
    result = container(pca_tree.write(), "--memory=160m", "--memory-swap=160m").wait()
    assert_failed(
        pca_tree, result, "ClientError: Training needed more memory than the container's limit of 160 MiB", 137
    )


@pytest.mark.image
def test_docker_stop_ends_training_within_seconds(container: Container, linear_tree: Tree) -> None:
    linear_tree.hyperparameters |= {
        "epochs": "100000",
        "early_stopping_patience": "100000",
        "compatibility": "aws",
    }
    run = container(linear_tree.write())
    wait_until(lambda: "epoch=2" in run.log_so_far())
    docker("stop", "--time=30", run.name)
    result = run.wait()
    assert result.code == 0, result.log  # 137 would mean that it had to be killed
    assert "model_algo-1" in linear_tree.model_files


def test_nobody_else_is_left_when_train_is_killed(
    linear_tree: Tree, start: Start, request: pytest.FixtureRequest
) -> None:
    """SIGKILL of the supervising process must not leave the training process behind."""
    if "container" in request.node.name:
        pytest.skip("a container ends with its process 1")
    linear_tree.hyperparameters |= {
        "epochs": "100000",
        "early_stopping_patience": "100000",
        "compatibility": "aws",
    }
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
