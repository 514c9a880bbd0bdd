import gzip
import html
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from eigenline.algorithms.batch import Batch
from eigenline.algorithms.linear_learner.model import LinearLearnerModel
from eigenline.command.main import eigenline
from eigenline.command.standard_errors import standard_errors
from eigenline.report.quality import calibration_bins, threshold_points
from eigenline.report.scores import binary_scores, quantile_scores, regression_scores, roc_auc
from eigenline.report.subject import Labelled
from tests.command.runs import Run, linear_table, people, write_csv


def page(folder: Path, *arguments: str) -> str:
    done = CliRunner().invoke(eigenline, ["report", *arguments])
    assert done.exit_code == 0, done.output
    text = (folder / "report.html").read_text()
    assert "<script" not in text
    # `xmlns` names a vocabulary; nothing is fetched.
    assert not re.search(r"(src|href)=\"(?!#|data:image/png)", text)
    assert not re.search(r"url\((?!#)", text)
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    names = re.findall(r'\bid="([^"]+)"', text)
    assert len(names) == len(set(names))
    return text


def trained(folder: Path, names: list[str], rows: object, *options: str) -> Path:
    write_csv(folder / "t.csv", names, rows)
    done = CliRunner().invoke(eigenline, ["train", str(folder / "t.csv"), "-o", str(folder / "m"), *options])
    assert done.exit_code == 0, done.output
    return folder / "m"


def test_two_classes(tmp_path: Path) -> None:
    names, rows = people(400)
    options = ["--fill", "mean", "--categories", "one-hot", "--ignore", "customer", "--target", "bought"]
    model = trained(tmp_path, names, rows, *options)
    text = page(model, str(model))
    for part in (
        "Predicting bought", "How good it is", "Measured on rows that did not train", "area under ROC",
        "What it confuses", "ROC curve; the area under it is 0.9", "Precision and recall; calling every row yes",
        "The threshold and its consequences", "(the model&#39;s)", "Calibration: of rows with a predicted "
        "probability",
        "What matters", "city=Rome", "Standard errors are from the Hessian", "The models it was chosen from",
        "To copy into a spreadsheet", "Texts became categories: city.",
    ):  # fmt: skip
        assert part in text, part
    assert text.count("<svg") == 6
    assert text.count('class="grid"') == 1


def test_a_number_with_data_of_ones_own(tmp_path: Path) -> None:
    names, table = linear_table(300)
    model = trained(tmp_path, names, table, "--target", "y")
    _, other = linear_table(200, seed=9)
    data = write_csv(tmp_path / "other.csv", names, other)
    text = page(model, str(model), "--data", str(data))
    assert f"Measured on {data}, 200 of them." in text
    assert "Residuals (true less predicted)" in text
    done = CliRunner().invoke(
        eigenline, ["report", str(model), "--data", str(write_csv(data, names[:3], other[:, :3]))]
    )
    assert done.exit_code == 1
    assert "has no column 'y', so nothing can be measured on it" in done.output


def test_nothing_held_out_nothing_claimed(tmp_path: Path) -> None:
    names, table = linear_table(300)
    model = trained(tmp_path, names, table, "--target", "y", "--hold-out", "0")
    text = page(model, str(model))
    assert "No rows were held out, so no score is shown" in text
    assert "RMSE" not in text


def test_many_classes_and_names_that_are_markup(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [
        [*rng.normal(k, 0.3, 2).round(3), name] for k, name in enumerate(["<b>", "$x$", "a&b"]) for _ in range(60)
    ]
    model = trained(tmp_path, ["$two$", "<i>one", "kind"], rows, "--target", "kind")
    text = page(model, str(model))
    assert "<b>" not in text
    assert "<i>" not in text
    assert html.escape("<i>one") in text
    assert "standard errors" in text.lower()


def test_components_as_bars(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 5)) @ rng.normal(size=(5, 5))
    model = trained(tmp_path, list("abcde"), rows.tolist(), "--pca", "3")
    text = page(model, str(model))
    for part in (
        "PCA: 3 components of 5 features",
        "90 % need",
        "Rows and features in the first two",
        "Component 3: its",
    ):
        assert part in text, part


@pytest.mark.slow
def test_eigendigits_as_pictures(tmp_path: Path, mnist_folder: Path) -> None:
    with gzip.open(mnist_folder / "t10k-images-idx3-ubyte.gz") as file:
        _, count, height, width = struct.unpack(">IIII", file.read(16))
        images = np.frombuffer(file.read(), np.uint8).reshape(count, height * width)[:2000]
    np.savez(tmp_path / "digits.npz", X=images.astype(np.float32))
    done = CliRunner().invoke(
        eigenline, ["train", str(tmp_path / "digits.npz"), "--pca", "10", "-o", str(tmp_path / "m")]
    )
    assert done.exit_code == 0, done.output
    assert "The components as pictures" in page(tmp_path / "m", str(tmp_path / "m"))


def test_an_artifact_of_aws(run: Run, tmp_path: Path, aws_data: Path) -> None:
    for kind, part in {
        "linear-binary": "The largest coefficients",
        "pca-regular": "the true shares are smaller",
    }.items():
        done = run("report", str(aws_data / kind / "model_algo-1"), "-o", "r.html")
        assert done.returncode == 0, done.stderr
        text = (tmp_path / "r.html").read_text()
        assert "only its numbers are known" in text
        assert part in text or "largest coefficients" in text


def test_scores_against_scikit_learn() -> None:
    from sklearn import metrics

    rng = np.random.default_rng(0)
    true = rng.integers(0, 2, 500).astype(float)
    score = np.round(np.clip(true * 0.3 + rng.random(500) * 0.7, 0.01, 0.99), 2)
    called = (score >= 0.5).astype(float)
    found = {entry.name: entry for entry in binary_scores(true, score, called, probabilities=True)}
    assert roc_auc(true, score) == pytest.approx(metrics.roc_auc_score(true, score), abs=1e-12)
    assert found["accuracy"].value == pytest.approx(metrics.accuracy_score(true, called))
    assert found["precision"].value == pytest.approx(metrics.precision_score(true, called))
    assert found["recall"].value == pytest.approx(metrics.recall_score(true, called))
    assert found["F1"].value == pytest.approx(metrics.f1_score(true, called))
    assert found["log loss"].value == pytest.approx(metrics.log_loss(true, score))
    # The deviation of a share of n rows is known: the bootstrap must find it.
    share = found["accuracy"].value
    assert found["accuracy"].spread == pytest.approx(np.sqrt(share * (1 - share) / 500), rel=0.2)
    label = rng.normal(size=400)
    predicted = label + rng.normal(size=400) / 2
    regression = {entry.name: entry.value for entry in regression_scores(label, predicted)}
    assert regression["R2"] == pytest.approx(metrics.r2_score(label, predicted))
    assert regression["mean absolute error"] == pytest.approx(metrics.mean_absolute_error(label, predicted))
    quantile = {entry.name: entry.value for entry in quantile_scores(label, predicted, 0.3)}
    assert quantile["pinball loss"] == pytest.approx(metrics.mean_pinball_loss(label, predicted, alpha=0.3))
    points = threshold_points(score, true == 1)
    precision, recall, thresholds = metrics.precision_recall_curve(true, score)
    assert points.threshold[:-1] == pytest.approx(thresholds)
    assert points.recall == pytest.approx(recall)
    assert points.precision[:-1] == pytest.approx(precision[:-1])
    predicted, observed, low, high = calibration_bins(score, true == 1)
    assert ((low <= observed) & (observed <= high)).all()
    assert len(Labelled(true, score[:, None]).labels) == 500


def test_standard_errors_are_those_of_the_textbook_and_of_resampling() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 3)) * [1, 5, 0.2] + [0, 3, -1]
    X[:, 1] += X[:, 0]
    y = X @ [1.0, -0.5, 2.0] + rng.normal(size=4000)
    design = np.column_stack([X, np.ones(4000)])
    fitted, residual, *_ = np.linalg.lstsq(design, y, rcond=None)
    textbook = np.sqrt(np.diag(np.linalg.inv(design.T @ design)) * residual[0] / (4000 - 4))
    model = LinearLearnerModel(
        fitted[:3, None].astype(np.float32), fitted[3:].astype(np.float32), "regressor", "squared_loss"
    )
    found = standard_errors(model, lambda: [Batch(X[:1500], y[:1500]), Batch(X[1500:], y[1500:])])
    assert found is not None
    assert found[0][:, 0] == pytest.approx(textbook[:3], rel=0.05)
    assert found[1][:, 0] == pytest.approx(textbook[:3] * X.std(axis=0), rel=0.05)

    from sklearn.linear_model import LogisticRegression

    label = (rng.random(4000) < 1 / (1 + np.exp(-(X @ [0.8, -0.2, 1.0])))).astype(float)
    wd = 0.05
    scaled = (X - X.mean(axis=0)) / X.std(axis=0)

    def fit(rows: np.ndarray) -> np.ndarray:
        # scikit-learn's objective is C times the summed loss and half the squares: C = 1 / (n wd)
        return LogisticRegression(C=1 / (len(rows) * wd), tol=1e-8).fit(scaled[rows], label[rows]).coef_[0]

    own = fit(np.arange(4000))
    logistic = LinearLearnerModel(
        (own / X.std(axis=0))[:, None].astype(np.float32), np.zeros(1, np.float32), "binary_classifier", "logistic"
    )
    bias = LogisticRegression(C=1 / (4000 * wd), tol=1e-8).fit(scaled, label).intercept_ - (
        own / X.std(axis=0)
    ) @ X.mean(axis=0)
    logistic = LinearLearnerModel(logistic.weights, bias.astype(np.float32), "binary_classifier", "logistic")
    found = standard_errors(logistic, lambda: [Batch(X, label)], wd)
    assert found is not None
    drawn = np.array([fit(rng.integers(0, 4000, 4000)) for _ in range(300)]).std(axis=0)
    assert found[1][:, 0] == pytest.approx(drawn, rel=0.15)
    hinge = LinearLearnerModel(logistic.weights, logistic.bias, "binary_classifier", "hinge_loss")
    assert standard_errors(hinge, lambda: [Batch(X, label)]) is None
