"""The training contract, clause by clause, over real trees: as a process, in the image, and through both SDKs."""

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest

from eigenline import write_recordio
from eigenline.algorithms.linear_learner.model import LinearLearnerModel
from eigenline.algorithms.pca.model import PCAModel
from tests.contract.clauses import FILES_ONLY, WRITES_CONFIG, clause
from tests.contract.conftest import Start
from tests.contract.trees import Tree, csv, feed_pipes, framed, labelled_rows

WITHOUT_SDKS_FILES = {"sdk2": WRITES_CONFIG, "sdk3": WRITES_CONFIG}
WITHOUT_SDKS_MODES = {"sdk2": FILES_ONLY, "sdk3": FILES_ONLY}


# --- start and configuration -----------------------------------------------------------------------------------


@clause("Start", "`train` trains PCA on recordIO files and exits 0")
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


@clause("Start", "`train` trains Linear Learner on recordIO files and exits 0")
def test_linear_learner_from_recordio_files(start: Start, linear_tree: Tree) -> None:
    result = start(linear_tree.write()).wait()
    assert result.code == 0, result.log
    assert linear_tree.failure is None
    model = linear_tree.model()
    assert isinstance(model, LinearLearnerModel)
    features, labels = labelled_rows(np.random.default_rng(7))
    assert np.mean(model.predict(features).predicted_label == labels) > 0.9
    assert json.loads((linear_tree.root / "model/report.json").read_bytes())["algorithm"] == "linear-learner"


@clause("Start", "the log says what runs, what was given, what that means, and what was found")
def test_the_log_says_what_runs_what_was_given_what_it_means_and_what_was_found(
    start: Start, pca_tree: Tree, request: pytest.FixtureRequest
) -> None:
    pca_tree.channels["train"]["ContentType"] = "application/x-recordio-protobuf"
    log = start(pca_tree.write(), {"TRAINING_JOB_NAME": "digits-2026"}).wait().log
    in_docker = request.node.callspec.params["start"] != "process"
    assert log.startswith("Docker entrypoint called with argument(s): train\n") == in_docker
    assert "eigenline 0." in log
    assert re.search(r"Training job \S+", log)
    assert '"num_components": "2"' in log  # as given
    assert '"algorithm_mode": "regular"' in log  # as resolved
    assert "The channel 'train': 1 file, " in log
    assert "Checkpoint loading and saving are disabled." in log


@clause(
    "Configuration", "values are strings, or JSON in strings; keys of the SDK and of a tuning job are tolerated"
)
def test_hyperparameters_in_every_dress(start: Start, pca_tree: Tree) -> None:
    pca_tree.hyperparameters |= {
        "algorithm_mode": '"randomized"',
        "_tuning_objective_metric": "train:explained_variance_ratio",
        "sagemaker_region": '"eu-central-1"',
    }
    result = start(pca_tree.write()).wait()
    assert result.code == 0, result.log
    assert '"algorithm_mode": "randomized"' in result.log


@clause("Configuration", "`ContentType`, distribution, wrapper and hosts may be absent", **WITHOUT_SDKS_FILES)
def test_everything_that_may_be_missing_is_missing(start: Start, pca_tree: Tree) -> None:
    """As the SDK's local mode writes it, and less: no ContentType, no distribution, no host file."""
    pca_tree.channels = {"train": {}}
    pca_tree.write()
    (pca_tree.root / "input/config/resourceconfig.json").unlink()
    result = start(pca_tree).wait()
    assert result.code == 0, result.log
    assert "model_algo-1" in pca_tree.model_files


@clause("Configuration", "hyperparameters and data alone are a job", **WITHOUT_SDKS_FILES)
def test_a_tree_with_only_hyperparameters_and_data(start: Start, pca_tree: Tree) -> None:
    pca_tree.write()
    (pca_tree.root / "input/config/inputdataconfig.json").unlink()
    (pca_tree.root / "input/config/resourceconfig.json").unlink()
    assert start(pca_tree).wait().code == 0


@clause("Configuration", "the environment reaches the job: `ALGORITHM` names the algorithm")
def test_the_environment_names_the_algorithm(start: Start, pca_tree: Tree) -> None:
    del pca_tree.hyperparameters["num_components"]
    result = start(pca_tree.write(), {"ALGORITHM": "pca"}).wait()
    assert result.code == 1
    assert pca_tree.failure is not None
    assert "num_components: is required" in pca_tree.failure


# --- input -------------------------------------------------------------------------------------------------------


def assert_csv_makes_the_model_of_recordio(
    start: Start, linear_tree: Tree, folder: Path, channel: dict[str, str]
) -> None:
    """The same records as recordIO in one file and as CSV in three make the same model, byte for byte."""
    features, labels = labelled_rows(np.random.default_rng(3))
    other = Tree(folder, linear_tree.hyperparameters)
    linear_tree.put("train", "matrix_0.pbr", write_recordio(features, labels))
    other.channels = {"train": channel}
    other.put("train", "a.csv", csv(features[:100], labels[:100]))
    other.put("train", "b/part-0", csv(features[100:150], labels[100:150]).rstrip())
    other.put("train", "c.csv.gz", gzip.compress(csv(features[150:], labels[150:])))
    for tree in (linear_tree, other):
        result = start(tree.write()).wait()
        assert result.code == 0, result.log
    assert linear_tree.artifact == other.artifact


@clause("Input", "File mode: several files, subfolders, CSV and gzip")
def test_files_of_csv_gzip_and_subfolders(start: Start, linear_tree: Tree, tmp_path: Path) -> None:
    channel = {"TrainingInputMode": "File", "ContentType": "text/csv"}
    assert_csv_makes_the_model_of_recordio(start, linear_tree, tmp_path / "csv", channel)


@clause("Input", "FastFile mode reads as File mode does", **WITHOUT_SDKS_MODES)
def test_fast_file_mode(start: Start, linear_tree: Tree, tmp_path: Path) -> None:
    channel = {"TrainingInputMode": "FastFile", "ContentType": "text/csv;label_size=1"}
    assert_csv_makes_the_model_of_recordio(start, linear_tree, tmp_path / "csv", channel)


@clause("Input", "Pipe mode: one FIFO an epoch, made late and closed early; the same model", **WITHOUT_SDKS_MODES)
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
    assert linear_tree.artifact == piped.artifact


@clause("Input", "Pipe mode: objects wrapped by `RecordWrapperType=RecordIO`", **WITHOUT_SDKS_MODES)
def test_wrapped_csv_objects_from_a_pipe(start: Start, linear_tree: Tree, tmp_path: Path) -> None:
    features, labels = labelled_rows(np.random.default_rng(3))
    linear_tree.put("train", "matrix_0.pbr", write_recordio(features, labels))
    assert start(linear_tree.write()).wait().code == 0
    channel = {"TrainingInputMode": "Pipe", "ContentType": "text/csv", "RecordWrapperType": "RecordIO"}
    piped = Tree(tmp_path / "pipe", linear_tree.hyperparameters, {"train": channel}).write()
    feed_pipes(piped, "train", framed(csv(features, labels).splitlines()), epochs=50)
    result = start(piped).wait()
    assert result.code == 0, result.log
    assert linear_tree.artifact == piped.artifact


@clause("Input", "an augmented manifest: one frame an attribute, joined to records", **WITHOUT_SDKS_MODES)
def test_an_augmented_manifest(start: Start, linear_tree: Tree, tmp_path: Path) -> None:
    """`AttributeNames=["label", "features"]`, as SageMaker streams it."""
    features, labels = labelled_rows(np.random.default_rng(3))
    linear_tree.put("train", "matrix_0.pbr", write_recordio(features, labels))
    assert start(linear_tree.write()).wait().code == 0
    channel = {"TrainingInputMode": "Pipe", "ContentType": "text/csv", "RecordWrapperType": "RecordIO"}
    piped = Tree(tmp_path / "pipe", linear_tree.hyperparameters, {"train": channel}).write()
    attributes = [value for line in csv(features, labels).splitlines() for value in line.split(b",", 1)]
    feed_pipes(piped, "train", framed(attributes), epochs=50)
    result = start(piped).wait()
    assert result.code == 0, result.log
    assert linear_tree.artifact == piped.artifact


@clause("Input", "a manifest says which files are read", **WITHOUT_SDKS_MODES)
def test_a_manifest_channel(start: Start, pca_tree: Tree) -> None:
    manifest = [{"prefix": "s3://bucket/prefix/"}, "matrix_0.pbr"]
    pca_tree.put("train", ".amazon.manifest", json.dumps(manifest).encode())
    pca_tree.put("train", "not_listed.pbr", b"no recordIO at all")
    result = start(pca_tree.write()).wait()
    assert result.code == 0, result.log


def _named_csv(features: np.ndarray, labels: np.ndarray, order: list[int], label_place: int) -> bytes:
    """A table with a header, its features in some order and its label in some place."""
    columns = [f"feature {number}" for number in order]
    columns.insert(label_place, "bought")
    rows = np.insert(features[:, order], label_place, labels, axis=1)
    return (",".join(columns) + "\n").encode() + b"".join(
        b",".join(b"%.9g" % value for value in row) + b"\n" for row in rows
    )


@clause("Input", "columns with names: matched over files and channels in any order, the label by its name")
def test_columns_with_names(start: Start, linear_tree: Tree, rng: np.random.Generator) -> None:
    """A test channel with its columns turned round scores as one that has them in order."""
    features, labels = labelled_rows(rng)
    (linear_tree.root / "input/data/train/matrix_0.pbr").unlink()
    linear_tree.put("train", "a.csv", _named_csv(features[:200], labels[:200], [0, 1, 2, 3, 4, 5], 6))
    linear_tree.put("train", "b.csv", _named_csv(features[200:], labels[200:], [3, 1, 5, 0, 2, 4], 2))
    linear_tree.put("test", "a.csv", _named_csv(features, labels, [5, 4, 3, 2, 1, 0], 0))
    linear_tree.channels = {name: {"ContentType": "text/csv;target=bought"} for name in ("train", "test")}
    result = start(linear_tree.write()).wait()
    assert result.code == 0, result.log
    report = json.loads((linear_tree.root / "model/report.json").read_bytes())
    names = [f"feature {number}" for number in range(6)]
    assert report["feature_names"] == names
    metrics = report["metrics"]
    assert metrics["test:binary_classification_accuracy"] == metrics["train:binary_classification_accuracy"] > 0.9
    table = (linear_tree.root / "model/coefficients.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in table[2:]] == names
    model = linear_tree.model()
    assert isinstance(model, LinearLearnerModel)
    assert np.mean(model.predict(features).predicted_label == labels) > 0.9


@clause("Input", "`text/csv` of PCA with exactly `feature_dim` columns has no label")
def test_pca_of_a_table_without_a_label(start: Start, pca_tree: Tree, rng: np.random.Generator) -> None:
    features, labels = labelled_rows(rng)
    (pca_tree.root / "input/data/train/matrix_0.pbr").unlink()
    pca_tree.put("train", "a.csv", _named_csv(features[:, 1:], labels, [0, 1, 2, 3, 4], 5))
    pca_tree.channels["train"]["ContentType"] = "text/csv"
    result = start(pca_tree.write()).wait()
    assert result.code == 0, result.log
    assert "no label, because lines have feature_dim=6 values" in result.log
    report = json.loads((pca_tree.root / "model/report.json").read_bytes())
    names = [*(f"feature {number}" for number in range(5)), "bought"]
    assert report["feature_dim"] == 6
    assert report["feature_names"] == names
    table = (pca_tree.root / "model/components.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in table[1:]] == names


@clause("Input", "channels `validation` and `test` are read and scored")
def test_validation_and_test_channels(start: Start, linear_tree: Tree, rng: np.random.Generator) -> None:
    for name in ("validation", "test"):
        linear_tree.put(name, "data", write_recordio(*labelled_rows(rng)))
        linear_tree.channels[name] = {"TrainingInputMode": "File"}
    result = start(linear_tree.write()).wait()
    assert result.code == 0, result.log
    for name in ("validation", "test"):
        assert re.search(
            rf"#quality_metric: host=algo-1\S*, {name} binary_classification_accuracy <score>=", result.log
        )
