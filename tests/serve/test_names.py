"""Requests with names against the real server: matched by name, and answered as `eigenline predict` does."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from .conftest import ROOT, Server, running

pytestmark = pytest.mark.slow

COLORS = ("blue", "red", "dark, red")


def eigenline(*arguments: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "eigenline", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(count: int, seed: int) -> list[dict[str, object]]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        age, color, size = float(rng.integers(18, 90)), COLORS[rng.integers(3)], round(float(rng.normal(10, 3)), 2)
        bought = "yes" if age + 20 * (color == "red") + size + rng.normal(0, 5) > 70 else "no"
        found.append({"age": None if rng.random() < 0.1 else age, "color": color, "size": size, "bought": bought})
    return found


def as_csv(records: list[dict[str, object]], names: list[str]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model that a person trained from a CSV file with texts, gaps and named classes."""
    folder = tmp_path_factory.mktemp("named")
    (folder / "people.csv").write_text(as_csv(rows(400, 0), ["age", "color", "size", "bought"]))
    arguments = ["--target", "bought", "--fill", "mean", "--categories", "one-hot", "-o", "model"]
    eigenline("train", "people.csv", *arguments, folder=folder)
    return folder


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[Server]:
    with running(str(place / "model"), "--workers", "1") as server:
        yield server


def test_serve_and_predict_give_the_same_answers_for_the_same_file(server: Server, place: Path) -> None:
    records = rows(50, 1)
    names = ["age", "color", "size"]
    (place / "new.csv").write_text(as_csv(records, names))
    eigenline("predict", "model", "new.csv", "-o", "out.csv", folder=place)
    expected = list(csv.DictReader((place / "out.csv").read_text().splitlines()))
    assert {row["predicted_label"] for row in expected} == {"yes", "no"}
    features = [{name: record[name] for name in names} for record in records]
    split = {"columns": names[::-1], "data": [[record[name] for name in names[::-1]] for record in records]}
    bodies = {
        "the file": ("text/csv", (place / "new.csv").read_text()),
        "another order": ("text/csv;header=present", as_csv(records, ["size", "age", "color"])),
        "with the label": ("text/csv", as_csv(records, ["size", "bought", "age", "color"])),
        "without names": ("text/csv", as_csv(records, names).partition("\n")[2]),
        "records": ("application/json", json.dumps(features)),
        "instances": ("application/json", json.dumps({"instances": features})),
        "split": ("application/json", json.dumps(split)),
        "lines": ("application/jsonlines", "\n".join(map(json.dumps, features))),
    }
    for name, (kind, body) in bodies.items():
        status, answer, _ = server.call(
            "/invocations", body.encode(), content_type=kind, accept="application/json"
        )
        assert status == 200, (name, answer)
        found = json.loads(answer)["predictions"]
        assert [row["predicted_label"] for row in found] == [row["predicted_label"] for row in expected], name
        scores = [float(row["score"]) for row in expected]
        np.testing.assert_allclose([row["score"] for row in found], scores, rtol=1e-6, err_msg=name)


def test_class_names_come_back_in_every_form_that_has_texts(server: Server) -> None:
    body = b"age,color,size\n90,red,12\n18,blue,8\n"

    def ask(accept: str, query: str = "") -> str:
        status, answer, _ = server.call(f"/invocations{query}", body, content_type="text/csv", accept=accept)
        assert status == 200
        return answer.decode("latin-1")

    assert [line.partition('"predicted_label":')[2][:5] for line in ask("application/jsonlines").splitlines()] == [
        '"yes"',
        '"no",',
    ]
    assert [line.split(",")[1] for line in ask("text/csv").splitlines()] == ["yes", "no"]
    assert ask("text/csv", "?output=labels") == "no,yes\nno,yes\n"
    assert json.loads(ask("application/json", "?output=labels"))["predictions"][0] == {"labels": ["no", "yes"]}
    assert "yes" not in ask("application/x-recordio-protobuf")


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("text/csv", b"age,colour,size\n1,red,2\n", ["Missing: 'color'", "Unknown: 'colour'", "be 'color'?"]),
        ("text/csv", b"age,size\n1,2\n", ["Missing: 'color'"]),
        ("text/csv", b"age,color,size,hair\n1,red,2,3\n", ["Unknown: 'hair'"]),
        ("application/json", b'[{"age": 1, "size": 2}]', ["Missing: 'color'"]),
        ("application/jsonlines", b'{"age": 1, "size": 2, "color": "red", "x": 1}', ["Unknown: 'x'"]),
        ("text/csv", b"age,color,size\n1,red,large\n", ["line 2, column 'size'", "'large'"]),
        ("text/csv", b"1,red\n", ["2 values, but the model takes 3 (age, color, size)"]),
    ],
)  # fmt: skip
def test_names_and_cells_that_do_not_fit_are_refused_by_name(
    server: Server, kind: str, body: bytes, words: list[str]
) -> None:
    status, answer, _ = server.call("/invocations", body, content_type=kind)
    assert status == 400
    for word in words:
        assert word in json.loads(answer)["error"]


def test_a_container_model_keeps_the_names_of_its_header(tmp_path: Path) -> None:
    """Issue 16: `header=present` with reversed names was answered with a wrong score."""
    folder = tmp_path / "input" / "data" / "train"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(3)
    table = rng.normal(size=(200, 3)).astype(np.float32)
    labels = table @ [3, 0, -1]
    lines = [f"{label:g},{','.join(map(repr, row.tolist()))}" for label, row in zip(labels, table, strict=True)]
    (folder / "a.csv").write_text("y,a,b,c\n" + "\n".join(lines) + "\n")
    config = tmp_path / "input" / "config"
    config.mkdir()
    (config / "hyperparameters.json").write_text(json.dumps({"predictor_type": "regressor", "feature_dim": "3"}))
    channel = {"train": {"ContentType": "text/csv", "TrainingInputMode": "File"}}
    (config / "inputdataconfig.json").write_text(json.dumps(channel))
    (config / "resourceconfig.json").write_text(json.dumps({"current_host": "algo-1", "hosts": ["algo-1"]}))
    done = subprocess.run(
        [sys.executable, "-m", "eigenline", "train"],
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "SAGEMAKER_BASE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "model" / "columns.json").read_text())["features"] == ["a", "b", "c"]
    report = json.loads((tmp_path / "model" / "report.json").read_text())
    assert report["r2"]["train"] > 0.99
    assert sum(report["residuals"]["counts"]) == 200
    (tmp_path / "model" / "report.json").unlink()  # the names do not depend on it
    with running(str(tmp_path / "model"), "--workers", "1") as server:

        def scores(kind: str, body: str) -> list[float]:
            status, answer, _ = server.call("/invocations", body.encode(), content_type=kind)
            assert status == 200, answer
            return [record["score"] for record in json.loads(answer)["predictions"]]

        plain = scores("text/csv", "1,2,3\n4,5,6\n")
        for kind, body in (
            ("text/csv;header=present", "c,b,a\n3,2,1\n6,5,4\n"),
            ("text/csv", "c,b,a\n3,2,1\n6,5,4\n"),
            ("application/json", '[{"c": 3, "a": 1, "b": 2}, {"a": 4, "b": 5, "c": 6}]'),
        ):
            assert scores(kind, body) == plain
