"""The training contract, clause by clause, over real trees: as a process and in the image."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from algorithms.linear_learner.model import LinearLearnerModel
from algorithms.pca.model import PCAModel
from formats import write_recordio
from tests.contract.conftest import Start
from tests.contract.trees import Tree, feed_pipes, labelled_rows


def csv(features: np.ndarray, labels: np.ndarray) -> bytes:
    rows = np.column_stack([labels, features])
    return b"".join(b",".join(b"%.9g" % value for value in row) + b"\n" for row in rows)


def same_model(first: Tree, second: Tree) -> bool:
    return (first.root / "model/model_algo-1").read_bytes() == (second.root / "model/model_algo-1").read_bytes()


def test_pca_from_recordio_files(start: Start, pca_tree: Tree) -> None:
    result = start(pca_tree.write()).wait()
    assert result.code == 0, result.log
    assert pca_tree.failure is None
    model = pca_tree.model()
    assert isinstance(model, PCAModel)
    assert model.components.shape == (6, 2)
    report = json.loads((pca_tree.root / "model/report.json").read_bytes())
    assert report["algorithm"] == "pca"
    assert report["hyperparameters"]["num_components"] == 2


def test_linear_learner_from_recordio_files(start: Start, linear_tree: Tree) -> None:
    result = start(linear_tree.write()).wait()
    assert result.code == 0, result.log
    assert linear_tree.failure is None
    model = linear_tree.model()
    assert isinstance(model, LinearLearnerModel)
    features, labels = labelled_rows(np.random.default_rng(7))
    assert np.mean(model.predict(features).predicted_label == labels) > 0.9
    assert json.loads((linear_tree.root / "model/report.json").read_bytes())["algorithm"] == "linear-learner"


def test_the_reports_are_in_the_model_folder_and_in_output_data(start: Start, pca_tree: Tree) -> None:
    assert start(pca_tree.write()).wait().code == 0
    reports = [name for name in pca_tree.model_files if name != "model_algo-1"]
    assert "report.json" in reports
    assert sorted(path.name for path in (pca_tree.root / "output/data").iterdir()) == reports


def test_the_log_says_what_runs_what_was_given_what_it_means_and_what_was_found(
    start: Start, pca_tree: Tree
) -> None:
    pca_tree.channels["train"]["ContentType"] = "application/x-recordio-protobuf"
    log = start(pca_tree.write(), {"TRAINING_JOB_NAME": "digits-2026"}).wait().log
    assert log.startswith("Docker entrypoint called with argument(s): train\n")
    assert "eigenlearn 0." in log
    assert "Training job digits-2026" in log
    assert '"num_components": "2"' in log  # as given
    assert '"algorithm_mode": "regular"' in log  # as resolved
    assert "The channel 'train': 1 file, " in log
    assert "Checkpoint loading and saving are disabled." in log


@pytest.mark.parametrize("mode", ["File", "FastFile"])
def test_files_of_csv_gzip_and_subfolders(start: Start, linear_tree: Tree, tmp_path: Path, mode: str) -> None:
    """The same records as recordIO in one file and as CSV in three make the same model, byte for byte."""
    features, labels = labelled_rows(np.random.default_rng(3))
    other = Tree(tmp_path / "csv", linear_tree.hyperparameters)
    linear_tree.put("train", "matrix_0.pbr", write_recordio(features, labels))
    other.channels = {"train": {"TrainingInputMode": mode, "ContentType": "text/csv"}}
    other.put("train", "a.csv", csv(features[:100], labels[:100]))
    other.put("train", "b/part-0", csv(features[100:150], labels[100:150]).rstrip())
    other.put("train", "c.csv.gz", gzip.compress(csv(features[150:], labels[150:])))
    for tree in (linear_tree, other):
        result = start(tree.write()).wait()
        assert result.code == 0, result.log
    assert same_model(linear_tree, other)


def test_pipe_mode_reads_one_fifo_an_epoch_and_makes_the_same_model(
    start: Start, linear_tree: Tree, tmp_path: Path
) -> None:
    assert start(linear_tree.write()).wait().code == 0
    piped = Tree(tmp_path / "pipe", linear_tree.hyperparameters, {"train": {"TrainingInputMode": "Pipe"}})
    content = (linear_tree.root / "input/data/train/matrix_0.pbr").read_bytes()
    piped.write()
    feed_pipes(piped, "train", content, epochs=50)
    result = start(piped).wait()
    assert result.code == 0, result.log
    assert "pipe input mode under" in result.log
    assert same_model(linear_tree, piped)


def test_wrapped_csv_objects_from_a_pipe(start: Start, linear_tree: Tree, tmp_path: Path) -> None:
    features, labels = labelled_rows(np.random.default_rng(3))
    linear_tree.put("train", "matrix_0.pbr", write_recordio(features, labels))
    assert start(linear_tree.write()).wait().code == 0
    channel = {"TrainingInputMode": "Pipe", "ContentType": "text/csv", "RecordWrapperType": "RecordIO"}
    piped = Tree(tmp_path / "pipe", linear_tree.hyperparameters, {"train": channel}).write()
    lines = csv(features, labels).splitlines()
    framed = b"".join(
        b"\x0a\x23\xd7\xce" + len(line).to_bytes(4, "little") + line + b"\0" * (-len(line) % 4) for line in lines
    )
    feed_pipes(piped, "train", framed, epochs=50)
    result = start(piped).wait()
    assert result.code == 0, result.log
    assert same_model(linear_tree, piped)


def test_a_manifest_channel(start: Start, pca_tree: Tree) -> None:
    manifest = [{"prefix": "s3://bucket/prefix/"}, "matrix_0.pbr"]
    pca_tree.put("train", ".amazon.manifest", json.dumps(manifest).encode())
    assert start(pca_tree.write()).wait().code == 0


def test_validation_and_test_channels(start: Start, linear_tree: Tree, rng: np.random.Generator) -> None:
    for name in ("validation", "test"):
        linear_tree.put(name, "data", write_recordio(*labelled_rows(rng)))
        linear_tree.channels[name] = {"TrainingInputMode": "File"}
    result = start(linear_tree.write()).wait()
    assert result.code == 0, result.log
    assert "#quality_metric: host=algo-1, validation binary_classification_accuracy <score>=" in result.log
    assert "#quality_metric: host=algo-1, test binary_classification_accuracy <score>=" in result.log


def test_everything_that_may_be_missing_is_missing(start: Start, pca_tree: Tree) -> None:
    """As the SDK's local mode writes it, and less: no ContentType, no distribution, no host file."""
    pca_tree.channels = {"train": {}}
    pca_tree.write()
    (pca_tree.root / "input/config/resourceconfig.json").unlink()
    result = start(pca_tree).wait()
    assert result.code == 0, result.log
    assert "model_algo-1" in pca_tree.model_files


def test_a_tree_with_only_hyperparameters_and_data(start: Start, pca_tree: Tree) -> None:
    pca_tree.write()
    (pca_tree.root / "input/config/inputdataconfig.json").unlink()
    assert start(pca_tree).wait().code == 0


def test_the_environment_names_the_algorithm(start: Start, pca_tree: Tree) -> None:
    del pca_tree.hyperparameters["num_components"]
    result = start(pca_tree.write(), {"ALGORITHM": "pca"}).wait()
    assert result.code == 1
    assert pca_tree.failure is not None
    assert "num_components: is required" in pca_tree.failure


def test_the_same_job_twice_makes_the_same_bytes(start: Start, linear_tree: Tree) -> None:
    start(linear_tree.write()).wait()
    first = (linear_tree.root / "model/model_algo-1").read_bytes()
    start(linear_tree).wait()
    assert (linear_tree.root / "model/model_algo-1").read_bytes() == first


def test_a_success_clears_the_failure_of_the_run_before(start: Start, pca_tree: Tree) -> None:
    pca_tree.hyperparameters["num_components"] = "seven"
    assert start(pca_tree.write()).wait().code == 1
    assert pca_tree.failure is not None
    pca_tree.hyperparameters["num_components"] = "2"
    assert start(pca_tree.write()).wait().code == 0
    assert pca_tree.failure is None
