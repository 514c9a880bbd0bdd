"""Metric definitions against the logs of real jobs, and the documentation against the code."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from docs.generate import generated
from eigenline import write_recordio
from eigenline.algorithms.hyperparameters import declarations
from eigenline.container.algorithm_choice import LINEAR_LEARNER, PCA
from eigenline.container.metric_definitions import LIMIT, metric_definitions
from eigenline.container.training_specification import main, settings_type, training_specification

ROOT = Path(__file__).parents[2]
TRAIN = [sys.executable, "-m", "eigenline", "train"]
JOBS = {
    "binary_classifier": {"predictor_type": "binary_classifier"},
    "regressor": {"predictor_type": "regressor"},
    "multiclass_classifier": {"predictor_type": "multiclass_classifier", "num_classes": "3"},
    "pca": {"num_components": "2"},
}


@pytest.fixture(scope="module")
def log_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Train a small job of each kind, with all channels or with ``train`` alone, and return its log."""
    logs: dict[str, str] = {}

    def run(name: str, channels: tuple[str, ...] = ("train", "validation", "test")) -> str:
        key = f"{name} {channels}"
        if key not in logs:
            root = tmp_path_factory.mktemp(name)
            rng = np.random.default_rng(5)
            for channel in channels:
                features = rng.normal(size=(120, 4)).astype(np.float32)
                value = features @ np.float32([1, -1, 0.5, 0])
                labels = {
                    "regressor": value,
                    "multiclass_classifier": np.digitize(value, [-0.7, 0.7]).astype(np.float32),
                }.get(name, (value > 0).astype(np.float32))
                folder = root / "input" / "data" / channel
                folder.mkdir(parents=True)
                (folder / "data").write_bytes(write_recordio(features, labels))
            (root / "input" / "config").mkdir()
            hyperparameters = {"feature_dim": "4", "mini_batch_size": "20"} | JOBS[name]
            (root / "input/config/hyperparameters.json").write_text(json.dumps(hyperparameters))
            environment = os.environ | {"SAGEMAKER_BASE_DIR": str(root)}
            done = subprocess.run(TRAIN, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout
            logs[key] = done.stdout
        return logs[key]

    return run


def values(log: str, name: str, algorithm: str = LINEAR_LEARNER) -> list[float]:
    [regex] = [entry["Regex"] for entry in metric_definitions(algorithm) if entry["Name"] == name]
    return [float(match[1]) for match in re.finditer(regex, log)]


@pytest.mark.parametrize("algorithm", [PCA, LINEAR_LEARNER])
def test_the_service_would_take_the_definitions(algorithm: str) -> None:
    definitions = metric_definitions(algorithm)
    assert len(definitions) <= LIMIT
    assert len({entry["Name"] for entry in definitions}) == len(definitions)
    for entry in definitions:
        assert re.compile(entry["Regex"]).groups == 1


def test_every_definition_finds_its_numbers_in_the_log_of_a_job_that_has_them(
    log_of: Callable[..., str],
) -> None:
    logs = "".join(log_of(name) for name in ("binary_classifier", "regressor", "multiclass_classifier"))
    # The final scores of `train` are logged where there is no validation channel, as the service does.
    logs += log_of("binary_classifier", ("train",)) + log_of("regressor", ("train",))
    for entry in metric_definitions(LINEAR_LEARNER):
        assert values(logs, entry["Name"]), f"{entry['Name']} is in no log"
    for entry in metric_definitions(PCA):
        assert values(log_of("pca"), entry["Name"], PCA), f"{entry['Name']} is in no log"


def test_a_tuner_finds_one_final_value_and_one_an_epoch(log_of: Callable[..., str]) -> None:
    log = log_of("binary_classifier")
    assert len(values(log, "validation:binary_classification_accuracy")) == 1
    assert len(values(log, "validation:objective_loss:final")) == 1
    epochs = len(values(log, "train:objective_loss"))
    assert epochs > 1
    assert len(values(log, "validation:objective_loss")) == epochs
    progress = values(log, "train:progress")
    assert progress == sorted(progress)
    assert 0 < progress[-1] <= 100


def test_the_definitions_of_the_service_are_kept_to_the_letter() -> None:
    given = {entry["Name"]: entry["Regex"] for entry in metric_definitions(LINEAR_LEARNER)}
    assert given["train:progress"] == r"#progress_metric: host=\S+, completed (\S+) %"
    assert given["validation:objective_loss"] == (
        r"#quality_metric: host=\S+, epoch=\S+, validation \S+_objective <loss>=(\S+)"
    )
    assert given["test:binary_f_beta"] == r"#quality_metric: host=\S+, test binary_f_\S+ <score>=(\S+)"


@pytest.mark.parametrize("algorithm", [PCA, LINEAR_LEARNER])
def test_the_training_specification_holds_every_hyperparameter(algorithm: str) -> None:
    specification = training_specification(algorithm, "image")
    entries = {entry["Name"]: entry for entry in specification["SupportedHyperParameters"]}
    assert list(entries) == list(declarations(settings_type(algorithm)))
    required = {name for name, entry in entries.items() if entry["IsRequired"]}
    pca = {"feature_dim", "num_components", "mini_batch_size"}
    assert required == ({"predictor_type"} if algorithm == LINEAR_LEARNER else pca)
    for entry in entries.values():
        assert entry["Type"] in {"Integer", "Continuous", "Categorical", "FreeText"}
        assert ("DefaultValue" in entry) <= (not entry["IsRequired"])
        for bounds in entry.get("Range", {}).values():
            assert bounds.get("Values") or float(bounds["MinValue"]) < float(bounds["MaxValue"])


def test_the_specification_is_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pca", "my-image"]) == 0
    assert json.loads(capsys.readouterr().out)["TrainingImage"] == "my-image"
    assert main(["kmeans"]) == 2
    with pytest.raises(ValueError, match="no such algorithm: 'kmeans'"):
        metric_definitions("kmeans")


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_the_documentation_is_current(path: Path) -> None:
    page = path.read_text()
    assert generated(page) == page, "run: python -m docs.generate"
