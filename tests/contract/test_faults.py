"""Mistakes in a job or its data, made for real: exit code, first line of the failure, nothing half-written."""

import numpy as np

from eigenline import write_recordio
from tests.contract.clauses import FILES_ONLY, WRITES_CONFIG, clause
from tests.contract.conftest import Start
from tests.contract.runs import assert_failed
from tests.contract.trees import Tree, feed_pipes, labelled_rows


@clause("Failures", "a wrong hyperparameter: all of them are named at once")
def test_a_wrong_hyperparameter(start: Start, pca_tree: Tree) -> None:
    pca_tree.hyperparameters |= {"num_components": "-2", "algorithm_mode": "exact"}
    result = start(pca_tree.write()).wait()
    assert_failed(pca_tree, result, "ClientError: 2 hyperparameters are wrong:")
    assert "num_components: must be" in str(pca_tree.failure)
    assert "Traceback" not in result.log


@clause("Failures", "more parallel models than anybody needs are refused")
def test_a_million_models(start: Start, linear_tree: Tree) -> None:
    linear_tree.hyperparameters["num_models"] = "1000000"
    assert_failed(
        linear_tree, start(linear_tree.write()).wait(), "ClientError: Hyperparameter num_models: must be"
    )


@clause("Failures", "a missing hyperparameter")
def test_a_missing_hyperparameter(start: Start, linear_tree: Tree) -> None:
    linear_tree.hyperparameters = {"mini_batch_size": "5"}
    assert_failed(linear_tree, start(linear_tree.write()).wait(), "ClientError: No algorithm was named.")


@clause(
    "Failures", "a configuration file that is no JSON: line and column", sdk2=WRITES_CONFIG, sdk3=WRITES_CONFIG
)
def test_a_configuration_that_is_no_json(start: Start, pca_tree: Tree) -> None:
    path = pca_tree.write().root / "input/config/hyperparameters.json"
    path.write_text("{'num_components': 2}")
    assert_failed(pca_tree, start(pca_tree).wait(), "ClientError: ")
    assert "hyperparameters.json is not valid JSON: line 1, column 2" in str(pca_tree.failure)


@clause("Failures", "a missing channel")
def test_a_missing_channel(start: Start, pca_tree: Tree) -> None:
    pca_tree.channels = {"test": pca_tree.channels["train"]}
    pca_tree.put("test", "data", b"x")
    assert_failed(pca_tree, start(pca_tree.write()).wait(), "ClientError: Channel 'train' is missing")


@clause("Failures", "an empty channel is refused by name")
def test_an_empty_channel(start: Start, pca_tree: Tree) -> None:
    pca_tree.put("train", "matrix_0.pbr", b"")
    assert_failed(pca_tree, start(pca_tree.write()).wait(), "ClientError: Channel 'train' is empty")


@clause("Failures", "a content type that nothing reads")
def test_a_content_type_that_nothing_reads(start: Start, pca_tree: Tree) -> None:
    pca_tree.channels["train"]["ContentType"] = "application/x-parquet"
    assert_failed(pca_tree, start(pca_tree.write()).wait(), "ClientError: Channel 'train': ")
    assert "application/x-parquet" in str(pca_tree.failure)


@clause("Failures", "a content type that the data are not")
def test_a_content_type_that_the_data_are_not(start: Start, pca_tree: Tree) -> None:
    pca_tree.channels["train"]["ContentType"] = "text/csv"
    assert_failed(pca_tree, start(pca_tree.write()).wait(), "ClientError: ")
    assert "matrix_0.pbr" in str(pca_tree.failure)


@clause("Failures", "a corrupt record in the middle: file and record")
def test_a_corrupt_record_in_the_middle(start: Start, pca_tree: Tree, rng: np.random.Generator) -> None:
    data = bytearray(write_recordio(labelled_rows(rng)[0]))
    frame = len(data) // 400
    data[200 * frame : 200 * frame + 4] = b"\0\0\0\0"  # the magic number of record 200, counted from zero
    pca_tree.put("train", "matrix_0.pbr", bytes(data))
    assert_failed(pca_tree, start(pca_tree.write()).wait(), "ClientError: ")
    assert "matrix_0.pbr" in str(pca_tree.failure)
    assert "record 20" in str(pca_tree.failure)


@clause("Failures", "files whose records differ in length")
def test_files_whose_records_differ_in_length(start: Start, pca_tree: Tree) -> None:
    pca_tree.put("train", "matrix_1.pbr", write_recordio(np.ones((3, 7), np.float32)))
    assert_failed(pca_tree, start(pca_tree.write()).wait(), "ClientError: Channel 'train': ")
    assert "matrix_1.pbr has 7 features, but" in str(pca_tree.failure)


@clause("Failures", "labels that are missing")
def test_labels_that_are_missing(start: Start, linear_tree: Tree, rng: np.random.Generator) -> None:
    linear_tree.put("train", "matrix_0.pbr", write_recordio(labelled_rows(rng)[0]))
    assert_failed(linear_tree, start(linear_tree.write()).wait(), "ClientError: ")
    assert "label" in str(linear_tree.failure)


@clause("Failures", "a FIFO whose writer dies", sdk2=FILES_ONLY, sdk3=FILES_ONLY)
def test_a_writer_of_a_pipe_that_dies(start: Start, linear_tree: Tree) -> None:
    content = (linear_tree.root / "input/data/train/matrix_0.pbr").read_bytes()
    linear_tree.channels = {"train": {"TrainingInputMode": "Pipe"}}
    feed_pipes(linear_tree.write(), "train", content[: len(content) // 2 + 5], epochs=50)
    assert_failed(linear_tree, start(linear_tree).wait(), "ClientError: ")
    assert "train_0" in str(linear_tree.failure)
