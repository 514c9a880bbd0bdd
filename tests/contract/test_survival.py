"""What a job survives, and how it ends where it cannot: links, side folders, neighbours, names, kills, memory."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from eigenline import write_recordio
from tests.contract.clauses import FILES_ONLY, FRESH_FOLDERS, IN_THE_SDKS, NO_CHECKPOINTS, WRITES_CONFIG, clause
from tests.contract.conftest import Start
from tests.contract.runs import TRAIN, assert_failed, wait_until
from tests.contract.trees import Tree, csv, feed_pipes, labelled_rows

ONLY_A_PROCESS = "the limit or the moment is set for a process of this machine"
PROCESS_ONLY = dict.fromkeys(("container", "sdk2", "sdk3"), ONLY_A_PROCESS)
COPIED = "local mode mounts the channel's folder alone, so a link out of it leads nowhere"


@clause("Input", "a linked folder is read like any other", sdk2=COPIED, sdk3=COPIED)
def test_a_linked_folder_is_read(start: Start, pca_tree: Tree, rng: np.random.Generator) -> None:
    """100 records in the channel and 300 behind a relative link, which a container sees too."""
    pca_tree.put("train", "matrix_0.pbr", write_recordio(labelled_rows(rng, 100)[0]))
    pca_tree.put("elsewhere", "matrix_1.pbr", write_recordio(labelled_rows(rng, 300)[0]))
    (pca_tree.root / "input/data/train/more").symlink_to(Path("..", "elsewhere"))
    result = start(pca_tree.write()).wait()
    assert result.code == 0, result.log
    assert "2 files" in result.log
    assert "400 records" in result.log


@clause("Input", "a link that leads nowhere is refused", sdk2=COPIED, sdk3=COPIED)
def test_a_broken_link_is_refused(start: Start, pca_tree: Tree) -> None:
    (pca_tree.root / "input/data/train/more").symlink_to("/nowhere/at/all")
    assert_failed(pca_tree, start(pca_tree.write()).wait(), "ClientError: Channel 'train': ")
    assert "is a link to '/nowhere/at/all', which is not there" in str(pca_tree.failure)


@clause(
    "Output", "where `output` or `checkpoints` cannot be written, the model is saved and the log warns",
    sdk2=FRESH_FOLDERS, sdk3=FRESH_FOLDERS,
)  # fmt: skip
def test_side_folders_that_cannot_be_written_do_not_cost_the_model(start: Start, linear_tree: Tree) -> None:
    linear_tree.write()
    for name in ("output", "checkpoints"):
        (linear_tree.root / name).mkdir(exist_ok=True)
        (linear_tree.root / name).chmod(0o555)
    result = start(linear_tree, plain_user=True).wait()
    assert result.code == 0, result.log
    assert linear_tree.model() is not None
    assert "report.json" in linear_tree.model_files
    assert "No checkpoint will be saved." in result.log
    assert "output/data cannot be written: Permission denied." in result.log


@clause("Failures", "a tree in which another job is at work", sdk2=FRESH_FOLDERS, sdk3=FRESH_FOLDERS)
def test_one_job_at_a_time_works_in_a_tree(start: Start, linear_tree: Tree) -> None:
    content = (linear_tree.root / "input/data/train/matrix_0.pbr").read_bytes()
    linear_tree.channels = {"train": {"TrainingInputMode": "Pipe"}}
    first = start(linear_tree.write())
    wait_until(lambda: "pipe input mode" in first.log_so_far())
    second = start(linear_tree).wait()
    assert second.code == 1
    assert "Another training job is at work in" in second.log
    assert linear_tree.failure is None  # it would be taken for the first one's
    feed_pipes(linear_tree, "train", content, epochs=50)
    result = first.wait()
    assert result.code == 0, result.log
    assert linear_tree.failure is None
    assert linear_tree.model() is not None


@clause("Input", "a CSV pipe that ends within a line is an error", sdk2=FILES_ONLY, sdk3=FILES_ONLY)
def test_a_csv_pipe_whose_writer_is_killed_within_a_line(start: Start, linear_tree: Tree) -> None:
    content = csv(*labelled_rows(np.random.default_rng(1)))
    linear_tree.channels = {"train": {"TrainingInputMode": "Pipe", "ContentType": "text/csv"}}
    feed_pipes(linear_tree.write(), "train", content[:-3], epochs=50)  # within the last number of the last line
    assert_failed(linear_tree, start(linear_tree).wait(), "ClientError: ")
    assert "train_0 ends within a line: the writer of the pipe probably died" in str(linear_tree.failure)


@clause("Input", "a CSV file without its last line end is read, with a warning")
def test_a_csv_file_that_ends_within_a_line_is_read_with_a_warning(start: Start, linear_tree: Tree) -> None:
    (linear_tree.root / "input/data/train/matrix_0.pbr").unlink()
    linear_tree.put("train", "a.csv", csv(*labelled_rows(np.random.default_rng(1)))[:-1])
    linear_tree.channels["train"]["ContentType"] = "text/csv"
    result = start(linear_tree.write()).wait()
    assert result.code == 0, result.log
    assert "a.csv ends without a line end" in result.log


@clause(
    "Failures", "a file name that is no UTF-8 text is written as its escapes", sdk2=IN_THE_SDKS, sdk3=IN_THE_SDKS
)
def test_a_file_name_that_is_no_text(start: Start, pca_tree: Tree) -> None:
    folder = os.fsencode(pca_tree.root / "input/data/train")
    with open(os.path.join(folder, b"m\xff.pbr"), "wb") as file:
        file.write(b"no recordIO at all")
    assert_failed(pca_tree, start(pca_tree.write()).wait(), "ClientError: ")
    assert "m\\udcff.pbr" in str(pca_tree.failure)


@clause(
    "Configuration",
    "values that nobody can mean are refused in a sentence",
    sdk2=WRITES_CONFIG,
    sdk3=WRITES_CONFIG,
)
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("hyperparameters", "[" * 100_000 + "]" * 100_000),
        ("hyperparameters", '{"num_components": ' + "9" * 5_000 + "}"),
        ("hyperparameters", '{"num_components": "3", "seed": "\\ud800"}'),
        ("inputdataconfig", '{"../train": {}}'),
        ("resourceconfig", '{"current_host": "a/b", "hosts": ["a/b"]}'),
        ("checkpointconfig", '{"LocalPath": "/tmp/\\u0000"}'),
    ],
)
def test_hostile_configuration(start: Start, pca_tree: Tree, name: str, text: str) -> None:
    (pca_tree.write().root / f"input/config/{name}.json").write_text(text)
    result = start(pca_tree).wait()
    assert_failed(pca_tree, result, "ClientError: ")
    assert f"{name}.json" in str(pca_tree.failure)
    assert "Traceback" not in result.log


@clause(
    "Stop", "a damaged checkpoint: training starts from the beginning", sdk2=NO_CHECKPOINTS, sdk3=NO_CHECKPOINTS
)
def test_a_damaged_checkpoint(start: Start, linear_tree: Tree) -> None:
    checkpoint = linear_tree.root / "checkpoints/checkpoint.npz"
    checkpoint.parent.mkdir(parents=True)
    assert start(linear_tree.write()).wait().code == 0
    expected = linear_tree.artifact
    damaged = bytearray(checkpoint.read_bytes())
    place = damaged.rindex(b"PK\1\2")
    damaged[place + 10] = 99  # a compression method that nobody knows
    checkpoint.write_bytes(bytes(damaged))
    result = start(linear_tree).wait()
    assert result.code == 0, result.log
    assert "training starts from the beginning" in result.log
    assert linear_tree.artifact == expected


@clause("Start", "where there is no job, nothing is created", **PROCESS_ONLY)
@pytest.mark.parametrize("there", [False, True])
def test_a_folder_that_holds_no_job(tmp_path: Path, there: bool) -> None:
    root = tmp_path / "typo"
    if there:
        root.mkdir()
    done = subprocess.run(
        TRAIN, env=os.environ | {"SAGEMAKER_BASE_DIR": str(root)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert str(root) in done.stderr
    assert root.exists() == there
    assert list(tmp_path.rglob("*")) == [root] * there


KILLED_JOBS = {
    "regular": {"num_components": "3", "feature_dim": "400", "mini_batch_size": "100"},
    "randomized": {
        "num_components": "3", "feature_dim": "400", "mini_batch_size": "100", "algorithm_mode": "randomized"
    },
    "best": {"predictor_type": "binary_classifier"},
    "aws": {"predictor_type": "binary_classifier", "compatibility": "aws", "epochs": "4"},
}  # fmt: skip


@clause("Stop", "SIGKILL at any moment, then the same job again: the same bytes", **PROCESS_ONLY)
@pytest.mark.slow
@pytest.mark.parametrize("kind", KILLED_JOBS)
def test_a_job_killed_at_three_moments_ends_with_the_same_bytes(start: Start, tmp_path: Path, kind: str) -> None:
    """Killed early, in the midst and late; `benchmarks/bench_kills.py` does it 200 times."""
    tree = Tree(tmp_path / "ml", KILLED_JOBS[kind], {"train": {"TrainingInputMode": "File"}}).write()
    rng = np.random.default_rng(4)
    features = rng.normal(size=(20_000, 400)).astype(np.float32)
    labels = (features[:, 0] + 0.5 * rng.normal(size=len(features)) > 0).astype(np.float32)
    tree.put("train", "matrix_0.pbr", write_recordio(features, labels))
    whole = start(tree).wait()
    assert whole.code == 0, whole.log
    expected = tree.artifact
    tree.clear_model()
    (tree.root / "checkpoints").mkdir()
    for share in (0.3, 0.6, 0.9):
        run = start(tree)
        time.sleep(share * whole.seconds)
        with contextlib.suppress(ProcessLookupError):
            run.signal(signal.SIGKILL)
        assert run.wait().code in (0, -9)
        assert [name for name in tree.model_files if name in ("model_algo-1", "report.json")] in (
            [],
            ["model_algo-1", "report.json"],
        )
        tree.clear_model()
    result = start(tree).wait()
    assert result.code == 0, result.log
    assert tree.artifact == expected


@clause("Failures", "too little memory, by any limit: a sentence or a model", **PROCESS_ONLY)
@pytest.mark.slow
@pytest.mark.parametrize("limit", ["RLIMIT_AS", "RLIMIT_DATA"])
@pytest.mark.parametrize("megabytes", [60, 100, 140, 180, 220, 260, 300])
@pytest.mark.parametrize("kind", ["regular", "best"])
def test_too_little_memory_gives_a_sentence_or_a_model(
    tmp_path: Path, kind: str, limit: str, megabytes: int
) -> None:
    tree = Tree(tmp_path / "ml", KILLED_JOBS[kind], {"train": {"TrainingInputMode": "File"}}).write()
    features = np.random.default_rng(4).normal(size=(20_000, 400)).astype(np.float32)
    tree.put("train", "matrix_0.pbr", write_recordio(features, (features[:, 0] > 0).astype(np.float32)))
    done = subprocess.run(
        ["prlimit", f"--{limit.removeprefix('RLIMIT_').lower()}={megabytes << 20}", *TRAIN],
        env=os.environ | {"SAGEMAKER_BASE_DIR": str(tree.root)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode == 0:
        assert tree.model() is not None
        assert tree.failure is None
    else:
        assert str(tree.failure).startswith("ClientError: "), done.stdout + done.stderr
        assert "memory" in str(tree.failure)
        assert "model_algo-1" not in tree.model_files
        assert not [name for name in tree.model_files if name.startswith(".")]
