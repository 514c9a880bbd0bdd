"""What a job leaves behind: model, reports, log lines to measure by; and an earlier run's files."""

import re

import numpy as np

from eigenline import write_recordio
from eigenline.container.metric_definitions import metric_definitions
from tests.contract.clauses import FRESH_FOLDERS, clause
from tests.contract.conftest import Start
from tests.contract.trees import Tree, labelled_rows


@clause("Output", "the reports are in the model folder and in `output/data`")
def test_the_reports_are_in_the_model_folder_and_in_output_data(start: Start, pca_tree: Tree) -> None:
    assert start(pca_tree.write()).wait().code == 0
    reports = [name for name in pca_tree.model_files if not name.startswith("model_algo-1")]
    assert "report.json" in reports
    assert sorted(path.name for path in (pca_tree.root / "output/data").iterdir()) == reports


@clause("Output", "the metric definitions find their numbers in the log")
def test_the_metric_definitions_find_their_numbers(start: Start, linear_tree: Tree) -> None:
    linear_tree.put("validation", "data", write_recordio(*labelled_rows(np.random.default_rng(5))))
    linear_tree.channels["validation"] = {"TrainingInputMode": "File"}
    log = start(linear_tree.write()).wait().log
    patterns = {entry["Name"]: entry["Regex"] for entry in metric_definitions("linear-learner")}
    for name in ("train:progress", "train:objective_loss", "validation:precision", "validation:binary_f_beta"):
        found = re.findall(patterns[name], log)
        assert found, name
        assert all(np.isfinite(float(number)) for number in found), name


@clause("Output", "the same job twice makes the same bytes")
def test_the_same_job_twice_makes_the_same_bytes(start: Start, linear_tree: Tree) -> None:
    start(linear_tree.write()).wait()
    first = linear_tree.artifact
    linear_tree.clear_model()
    start(linear_tree).wait()
    assert linear_tree.artifact == first


@clause("Output", "a success clears the failure of the run before", sdk2=FRESH_FOLDERS, sdk3=FRESH_FOLDERS)
def test_a_success_clears_the_failure_of_the_run_before(start: Start, pca_tree: Tree) -> None:
    pca_tree.hyperparameters["num_components"] = "seven"
    assert start(pca_tree.write()).wait().code == 1
    assert pca_tree.failure is not None
    pca_tree.hyperparameters["num_components"] = "2"
    assert start(pca_tree.write()).wait().code == 0
    assert pca_tree.failure is None


@clause(
    "Output", "a failure keeps the model of the run before, and says so", sdk2=FRESH_FOLDERS, sdk3=FRESH_FOLDERS
)
def test_a_failure_keeps_the_model_of_the_run_before(start: Start, pca_tree: Tree) -> None:
    assert start(pca_tree.write()).wait().code == 0
    files = {name: (pca_tree.root / "model" / name).read_bytes() for name in pca_tree.model_files}
    pca_tree.hyperparameters["num_components"] = "seven"
    result = start(pca_tree.write()).wait()
    assert result.code == 1
    assert {name: (pca_tree.root / "model" / name).read_bytes() for name in pca_tree.model_files} == files
    assert str(pca_tree.failure).startswith("ClientError: Hyperparameter num_components: ")
    for text in (str(pca_tree.failure), result.log):
        assert "model_algo-1 is of an earlier run and was left as it is" in text
