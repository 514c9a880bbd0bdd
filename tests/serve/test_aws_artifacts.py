"""Artifacts that the real services wrote serve unchanged, and answer what the real endpoint answered."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from eigenline import write_recordio
from eigenline.serve.models import load_model

from .conftest import running

RECORDIO = "application/x-recordio-protobuf"


def rows_of(file: Path, *, skip: int) -> NDArray[np.float64]:
    with file.open() as lines:
        return np.array(list(csv.reader(lines))[skip:], np.float64)


@pytest.mark.parametrize("place", ["pca-regular", "pca-regular/model.tar.gz", "pca-randomized", "linear-binary"])
def test_artifacts_of_the_service_are_served(aws_data: Path, place: str) -> None:
    path = aws_data / place
    if path.is_dir():  # the folder also holds the same model as a tar file
        path = path / "model.tar.gz" if place.startswith("pca") else path
    width = load_model(path).feature_dim
    with running(str(path), "--workers", "1") as server:
        assert server.call("/ping")[0] == 200
        assert server.call("/invocations", ",".join(["1"] * width).encode(), content_type="text/csv")[0] == 200


def test_projections_equal_the_real_endpoints_to_the_last_bit(aws_data: Path) -> None:
    rows = rows_of(aws_data / "pca-regular" / "train.csv", skip=1).astype(np.float32)
    published = rows_of(aws_data / "pca-regular" / "endpoint_projections.csv", skip=1).astype(np.float32)
    with running(str(aws_data / "pca-regular" / "model.tar.gz"), "--workers", "1") as server:
        status, answer, _ = server.call("/invocations", write_recordio(rows), content_type=RECORDIO)
    assert status == 200
    projections = [record["projection"] for record in json.loads(answer)["projections"]]
    strongest_first = np.array(projections, np.float32)[:, ::-1][:, : published.shape[1]]
    np.testing.assert_array_equal(strongest_first, published)


def test_the_published_training_log_follows_from_the_served_scores(aws_data: Path) -> None:
    table = rows_of(aws_data / "linear-binary" / "train.csv", skip=0)
    labels, body = table[:, 0], io.StringIO()
    np.savetxt(body, table[:, 1:], delimiter=",", fmt="%.17g")
    with running(str(aws_data / "linear-binary"), "--workers", "1") as server:
        kinds = {"content_type": "text/csv", "accept": "text/csv"}
        _, answer, _ = server.call("/invocations", body.getvalue().encode(), **kinds)
    score, predicted = np.loadtxt(io.StringIO(answer.decode()), delimiter=",").T
    cross_entropy = -np.mean(labels * np.log(score) + (1 - labels) * np.log1p(-score))
    assert cross_entropy == pytest.approx(0.5551001573, abs=1e-7)  # the job's own log
    accuracy = float(np.mean(predicted == labels))
    log = (aws_data / "linear-binary" / "training.log").read_text()
    assert f"train binary_classification_accuracy <score>={accuracy!r}\n" in log
