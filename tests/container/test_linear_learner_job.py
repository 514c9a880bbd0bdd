"""Linear Learner as a job: its log as machines scrape it, its metrics, its readable files."""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as oracle

from eigenline.algorithms.batch import Batch, HeldBatches
from eigenline.container import linear_learner_job as job
from eigenline.container.job import JobContext
from eigenline.container.job_log import JobLog
from tests.container.linear_learner_runs import TASKS, KeptStates, data, run

# Source: DescribeTrainingJob of a linear-learner job, 2020. {} is train, validation or test.
EVERY_CHANNEL = {
    "objective_loss:final": r"#quality_metric: host=\S+, {} \S+_objective <loss>=(\S+)",
}
EPOCHS = {
    "progress": r"#progress_metric: host=\S+, completed (\S+) %",
    "throughput": r"#throughput_metric: host=\S+, train throughput=(\S+) records/second",
    "train objective": r"#quality_metric: host=\S+, epoch=\S+, train \S+_objective <loss>=(\S+)",
    "validation objective": r"#quality_metric: host=\S+, epoch=\S+, validation \S+_objective <loss>=(\S+)",
}
OF_TASK = {
    "regressor": [r"mse <loss>=(\S+)", r"absolute_loss <loss>=(\S+)"],
    "binary_classifier": [
        r"binary_classification_accuracy <score>=(\S+)",
        r"precision <score>=(\S+)",
        r"recall <score>=(\S+)",
        r"binary_f_\S+ <score>=(\S+)",
        r"roc_auc_score <score>=(\S+)",
    ],
    "multiclass_classifier": [
        r"multiclass_accuracy <score>=(\S+)",
        r"multiclass_top_k_accuracy_\S+ <score>=(\S+)",
        r"dcg <score>=(\S+)",
        r"macro_recall <score>=(\S+)",
        r"macro_precision <score>=(\S+)",
        r"macro_f_\S+ <score>=(\S+)",
    ],
}


@pytest.mark.parametrize("compatibility", ["best", "aws"])
@pytest.mark.parametrize("task", TASKS)
def test_every_metric_definition_of_the_service_finds_its_number(task, compatibility):
    _, log, _ = run(task, compatibility=compatibility)
    for pattern in EPOCHS.values():
        assert all(np.isfinite(float(value)) for value in re.findall(pattern, log)), pattern
        assert re.search(pattern, log), pattern
    for channel in ("validation", "test"):
        wanted = [rf"#quality_metric: host=\S+, {channel} {name}" for name in OF_TASK[task]]
        for pattern in [*wanted, EVERY_CHANNEL["objective_loss:final"].format(channel)]:
            found = re.findall(pattern, log)
            assert len(found) == 1, pattern
            assert np.isfinite(float(found[0]))
    assert re.findall(EPOCHS["progress"], log)[-1] in ("100", "100.0")


def as_aws(given: dict[str, str], channels: dict[str, HeldBatches]) -> str:
    """Return the log of a job with a real one's hyperparameters."""
    stream = io.StringIO()
    settings = job.read_settings({**given, "compatibility": "aws"})
    job.run(settings, JobContext(channels, JobLog(stream, algorithm="Linear Learner"), KeptStates(), bool))
    return stream.getvalue()


def held(features: np.ndarray, labels: np.ndarray) -> HeldBatches:
    return HeldBatches([Batch(np.ascontiguousarray(features), labels)])


@pytest.fixture(scope="module")
def real_and_ours(aws_data: Path) -> dict[str, tuple[str, str]]:
    """The logs of two real jobs: binary without validation, multiclass with it."""
    table = np.loadtxt(aws_data / "linear-binary" / "train.csv", delimiter=",", dtype=np.float32)
    given = {"predictor_type": "binary_classifier", "mini_batch_size": "100"}
    binary = as_aws(given, {"train": held(table[:, 1:], table[:, 0])})
    with np.load(aws_data / "replay" / "ufo9.npz") as arrays:
        channels = {"train": held(arrays["X"], arrays["y"]), "validation": held(arrays["V"], arrays["v"])}
    given = {"feature_dim": "22", "num_classes": "3", "predictor_type": "multiclass_classifier"}
    return {
        "binary": ((aws_data / "linear-binary" / "training.log").read_text(), binary),
        "multiclass": ((aws_data / "replay" / "ufo9_2021.log").read_text(), as_aws(given, channels)),
    }


@pytest.mark.parametrize("name", ["binary", "multiclass"])
def test_the_log_reads_like_the_real_one(real_and_ours, name):
    """Line by line, numbers taken out: what the real job printed comes in the same order here."""
    theirs, log = real_and_ours[name]
    ours = iter(shapes(log))
    missing = [line for line in shapes(theirs) if line not in ours]  # `in` consumes: order matters
    assert missing == []


@pytest.mark.parametrize("name", ["binary", "multiclass"])
def test_counters_and_choice_are_the_real_ones_to_the_digit(real_and_ours, name):
    def exact(log: str) -> list[str]:
        lines = [re.sub(r"^\[[^]]*\] ", "", line) for line in log.splitlines()]
        counters = [json.dumps(json.loads(line[9:])["Metrics"]) for line in lines if '"Reset Count"' in line]
        kept = ("Best model found", "#progress_metric", "Epoch ", "Saving")
        return [*counters, *(line for line in lines if line.startswith(kept))]

    theirs, ours = (exact(log) for log in real_and_ours[name])
    assert ours == theirs


def test_macro_averages_are_float32_as_the_real_ones(real_and_ours):
    theirs, ours = (re.findall(r"\('(macro_\S+)', (\S+)\)", log) for log in real_and_ours["multiclass"])
    names = ["macro_recall", "macro_precision", "macro_f_1.000"]
    assert [name for name, _ in ours] == [name for name, _ in theirs] == names
    for (_, our), (name, their) in zip(ours, theirs, strict=True):
        assert float(our) == pytest.approx(float(their), rel=1.5e-7), name
        assert len(our) <= 10
        widened = [re.search(rf"validation {name} <score>=(\S+)", log)[1] for log in real_and_ours["multiclass"]]
        assert float(widened[0]) == float(np.float32(their))
        assert float(widened[1]) == float(np.float32(our))


@pytest.mark.parametrize("name", ["binary", "multiclass"])
def test_the_scaler_is_printed_as_mxnet_does(real_and_ours, name):
    """The same layout; a number may differ in its last digit, as the order of float32 sums is not known."""

    def printed(log: str) -> tuple[str, np.ndarray]:
        text = log[log.index(" {'stdev_label'") :]
        text = text[: text.index("}")]
        numbers = np.array([float(number) for number in re.findall(r"-?\d+\.\d+(?:e[+-]\d+)?", text)])
        return re.sub(r"[\d.e+-]+", "N", re.sub(r"\s+", " ", text)), numbers

    (their_layout, theirs), (our_layout, ours) = (printed(log) for log in real_and_ours[name])
    assert our_layout == their_layout
    assert ours == pytest.approx(theirs, rel=2e-6)


def test_the_log_of_best_has_no_arrays_and_no_line_for_every_model():
    _, log, _ = run("binary_classifier", optimizer="adam", epochs="2")
    assert "NDArray" not in log
    assert '"model"' not in log
    _, log, _ = run("binary_classifier", compatibility="aws", epochs="2")
    assert log.count('"model"') == 2 * 2 * 32


def test_a_score_that_does_not_change_improves_in_the_log_of_aws():
    """As in a public job: the criterion is printed once more at the end, and so is the improvement."""
    _, log, _ = run("binary_classifier", compatibility="aws", epochs="2")
    assert re.findall(r"epoch=1, criteria=(\S+),", log) == ["sampled_accuracy"] * 2
    assert log.count("Epoch 1: Loss improved. Updating best model") in (0, 2)


def shapes(log: str) -> list[str]:
    """Return the machine-readable lines of a log with their numbers replaced."""
    kept = []
    for line in log.splitlines():
        text = re.sub(r"^\[[^]]*\] ", "", line)
        if text.startswith("#metrics"):
            document = json.loads(text[9:])
            if "finalize.time" in document["Metrics"]:
                continue  # its entries are timings of the service's own internals
            text = json.dumps([document["Dimensions"], list(document["Metrics"])])
        elif not text.startswith(("#", "Epoch", "Saving", "Early", "Best model", "Test data")):
            continue
        kept.append(text if text.startswith("[") else re.sub(r"\d+\.\d+(e-?\d+)?", "N", text))
    return kept


def test_metrics_are_scikit_learns():
    outcome, log, batches = run("binary_classifier")
    batch = next(iter(batches["test"]))
    predicted = outcome.model.predict(batch.features)
    y, score, label = batch.labels, predicted.score.astype(float), predicted.predicted_label
    expected = {
        "binary_classification_accuracy": oracle.accuracy_score(y, label),
        "binary_f_1.000": oracle.f1_score(y, label),
        "precision": oracle.precision_score(y, label),
        "recall": oracle.recall_score(y, label),
        "roc_auc_score": oracle.roc_auc_score(y, score),
        "binary_balanced_accuracy": oracle.balanced_accuracy_score(y, label),
        "binary_log_loss": oracle.log_loss(y, score),
        "binary_classification_cross_entropy_objective": oracle.log_loss(y, score),
    }
    found = json.loads(outcome.reports["report.json"])["metrics"]
    for name, value in expected.items():
        assert found[f"test:{name}"] == pytest.approx(value, rel=1e-5), name
    table = oracle.confusion_matrix(y, label)
    assert json.loads(outcome.reports["report.json"])["confusion"]["test"] == table.tolist()
    assert f"{table[0, 0]:>7}{table[0, 1]:>7}" in log


def test_multiclass_metrics_are_scikit_learns():
    outcome, _, batches = run("multiclass_classifier", accuracy_top_k="2")
    batch = next(iter(batches["test"]))
    predicted = outcome.model.predict(batch.features)
    y, chance, label = batch.labels, predicted.score.astype(float), predicted.predicted_label
    chance /= chance.sum(axis=1, keepdims=True)  # float32 rounding, which scikit-learn does not allow
    gains = np.eye(3)[y.astype(int)]
    expected = {
        "multiclass_accuracy": oracle.accuracy_score(y, label),
        "multiclass_top_k_accuracy_2": oracle.top_k_accuracy_score(y, chance, k=2),
        "dcg": oracle.dcg_score(gains, chance),
        "macro_recall": oracle.recall_score(y, label, average="macro"),
        "macro_precision": oracle.precision_score(y, label, average="macro"),
        "macro_f_1.000": oracle.f1_score(y, label, average="macro"),
        "multiclass_balanced_accuracy": oracle.balanced_accuracy_score(y, label),
        "multiclass_log_loss": oracle.log_loss(y, chance),
    }
    found = json.loads(outcome.reports["report.json"])["metrics"]
    for name, value in expected.items():
        assert found[f"test:{name}"] == pytest.approx(value, rel=1e-5), name


def test_regression_metrics_are_in_the_labels_units():
    outcome, _, batches = run("regressor")
    batch = next(iter(batches["validation"]))
    error = outcome.model.predict(batch.features).score.astype(float) - batch.labels
    found = json.loads(outcome.reports["report.json"])["metrics"]
    assert found["validation:mse_objective"] == pytest.approx((error**2).mean(), rel=1e-6)
    assert found["validation:absolute_loss"] == pytest.approx(np.abs(error).mean(), rel=1e-6)


def test_the_readable_files():
    stream = io.StringIO()
    batches = {"train": HeldBatches([data("binary_classifier", names=("age", "income", "x", "y, z"))])}
    settings = job.read_settings({**TASKS["binary_classifier"], "num_models": "5"})
    outcome = job.run(settings, JobContext(batches, JobLog(stream), KeptStates(), bool))
    tables = {
        name: list(csv.DictReader(io.StringIO(outcome.reports[f"{name}.csv"].decode())))
        for name in ("models", "coefficients", "threshold_curve")
    }
    assert [row["stage"] for row in tables["models"]].count("path") == 5
    assert [row["outcome"] for row in tables["models"]].count("chosen") == 1
    assert [row["feature"] for row in tables["coefficients"]] == ["(intercept)", "age", "income", "x", "y, z"]
    raw = [float(row["coefficient"]) for row in tables["coefficients"]]
    assert raw[1:] == pytest.approx(outcome.model.weights[:, 0], rel=1e-6)
    features = next(iter(batches["train"])).features.astype(float)
    standardised = [float(row["standardised"]) for row in tables["coefficients"]]
    expected = (features - features.mean(0)) / features.std(0) @ standardised[1:] + standardised[0]
    assert expected == pytest.approx(outcome.model.raw_scores(features)[:, 0], abs=1e-4)
    recalls = [float(row["recall"]) for row in tables["threshold_curve"]]
    assert recalls == sorted(recalls)
    report = json.loads(outcome.reports["report.json"])
    assert report["feature_names"] == ["age", "income", "x", "y, z"]
    assert report["given"] == {"predictor_type": "binary_classifier", "num_models": 5}
    assert report["hyperparameters"]["num_models"] == 5
    assert any("won on" in sentence for sentence in report["summary"])


def test_a_validation_channel_of_another_width_is_refused():
    from eigenline.algorithms.errors import DataError

    batches = {
        "train": HeldBatches([data("regressor")]),
        "validation": HeldBatches([Batch(np.ones((5, 3), np.float32), np.ones(5, np.float32))]),
    }
    settings = job.read_settings(TASKS["regressor"])
    with pytest.raises(DataError, match="validation: records have 3 features, the training data have 4"):
        job.run(settings, JobContext(batches, JobLog(io.StringIO()), KeptStates(), bool))
