"""`compatibility=aws` against the logs and artifacts of real jobs: losses, stop, winner, export, metrics."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eigenline.algorithms.batch import Batch, HeldBatches
from eigenline.algorithms.errors import DataError
from eigenline.algorithms.linear_learner.metrics import Scores, score_channel
from eigenline.algorithms.linear_learner.minibatch_trainer import EarlyStopping
from eigenline.algorithms.linear_learner.reports import EpochReport, Notice, Trained
from eigenline.algorithms.linear_learner.settings import Settings, read_settings
from eigenline.algorithms.linear_learner.training import train
from eigenline.formats.artifact.model_file import read_artifact
from tests.algorithms.linear_learner import training_runs as runs


@dataclass
class Replay:
    """A real job's numbers and ours."""

    settings: Settings
    logged: dict[str, Any]
    channels: dict[str, HeldBatches]
    epochs: list[EpochReport]
    trained: Trained

    def losses(self, channel: str) -> tuple[np.ndarray, np.ndarray]:
        """Return ours and the service's, shape (epochs, models)."""
        ours = np.array([getattr(report, f"{channel}_loss") for report in self.epochs])
        assert len(self.logged[channel]) == ours.size, "as many epochs and models as in the log"
        theirs = np.full(ours.shape, np.nan)
        for place, loss in self.logged[channel].items():
            epoch, model = place.split(",")
            theirs[int(epoch), int(model)] = loss
        return ours, theirs

    def scores(self, channel: str) -> Scores:
        """Return our metrics of a channel."""
        scores = score_channel(self.trained.model, self.settings, self.channels[channel])
        assert scores is not None
        return scores


def held(features: np.ndarray, labels: np.ndarray) -> HeldBatches:
    return HeldBatches([Batch(np.ascontiguousarray(features), labels)])


def replay(given: dict[str, str], logged: dict[str, Any], arrays: dict[str, np.ndarray]) -> Replay:
    """Train with the job's hyperparameters and no others."""
    settings = read_settings({**given, "compatibility": "aws"})
    channels = {"train": held(arrays["X"], arrays["y"])}
    if "V" in arrays:
        channels["validation"] = held(arrays["V"], arrays["v"])
    reports = list(train(settings, channels))
    return Replay(settings, logged, channels, runs.epochs(reports), reports[-1])


@pytest.fixture(scope="module")
def binary(aws_data: Path) -> Replay:
    """6,548 records of 20 features, no validation; 2024."""
    folder = aws_data / "linear-binary"
    train_losses = {}
    for line in (folder / "training.log").read_text().splitlines():
        if line.startswith("#metrics") and '"model"' in line:
            document = json.loads(line[9:])
            place = document["Dimensions"]["epoch"], document["Dimensions"]["model"]
            train_losses[f"{place[0]},{place[1]}"] = next(iter(document["Metrics"].values()))["sum"]
    table = np.loadtxt(folder / "train.csv", delimiter=",", dtype=np.float32)
    given = {"predictor_type": "binary_classifier", "mini_batch_size": "100"}
    return replay(given, {"train": train_losses}, {"X": table[:, 1:], "y": table[:, 0]})


def recorded(aws_data: Path, name: str, log: str) -> Replay:
    folder = aws_data / "replay"
    logged = json.loads((folder / f"{log}.log.json").read_text())
    with np.load(folder / f"{name}.npz") as arrays:
        return replay(logged["given"], logged, dict(arrays))


@pytest.fixture(scope="module")
def multiclass(aws_data: Path) -> Replay:
    """14,430 records of 22 features, 3 classes, validation; 2021."""
    return recorded(aws_data, "ufo9", "ufo9_2021")


@pytest.fixture(scope="module")
def bike(aws_data: Path) -> Replay:
    """511 records of 15 features, squared loss, mini-batches of 4, 15 epochs without a stop; 2020."""
    return recorded(aws_data, "bike", "bike")


@pytest.fixture(scope="module")
def gas(aws_data: Path) -> Replay:
    """444 records of 59 features, absolute loss, validation, 10 epochs; 2020."""
    return recorded(aws_data, "gas", "gas")


def test_all_320_losses_of_the_binary_job_are_those_of_the_log(binary):
    ours, theirs = binary.losses("train")
    assert ours.shape == (10, 32), "the early stop comes after the same epoch"
    assert np.abs(ours - theirs).max() < 1e-6
    assert binary.trained.winner.model == 2
    assert "improved by less than" in binary.trained.stop_reason


def test_the_binary_artifact_has_the_same_weights_bias_and_threshold(binary, aws_data):
    theirs = read_artifact((aws_data / "linear-binary" / "model_algo-1").read_bytes())
    ours, summary = binary.trained.model, binary.trained.summary
    standardised = (ours.weights - theirs.weights) * summary.moments.deviation[:, None]
    assert np.abs(standardised).max() < 1e-5
    assert ours.bias == pytest.approx(theirs.bias, abs=1e-5)
    assert ours.threshold == pytest.approx(theirs.threshold, abs=1e-6)


def test_final_metrics_of_the_binary_job_are_those_of_the_log(binary):
    logged = {
        "binary_classification_cross_entropy_objective": 0.5551001572652641,
        "binary_classification_accuracy": 0.7112095296273672,
        "binary_f_1.000": 0.72162520241425,
        "precision": 0.7309871756635848,
        "recall": 0.7125,
        "roc_auc_score": 0.7852394233934931,
    }
    scores = binary.scores("train")
    for name, value in logged.items():
        assert scores[name] == pytest.approx(value, abs=1e-7), name


def test_multiclass_models_stop_winner_and_metrics_are_those_of_the_log(multiclass):
    for channel in ("train", "validation"):
        ours, theirs = multiclass.losses(channel)
        assert ours.shape == (11, 28)
        assert np.median(np.abs(ours - theirs)) < 1e-6
        assert (ours.argmin(axis=1) == theirs.argmin(axis=1)).all(), "the best model of every epoch"
    assert [report.epoch for report in multiclass.epochs if report.improved] == multiclass.logged["improved"]
    chosen = multiclass.trained.winner.hyperparameters
    assert {name: chosen[name] for name in multiclass.logged["best"]} == multiclass.logged["best"], (
        "to the last digit"
    )
    scores = multiclass.scores("validation")
    assert len(multiclass.logged["scores"]) == 7
    for _, name, value in multiclass.logged["scores"]:
        assert scores[name] == pytest.approx(float(value), abs=5e-6), name


@pytest.mark.parametrize(("job", "channel", "near"), [("bike", "train", 1e-6), ("gas", "train", 1e-7)])
def test_regression_models_and_winners_are_those_of_the_log(job, channel, near, request):
    found = request.getfixturevalue(job)
    ours, theirs = found.losses(channel)
    assert np.median(np.abs(ours - theirs)) < near
    assert (ours.argmin(axis=1) == theirs.argmin(axis=1)).all(), "the best model of every epoch"
    assert [report.epoch for report in found.epochs if report.improved] == found.logged["improved"]
    chosen = found.trained.winner.hyperparameters
    assert {name: chosen[name] for name in found.logged["best"]} == found.logged["best"]
    for scored, name, value in found.logged["scores"]:
        assert found.scores(scored)[name] == pytest.approx(float(value), rel=0.002), name


def test_validation_losses_of_a_regression_are_in_units_of_the_labels(gas):
    ours, theirs = gas.losses("validation")
    assert np.median(np.abs(ours / theirs - 1)) < 1e-4
    assert (ours.argmin(axis=1) == theirs.argmin(axis=1)).all()


def test_the_exported_epoch_is_the_last_that_improved(gas):
    """The job did not stop early: ten epochs, the seventh exported."""
    assert len(gas.epochs) == 10
    best = gas.epochs[6].validation_loss.min()
    assert gas.scores("validation")["absolute_loss_objective"] == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize(("job", "rows"), [("binary", 6500), ("multiclass", 11_000)])
def test_the_scaler_sees_whole_mini_batches_one_beyond_ten_thousand(job, rows, request):
    found = request.getfixturevalue(job)
    features = next(iter(found.channels["train"])).features[:rows]
    assert found.trained.summary.moments.mean == pytest.approx(features.mean(axis=0, dtype=np.float64), rel=1e-6)
    logged = {"binary": [12.140693, 0.49741572, 11.316927], "multiclass": [28.619652, 2.2057269, 10.121229]}
    assert found.trained.summary.moments.deviation[:3] == pytest.approx(logged[job], rel=1e-6)


def test_without_a_bias_features_are_divided_by_their_root_mean_square(rng):
    X = (5 + rng.normal(size=(400, 3))).astype(np.float32)
    reports = list(
        train(
            read_settings(
                {
                    "predictor_type": "regressor",
                    "compatibility": "aws",
                    "use_bias": "false",
                    "mini_batch_size": "100",
                }
            ),
            {"train": held(X, X[:, 0])},
        )
    )
    scaler = reports[-1].scaler
    assert not scaler.shift.any()
    assert 1 / scaler.factor == pytest.approx(np.sqrt(np.mean(X.astype(np.float64) ** 2, axis=0)), rel=1e-6)
    assert reports[-1].bias == pytest.approx(0, abs=1e-6)


def test_an_epoch_that_beats_the_last_three_is_waited_for_anew():
    """A rise after the lowest value, then a decrease that is no new lowest: counted from 0 again."""
    stopper = EarlyStopping(patience=3, tolerance=0.001)
    values = [1.0, 0.5, 0.7, 0.69, 0.68, 0.6, 0.61, 0.62, 0.63, 0.64]
    found = [(stopper.update(value), stopper.waited) for value in values]
    assert [improved for improved, _ in found] == [True, True] + [False] * 8
    assert [waited for _, waited in found] == [0, 0, 1, 2, 3, 0, 1, 2, 3, 4]
    assert stopper.stop


def test_an_equal_score_improves_as_in_the_service():
    stopper = EarlyStopping(patience=3, tolerance=0.001, as_service=True)
    assert [stopper.update(-score) for score in (0.9944, 0.99495, 0.99495, 0.9945, 0.99)] == [True] * 4 + [False]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({}, "binary_classification_cross_entropy_objective"),
        ({"positive_example_weight_mult": "balanced"}, "binary_classification_weighted_cross_entropy_objective"),
        ({"positive_example_weight_mult": "3"}, "binary_classification_weighted_cross_entropy_objective"),
    ],
)
@pytest.mark.parametrize("compatibility", ["aws", "best"])
def test_a_weighted_objective_has_its_own_name(rng, compatibility, given, name):
    X = rng.normal(size=(300, 3)).astype(np.float32)
    y = (X[:, 0] + rng.normal(size=300) > 0).astype(np.float32)
    settings = read_settings(
        {"predictor_type": "binary_classifier", "mini_batch_size": "50", "compatibility": compatibility, **given}
    )
    channel = held(X, y)
    trained = list(train(settings, {"train": channel}))[-1]
    assert score_channel(trained.model, settings, channel).metrics[0].name == name


@pytest.mark.parametrize("compatibility", ["aws", "best"])
@pytest.mark.parametrize("loss", ["absolute_loss", "squared_loss", "huber_loss"])
def test_a_binary_classifier_takes_a_regression_loss(rng, compatibility, loss):
    """As AWS's notebook parquet_to_recordio_protobuf does: the score is raw, the threshold calibrated."""
    X = rng.normal(size=(2000, 3)).astype(np.float32)
    y = (X[:, 0] > 0.3).astype(np.float32)
    settings = read_settings(
        {
            "predictor_type": "binary_classifier",
            "loss": loss,
            "mini_batch_size": "50",
            "compatibility": compatibility,
        }
    )
    channel = held(X, y)
    trained = list(train(settings, {"train": channel}))[-1]
    scores = score_channel(trained.model, settings, channel)
    assert scores["binary_classification_accuracy"] > 0.95
    assert scores.metrics[0].name == {"squared_loss": "mse"}.get(loss, loss) + "_objective"
    assert "binary_log_loss" not in [metric.name for metric in scores.metrics]


def choices_made(given: dict[str, str]) -> Iterator[str]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4)).astype(np.float32)
    y = rng.integers(0, 2 if given["predictor_type"] == "binary_classifier" else 3, 200).astype(np.float32)
    settings = read_settings({"compatibility": "aws", "mini_batch_size": "50", "epochs": "1", **given})
    for report in train(settings, {"train": held(X, y)}):
        if isinstance(report, Notice):
            yield report.text


def test_what_no_public_job_confirms_is_one_line_of_the_log():
    multiclass = {"predictor_type": "multiclass_classifier", "num_classes": "3"}
    assert any("32 d / (d + classes)" in text for text in choices_made(multiclass))
    assert not any("not known" in text for text in choices_made({**multiclass, "wd": "0.1", "num_models": "4"}))
    binary = {"predictor_type": "binary_classifier"}
    given = {**binary, "wd": "1", "learning_rate": "1"}
    assert any("given wd, learning_rate is not known" in text for text in choices_made(given))
    assert any("evenly spaced" in text for text in choices_made(binary))
    assert any("not verified" in text for text in choices_made({**binary, "init_method": "normal"}))


def test_fewer_records_than_a_mini_batch_are_refused():
    channel = [Batch(np.ones((7, 2), np.float32), np.ones(7, np.float32))]
    settings = read_settings({"predictor_type": "regressor", "compatibility": "aws"})
    with pytest.raises(DataError, match="set mini_batch_size to at most 7"):
        list(train(settings, {"train": channel}))
