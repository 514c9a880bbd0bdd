from pathlib import Path

import numpy as np
from click.testing import CliRunner

from eigenline.algorithms.linear_learner.model import LinearLearnerModel
from eigenline.algorithms.pca.model import PCAModel
from eigenline.command.main import eigenline
from eigenline.formats.artifact.model_file import write_artifact
from tests.command.runs import linear_table, write_csv


def said_by(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(eigenline, list(map(str, arguments)))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def folder(path: Path, model: LinearLearnerModel | PCAModel) -> Path:
    path.mkdir()
    (path / "model_algo-1").write_bytes(write_artifact(model))
    return path


def test_a_model_and_itself(tmp_path: Path) -> None:
    names, table = linear_table(200)
    data = write_csv(tmp_path / "t.csv", names, table)
    for output in ("a", "b"):
        assert said_by("train", data, "--target", "y", "-o", tmp_path / output)[0] == 0
    code, said = said_by("compare", tmp_path / "a", tmp_path / "b", "--data", data)
    assert code == 0, said
    assert "the largest difference is 0," in said
    assert "scores differ by at most 0." in said
    assert "The JSON responses are the same bytes." in said
    assert "RMSE" in said


def test_coefficients_and_threshold(tmp_path: Path) -> None:
    weights = np.array([[1.0], [2.0]], np.float32)
    bias = np.zeros(1, np.float32)
    a = folder(tmp_path / "a", LinearLearnerModel(weights, bias, "binary_classifier", "logistic", 0.5))
    b = folder(tmp_path / "b", LinearLearnerModel(weights * 2, bias + 1, "binary_classifier", "hinge_loss", 0.25))
    code, said = said_by("compare", a, b)
    assert code == 0
    assert "different losses: logistic and hinge_loss" in said
    assert "-0.25" in said
    assert "the largest difference is 2, at column_2; the cosine of their directions is 1.000000000." in said


def test_components_up_to_their_sign(tmp_path: Path, rng: np.random.Generator) -> None:
    components = np.linalg.qr(rng.normal(size=(5, 2)))[0].astype(np.float32)
    mean = rng.normal(size=5).astype(np.float32)
    values = np.array([1, 2], np.float32)
    a = folder(tmp_path / "a", PCAModel(values, components, mean))
    b = folder(tmp_path / "b", PCAModel(values[::-1].copy(), np.ascontiguousarray(-components[:, ::-1]), mean))
    (tmp_path / "t.csv").write_text(
        "\n".join(",".join(map(str, row)) for row in rng.normal(size=(20, 5)).tolist())
    )
    code, said = said_by("compare", a, b, "--data", tmp_path / "t.csv")
    assert code == 0, said
    assert "the smallest |cosine| of a pair is 1.00000" in said
    found = float(said.split("scores differ by at most ")[1].split()[0].rstrip("."))
    assert found < 1e-5


def test_what_does_not_compare(tmp_path: Path, rng: np.random.Generator) -> None:
    pca = folder(tmp_path / "a", PCAModel(np.ones(1, np.float32), np.ones((2, 1), np.float32)))
    linear = folder(
        tmp_path / "b",
        LinearLearnerModel(np.ones((2, 1), np.float32), np.ones(1, np.float32), "regressor", "squared_loss"),
    )
    wide = folder(tmp_path / "c", PCAModel(np.ones(1, np.float32), np.ones((3, 1), np.float32)))
    assert "are of different kinds" in said_by("compare", pca, linear)[1]
    assert "they do not compare" in said_by("compare", pca, wide)[1]
    (tmp_path / "log").write_text("nothing")
    assert "holds no #quality_metric line" in said_by("compare", pca, pca, "--log", tmp_path / "log")[1]
    assert said_by("compare", pca, pca, "--log", tmp_path / "none")[0] == 1


def test_an_artifact_of_aws_beside_one_trained_here(tmp_path: Path, aws_data: Path) -> None:
    """AWS's own training file, log and artifact: the model that is trained here on the same rows agrees."""
    data = aws_data / "linear-binary"
    code, said = said_by("train", data / "train.csv", "--target", "first", "--hold-out", "0", "-o", tmp_path / "m")
    assert code == 0, said
    code, said = said_by(
        "compare",
        data / "model_algo-1",
        tmp_path / "m",
        "--log",
        data / "training.log",
        "--data",
        data / "train.csv",
    )
    assert code == 0, said
    assert "Metrics of" in said
    same, count = (
        said.split("The predicted label is the same for ")[1].split(" rows")[0].replace(",", "").split(" of ")
    )
    assert int(same) > 0.95 * int(count)  # the thresholds differ
    code, said = said_by(
        "train", data / "train.csv", "--target", "first", "--test", data / "test.csv", "-o", tmp_path / "n"
    )
    assert code == 1
    assert "has 20 columns, but the file that trains has 21: is the label missing?" in said
