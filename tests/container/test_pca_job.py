"""PCA as a training job: SageMaker's log lines, the reports beside the model, and what stops it."""

from __future__ import annotations

import io
import json
import re
from itertools import count
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array

from eigenline.algorithms.batch import Batch, HeldBatches
from eigenline.algorithms.errors import DataError, HyperparameterError, Stopped
from eigenline.container import pca_job
from eigenline.container.checkpoints import NoCheckpoints
from eigenline.container.job import JobContext, Outcome
from eigenline.container.job_log import JobLog

GIVEN = {"feature_dim": "6", "mini_batch_size": "50", "num_components": "2"}


def ticking() -> Any:
    """Give a clock that goes half a second with each look."""
    ticks = count()
    return lambda: 1640608848.0 + next(ticks) / 2


def cut(features: Any, size: int = 40) -> list[Batch]:
    return [Batch(features[i : i + size]) for i in range(0, features.shape[0], size)]


def run(
    features: Any, test: Any = None, stopping: Any = lambda: False, channels: Any = None, **hyperparameters: object
) -> tuple[Outcome, str]:
    stream = io.StringIO()
    channels = channels or {"train": HeldBatches(cut(features))}
    if test is not None:
        channels["test"] = HeldBatches(cut(test))
    log = JobLog(stream, "algo-1", "PCA", ticking())
    settings = pca_job.read_settings({**GIVEN, **hyperparameters})
    return pca_job.run(settings, JobContext(channels, log, NoCheckpoints(), stopping)), stream.getvalue()


@pytest.fixture
def features(rng: np.random.Generator) -> NDArray[np.float32]:
    return (rng.standard_normal((120, 6)) * [5, 3, 1, 0.5, 0.2, 0.1]).astype(np.float32)


GOLDEN = """\
[12/27/2021 12:40:48 INFO 0] The default executor is <PCAExecutor on cpu(0)>.
[12/27/2021 12:40:49 INFO 0] 6 feature(s) found in 'data'.
[12/27/2021 12:40:50 INFO 0] <PCAExecutor on cpu(0)> is assigned to batch slice from 0 to 49.
#metrics {"StartTime": 1640608848.0, "EndTime": 1640608850.5, "Dimensions": \
{"Algorithm": "PCA", "Host": "algo-1", \
"Operation": "training"}, "Metrics": {"initialize.time": \
{"sum": 1000.0, "count": 1, "min": 1000.0, "max": 1000.0}}}

#metrics {"StartTime": 1640608851.0, "EndTime": 1640608851.0, "Dimensions": \
{"Algorithm": "PCA", "Host": "algo-1", \
"Operation": "training", "Meta": "init_train_data_iter"}, "Metrics": {\
"Total Records Seen": {"sum": 0.0, "count": 1, "min": 0, "max": 0}, \
"Total Batches Seen": {"sum": 0.0, "count": 1, "min": 0, "max": 0}, \
"Max Records Seen Between Resets": {"sum": 0.0, "count": 1, "min": 0, "max": 0}, \
"Max Batches Seen Between Resets": {"sum": 0.0, "count": 1, "min": 0, "max": 0}, \
"Reset Count": {"sum": 0.0, "count": 1, "min": 0, "max": 0}, \
"Number of Records Since Last Reset": {"sum": 0.0, "count": 1, "min": 0, "max": 0}, \
"Number of Batches Since Last Reset": {"sum": 0.0, "count": 1, "min": 0, "max": 0}}}

[2021-12-27 12:40:51.500] [tensorio] [info] epoch_stats={"data_pipeline": "/opt/ml/input/data/train", \
"epoch": 0, "duration": 1000, "num_examples": 1, "num_bytes": 960}
[2021-12-27 12:40:53.500] [tensorio] [info] epoch_stats={"data_pipeline": "/opt/ml/input/data/train", \
"epoch": 1, "duration": 4000, "num_examples": 3, "num_bytes": 2880}
#metrics {"StartTime": 1640608848.0, "EndTime": 1640608854.5, "Dimensions": \
{"Algorithm": "PCA", "Host": "algo-1", \
"Operation": "training"}, "Metrics": {"epochs": {"sum": 1.0, "count": 1, "min": 1, "max": 1}, \
"update.time": {"sum": 5000.0, "count": 1, "min": 5000.0, "max": 5000.0}}}

[12/27/2021 12:40:55 INFO 0] #progress_metric: host=algo-1, completed 100.0 % of epochs
#metrics {"StartTime": 1640608848.0, "EndTime": 1640608855.5, "Dimensions": \
{"Algorithm": "PCA", "Host": "algo-1", \
"Operation": "training", "epoch": 0, "Meta": "training_data_iter"}, "Metrics": {\
"Total Records Seen": {"sum": 120.0, "count": 1, "min": 120, "max": 120}, \
"Total Batches Seen": {"sum": 3.0, "count": 1, "min": 3, "max": 3}, \
"Max Records Seen Between Resets": {"sum": 120.0, "count": 1, "min": 120, "max": 120}, \
"Max Batches Seen Between Resets": {"sum": 3.0, "count": 1, "min": 3, "max": 3}, \
"Reset Count": {"sum": 1.0, "count": 1, "min": 1, "max": 1}, \
"Number of Records Since Last Reset": {"sum": 120.0, "count": 1, "min": 120, "max": 120}, \
"Number of Batches Since Last Reset": {"sum": 3.0, "count": 1, "min": 3, "max": 3}}}

[12/27/2021 12:40:56 INFO 0] #throughput_metric: host=algo-1, train throughput=24.0 records/second
#metrics {"StartTime": 1640608853.0, "EndTime": 1640608856.5, "Dimensions": \
{"Algorithm": "PCA", "Host": "algo-1", \
"Operation": "training"}, "Metrics": {"finalize.time": \
{"sum": 1000.0, "count": 1, "min": 1000.0, "max": 1000.0}}}

[12/27/2021 12:40:57 INFO 0] Test data is not provided.
"""


def test_the_log_is_that_of_the_service_line_by_line(features: NDArray[np.float32]) -> None:
    _, log = run(features)
    assert log[: len(GOLDEN)] == GOLDEN


def test_the_last_line_gives_setup_and_total_time(features: NDArray[np.float32]) -> None:
    _, log = run(features)
    last = log.strip().splitlines()[-1]
    metrics = json.loads(last.removeprefix("#metrics "))["Metrics"]
    assert list(metrics) == ["setuptime", "totaltime"]
    assert 0 < metrics["setuptime"]["sum"] < metrics["totaltime"]["sum"]


def test_every_pass_is_summed_up_as_the_data_reader_of_the_service_does(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.setattr("eigenline.algorithms.pca.solver_choice._HELD_BYTES", 0)
    wide = rng.standard_normal((120, 1100)).astype(np.float32)
    outcome, log = run(wide, algorithm_mode="randomized", num_components="1")
    pattern = r"^\[2021-12-27 12:4\d:\d\d\.\d{3}\] \[tensorio\] \[info\] epoch_stats=(.*)$"
    stats = [json.loads(text) for text in re.findall(pattern, log, re.MULTILINE)]
    passes = json.loads(outcome.reports["report.json"])["passes"]
    assert [line["epoch"] for line in stats] == list(range(passes + 1))
    assert {line["num_examples"] for line in stats[1:]} == {3}
    assert {line["num_bytes"] for line in stats[1:]} == {wide.nbytes}
    assert all(line["duration"] > 0 for line in stats)


def test_randomized_has_its_own_executor_and_warning(features: NDArray[np.float32]) -> None:
    _, log = run(features, algorithm_mode="randomized")
    assert "The default executor is <RandomizedPCAExecutor on cpu(0)>." in log
    warning = "The total number of components and extra components should be less than the number of features."
    assert f"WARNING 0] {warning}" in log
    assert warning not in run(features, algorithm_mode="randomized", extra_components="1")[1]


def test_a_wrong_feature_dim_is_said_and_the_data_win(features: NDArray[np.float32]) -> None:
    outcome, log = run(features, feature_dim="50000")
    assert "WARNING 0] feature_dim is 50000, but the records have 6 features: training with 6." in log
    assert outcome.model.feature_dim == 6


def test_what_is_explained_is_told_for_people_and_for_tuning_jobs(features: NDArray[np.float32]) -> None:
    _, log = run(features[:80], test=features[80:])
    assert "Test data is not provided." not in log
    pattern = r"#quality_metric: host=algo-1, (\w+) (\w+) <(\w+)>=(\S+)"
    found = {(channel, name): float(value) for channel, name, _, value in re.findall(pattern, log)}
    assert set(found) == {
        (c, n) for c in ("train", "test") for n in ("explained_variance_ratio", "reconstruction_error")
    }
    assert 0.9 < found["train", "explained_variance_ratio"] < 1
    assert 0.9 < found["test", "explained_variance_ratio"] < 1
    assert re.search(r"2 component\(s\) explain 9\d\.\d+ % of the train channel's total variance\.", log)
    assert re.search(r"Components needed for 99% of the variance: [2345]\.", log)
    assert "Reconstruction error, test:" in log


def test_reports_agree_with_the_model(features: NDArray[np.float32]) -> None:
    outcome, _ = run(features, test=features[:30], num_components="4", seed="5")
    report = json.loads(outcome.reports["report.json"])
    assert report["algorithm"] == "pca"
    assert report["given"] == {"feature_dim": 6, "mini_batch_size": 50, "num_components": 4, "seed": 5}
    assert report["hyperparameters"]["algorithm_mode"] == "regular"
    values = np.sort(outcome.model.singular_values.astype(np.float64))[::-1] ** 2
    total = ((features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)) ** 2).sum()
    np.testing.assert_allclose(report["explained_variance_ratio"], values / total, rtol=1e-5)
    np.testing.assert_allclose(report["cumulative_explained_variance_ratio"], np.cumsum(values) / total, rtol=1e-5)
    assert report["metrics"]["train:explained_variance_ratio"] == pytest.approx(values.sum() / total)
    assert report["metrics"]["test:reconstruction_error"] > 0
    assert report["component_order"] == "ascending"


@pytest.mark.parametrize("mode", ["regular", "randomized"])
def test_csv_files_are_strongest_first_in_both_modes(features: NDArray[np.float32], mode: str) -> None:
    outcome, _ = run(features, test=features[:30], num_components="4", algorithm_mode=mode)
    variance = np.genfromtxt(io.BytesIO(outcome.reports["explained_variance.csv"]), delimiter=",", names=True)
    order = variance["column"].astype(int)
    assert order.tolist() == ([3, 2, 1, 0] if mode == "regular" else [0, 1, 2, 3])
    np.testing.assert_allclose(variance["singular_value"], outcome.model.singular_values[order], rtol=1e-6)
    np.testing.assert_allclose(variance["explained_variance"], variance["singular_value"] ** 2 / 119, rtol=1e-6)
    assert (np.diff(variance["cumulative_ratio"]) >= 0).all()
    components = np.genfromtxt(io.BytesIO(outcome.reports["components.csv"]), delimiter=",", names=True)
    np.testing.assert_array_equal(components["mean"].astype(np.float32), outcome.model.mean)
    table = np.column_stack([components[f"component_{i}"] for i in range(1, 5)]).astype(np.float32)
    np.testing.assert_array_equal(table, outcome.model.components[:, order])


def test_components_that_nobody_could_read_are_not_written_as_text(rng: np.random.Generator) -> None:
    wide = csr_array(rng.standard_normal((3, 1_100_000)).astype(np.float32) * (rng.random((3, 1_100_000)) < 1e-4))
    outcome, _ = run(wide, algorithm_mode="randomized")
    assert sorted(outcome.reports) == ["explained_variance.csv", "report.json"]


def test_the_test_channel_must_have_the_same_columns(features: NDArray[np.float32]) -> None:
    with pytest.raises(DataError, match=r"test channel's records have 5 features.*train channel have 6"):
        run(features, test=features[:, :5])


def test_a_test_channel_with_missing_values_is_an_error(features: NDArray[np.float32]) -> None:
    test = features.copy()
    test[3, 3] = np.nan
    with pytest.raises(DataError, match="test channel has values that are not finite"):
        run(features, test=test)


def test_hyperparameters_are_checked_before_any_data() -> None:
    with pytest.raises(HyperparameterError, match="num_components"):
        pca_job.read_settings({**GIVEN, "num_components": "many"})


def test_a_stop_keeps_a_model_of_what_was_read(features: NDArray[np.float32]) -> None:
    asked = iter([False, *[True] * 100])
    outcome, log = run(features, stopping=lambda: next(asked))
    assert outcome.model.components.shape == (6, 2)
    assert "Training was asked to stop early" in log


def test_a_stop_before_the_first_record_leaves_no_model() -> None:
    with pytest.raises(Stopped):
        run(None, stopping=lambda: True, channels={"train": HeldBatches([])})
