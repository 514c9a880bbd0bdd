"""Limits of the machine, caused for real: a full disk, modes that forbid, too little memory."""

from collections.abc import Callable

import numpy as np
import pytest

from eigenline import write_recordio
from tests.contract.clauses import FRESH_FOLDERS, NEEDS_A_CONTAINER, NO_OPTIONS, clause
from tests.contract.conftest import Start
from tests.contract.runs import ContainerRun, assert_failed
from tests.contract.trees import Tree

Container = Callable[..., ContainerRun]
OWN_MOUNT = "local mode mounts the model folder itself, without a limit"
# A tmpfs ends with its container, so what is in it must be looked at from within.
LOOK = "echo left in the model folder: $(ls -A /opt/ml/model | grep . || echo none)"
TRAIN_AND_LOOK = ["sh", "-c", f"train; code=$?; {LOOK}; exit $code"]


@clause(
    "Failures", "the disk of the model folder is full", process=NEEDS_A_CONTAINER, sdk2=OWN_MOUNT, sdk3=OWN_MOUNT
)
@pytest.mark.image
@pytest.mark.parametrize("kilobytes", [4, 8])  # full with the first file, and with a later one
def test_a_disk_that_is_full(container: Container, pca_tree: Tree, kilobytes: int) -> None:
    run = container(pca_tree.write(), f"--tmpfs=/opt/ml/model:size={kilobytes}k", command=TRAIN_AND_LOOK)
    result = run.wait()
    assert_failed(pca_tree, result, "ClientError: No space left on device: /opt/ml/model/")
    assert result.log.rstrip().endswith("left in the model folder: none")


@clause(
    "Failures", "the model folder is mounted read-only", process=NEEDS_A_CONTAINER, sdk2=OWN_MOUNT, sdk3=OWN_MOUNT
)
@pytest.mark.image
def test_a_model_folder_that_is_mounted_read_only(container: Container, pca_tree: Tree) -> None:
    pca_tree.write()
    run = container(pca_tree, f"--volume={pca_tree.root}/model:/opt/ml/model:ro")
    assert_failed(pca_tree, run.wait(), "ClientError: /opt/ml/model cannot be written: Read-only file system.")


@clause("Failures", "the model folder may not be written", sdk2=FRESH_FOLDERS, sdk3=FRESH_FOLDERS)
def test_a_model_folder_that_may_not_be_written(start: Start, pca_tree: Tree) -> None:
    (pca_tree.write().root / "model").chmod(0o555)
    result = start(pca_tree, plain_user=True).wait()
    assert_failed(pca_tree, result, "ClientError: /")
    assert "/model cannot be written: Permission denied." in str(pca_tree.failure)


@clause("Failures", "a file that this user may not read", sdk3=NO_OPTIONS)
def test_a_file_that_this_user_may_not_read(start: Start, pca_tree: Tree) -> None:
    path = pca_tree.write().put("train", "matrix_1.pbr", write_recordio(np.ones((3, 6), np.float32)))
    path.chmod(0)
    result = start(pca_tree, plain_user=True).wait()
    assert_failed(pca_tree, result, "ClientError: Channel 'train': /")
    assert "/input/data/train/matrix_1.pbr cannot be read: Permission denied." in str(pca_tree.failure)


@clause(
    "Failures",
    "a memory limit that is too small (`docker run -m`): exit 137",
    process=NEEDS_A_CONTAINER,
    sdk3=NO_OPTIONS,
)
def test_a_memory_limit_that_is_too_small(start: Start, pca_tree: Tree) -> None:
    """A Gram matrix of 6,000 features takes 288 MB; the kernel kills training, the failure file says why."""
    features = np.random.default_rng(1).normal(size=(6100, 6000)).astype(np.float32)
    pca_tree.put("train", "matrix_0.pbr", write_recordio(features))
    pca_tree.hyperparameters |= {"feature_dim": "6000"}
    result = start(pca_tree.write(), memory="160m").wait()
    assert_failed(
        pca_tree, result, "ClientError: Training needed more memory than the container's limit of 160 MiB", 137
    )
