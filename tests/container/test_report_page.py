"""The page beside every model that a job trains: one file, on rows that did not train, never a reason to fail."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.command.runs import command
from tests.contract.trees import LINEAR_HYPERPARAMETERS, PCA_HYPERPARAMETERS, Tree, csv, labelled_rows


def run(root: Path, hyperparameters: dict[str, str], channels: tuple[str, ...], **environment: str):
    tree = Tree(root, hyperparameters, {name: {"ContentType": "text/csv"} for name in channels}).write()
    for place, name in enumerate(channels):
        tree.put(name, "part.csv", csv(*labelled_rows(np.random.default_rng(place))))
    return tree, command("train", folder=root, env={"SAGEMAKER_BASE_DIR": str(root), **environment})


def page_of(root: Path) -> str:
    text = (root / "model" / "report.html").read_text()
    assert (root / "output" / "data" / "report.html").read_text() == text
    assert not re.search(r"<script|(src|href)=\"(?!#|data:image/png)|url\((?!#)", text)
    names = re.findall(r'\bid="([^"]+)"', text)
    assert len(names) == len(set(names))
    return text


@pytest.mark.parametrize(
    ("channels", "sentence"),
    [
        (("train",), "Only the train channel was given, so no score is shown"),
        (("train", "validation"), "Measured on the validation channel, which also chose the model"),
        (("train", "validation", "test"), "Measured on the test channel, 400 of them."),
    ],
)
def test_two_classes(tmp_path: Path, channels: tuple[str, ...], sentence: str) -> None:
    _, done = run(tmp_path, LINEAR_HYPERPARAMETERS, channels)
    assert done.returncode == 0, done.stdout
    text = page_of(tmp_path)
    assert sentence in text
    assert ("ROC curve" in text) == (len(channels) > 1)
    assert "What matters" in text
    assert "feature_1" in text


def test_a_number(tmp_path: Path) -> None:
    _, done = run(tmp_path, {"predictor_type": "regressor", "mini_batch_size": "50"}, ("train", "test"))
    assert done.returncode == 0, done.stdout
    assert "Residuals (true less predicted)" in page_of(tmp_path)


def test_components(tmp_path: Path) -> None:
    _, done = run(tmp_path, PCA_HYPERPARAMETERS, ("train",))
    assert done.returncode == 0, done.stdout
    text = page_of(tmp_path)
    assert "PCA: 2 components of 6 features" in text
    assert "Component 2: its largest loadings." in text


def test_the_same_job_writes_the_same_page(tmp_path: Path) -> None:
    pages = set()
    for name in ("first", "second"):
        run(tmp_path / name, PCA_HYPERPARAMETERS, ("train",))
        pages.add(page_of(tmp_path / name))
    assert len(pages) == 1


def test_it_can_be_left_away(tmp_path: Path) -> None:
    tree, done = run(tmp_path, PCA_HYPERPARAMETERS, ("train",), WRITE_REPORT="no")
    assert done.returncode == 0, done.stdout
    assert "report.json" in tree.model_files
    assert "report.html" not in tree.model_files


def test_a_page_that_cannot_be_written_costs_no_model(tmp_path: Path) -> None:
    (tmp_path / "output" / "data" / "report.html" / "in the way").mkdir(parents=True)
    tree, done = run(tmp_path, PCA_HYPERPARAMETERS, ("train",))
    assert done.returncode == 0, done.stdout
    assert tree.failure is None
    assert "WARNING 0] report.html was not written" in done.stdout
    assert "model_algo-1" in tree.model_files
    assert json.loads((tmp_path / "model" / "report.json").read_text())["algorithm"] == "pca"
