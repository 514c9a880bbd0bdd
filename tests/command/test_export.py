import csv
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eigenline import read_recordio_answer
from eigenline.algorithms.linear_learner.model import LinearLearnerModel
from eigenline.algorithms.pca.model import PCAModel
from eigenline.command.export import export_model
from eigenline.formats.artifact.model_file import write_artifact
from eigenline.formats.artifact.model_tar import write_model_tar
from eigenline.serve.app import create_app
from tests.command.runs import Run

REGRESSION = [
    "squared_loss",
    "absolute_loss",
    "eps_insensitive_squared_loss",
    "eps_insensitive_absolute_loss",
    "quantile_loss",
    "huber_loss",
]
LOSSES = [*(("regressor", loss) for loss in REGRESSION), ("binary_classifier", "logistic"),
          ("binary_classifier", "hinge_loss"), ("multiclass_classifier", "softmax_loss")]  # fmt: skip
KINDS = [*(loss for _, loss in LOSSES), "binary squared_loss", "pca", "pca-randomized", "chain"]


def linear(predictor_type: Any, loss: str, width: int, rng: np.random.Generator) -> LinearLearnerModel:
    outputs = 4 if loss == "softmax_loss" else 1
    weights = rng.normal(size=(width, outputs)).astype(np.float32)
    return LinearLearnerModel(weights, rng.normal(size=outputs).astype(np.float32), predictor_type, loss, 0.37)


def pca(rng: np.random.Generator, ascending: bool = True) -> PCAModel:
    components = np.linalg.qr(rng.normal(size=(6, 3)))[0].astype(np.float32)
    values = np.array([1, 2, 3] if ascending else [3, 2, 1], np.float32)
    return PCAModel(values, components, rng.normal(size=6).astype(np.float32))


def model_folder(kind: str, folder: Path, rng: np.random.Generator) -> Path:
    folder.mkdir()
    if kind.startswith("pca"):
        (folder / "model_algo-1").write_bytes(write_artifact(pca(rng, kind == "pca")))
    elif kind == "chain":
        (folder / "model_pca").write_bytes(write_artifact(pca(rng)))
        model = linear("multiclass_classifier", "softmax_loss", 3, rng)
        (folder / "model_linear").write_bytes(write_artifact(model))
    else:
        known = {loss: name for name, loss in LOSSES} | {"binary squared_loss": "binary_classifier"}
        model = linear(known[kind], kind.removeprefix("binary "), 6, rng)
        (folder / "model_algo-1").write_bytes(write_artifact(model))
    return folder


def served(folder: Path, rows: np.ndarray) -> dict[str, np.ndarray]:
    body = "\n".join(",".join(map(repr, row)) for row in rows.tolist())
    headers = {"Content-Type": "text/csv", "Accept": "application/x-recordio-protobuf"}
    answer = create_app(folder).test_client().post("/invocations", data=body, headers=headers)
    assert answer.status_code == 200
    return read_recordio_answer(answer.data)


@pytest.fixture
def rows(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(60, 6)).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_onnx_answers_as_serve(
    run: Run, tmp_path: Path, kind: str, rows: np.ndarray, rng: np.random.Generator
) -> None:
    runtime = pytest.importorskip("onnxruntime")
    expected = served(model_folder(kind, tmp_path / "m", rng), rows)
    export_model(str(tmp_path / "m"), "onnx", str(tmp_path / "m.onnx"))
    session = runtime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(None, {"features": rows}), strict=True))
    if kind.startswith("pca"):
        order = [2, 1, 0] if kind == "pca" else [0, 1, 2]
        assert found["projection"] == pytest.approx(expected["projection"][:, order], abs=1e-6)
    else:
        assert set(found) == set(expected)
        assert found["score"] == pytest.approx(expected["score"], rel=1e-6, abs=1e-6)
        if "predicted_label" in expected:
            assert np.array_equal(found["predicted_label"], expected["predicted_label"])


@pytest.mark.parametrize("kind", KINDS)
def test_scikit_learn_answers_as_serve(
    tmp_path: Path, kind: str, rows: np.ndarray, rng: np.random.Generator
) -> None:
    expected = served(model_folder(kind, tmp_path / "m", rng), rows)
    export_model(str(tmp_path / "m"), "sklearn", str(tmp_path / "exported.py"))
    description = importlib.util.spec_from_file_location("exported", tmp_path / "exported.py")
    assert description is not None
    assert description.loader is not None
    module = importlib.util.module_from_spec(description)
    description.loader.exec_module(module)
    model = module.load()
    X = rows.astype(np.float64)
    methods = ("predict", "predict_proba", "decision_function", "transform")
    found = {name: getattr(model, name)(X) for name in methods if hasattr(model, name)}
    if kind.startswith("pca"):
        order = [2, 1, 0] if kind == "pca" else [0, 1, 2]
        assert found["transform"] == pytest.approx(expected["projection"][:, order], abs=1e-6)
    elif kind in REGRESSION:
        assert found["predict"] == pytest.approx(expected["score"], rel=1e-6, abs=1e-6)
    else:
        assert [float(label) for label in found["predict"]] == expected["predicted_label"].tolist()
        if kind in ("hinge_loss", "binary squared_loss"):
            assert found["decision_function"] == pytest.approx(expected["score"], rel=1e-6, abs=1e-6)
        else:
            probabilities = (
                found["predict_proba"] if found["predict_proba"].shape[1] > 2 else found["predict_proba"][:, 1]
            )
            assert probabilities == pytest.approx(expected["score"], rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("kind", ["logistic", "softmax_loss", "squared_loss", "pca", "chain"])
def test_plain_forms_hold_every_number(
    tmp_path: Path, kind: str, rows: np.ndarray, rng: np.random.Generator
) -> None:
    expected = served(model_folder(kind, tmp_path / "m", rng), rows)
    for form in ("npz", "json", "csv"):
        export_model(str(tmp_path / "m"), form, str(tmp_path / f"m.{form}"))
    document = json.loads((tmp_path / "m.json").read_text())
    with np.load(tmp_path / "m.npz", allow_pickle=False) as file:
        for name, value in document.items():
            assert np.array_equal(file[name], np.asarray(value, file[name].dtype)), name
    X = rows.astype(np.float64)
    if "components" in document:
        X = (X - document["mean"]) @ np.array(document["components"]).T
        if kind == "pca":
            assert pytest.approx(expected["projection"][:, ::-1], abs=1e-5) == X
    if "weights" in document:
        raw = X @ np.array(document["weights"]) + document["bias"]
        scores = {
            "logistic": lambda r: 1 / (1 + np.exp(-r[:, 0])),
            "squared_loss": lambda r: r[:, 0],
        }.get(kind, lambda r: np.exp(r) / np.exp(r).sum(axis=1, keepdims=True))(raw)
        assert scores == pytest.approx(expected["score"], rel=1e-5, abs=1e-6)
    lines = list(csv.reader((tmp_path / "m.csv").read_text().splitlines()))
    assert lines[0][0] == "feature"
    assert len(lines) == {"pca": 7, "chain": 7 + 1 + 4}.get(kind, 8)


def test_every_form_through_the_command(run: Run, tmp_path: Path, rng: np.random.Generator) -> None:
    model_folder("logistic", tmp_path / "m", rng)
    (tmp_path / "m.csv").write_text("my data")
    files = {"npz": "m-model.npz", "json": "m-model.json", "csv": "m-model.csv", "onnx": "m-model.onnx"}
    for form, names in {**files, "sklearn": "m-model-arrays.npz, m-model.py"}.items():
        assert run("export", "m", "--to", form).stdout == f"Written: {names}.\n"
    assert (tmp_path / "m.csv").read_text() == "my data"
    assert "m-model.csv is there already. Say -o FILE" in run("export", "m", "--to", "csv").stderr
    assert run("export", "m", "--to", "csv", "-o", "m-model.csv").returncode == 0
    assert run("export", "m", "--to", "pickle").returncode == 2


def test_inspect_names_what_is_inside(run: Run, tmp_path: Path, aws_data: Path) -> None:
    said = run("inspect", str(aws_data / "pca-regular" / "model.tar.gz")).stdout
    assert "PCA, without reports, as AWS writes it" in said
    assert "25 components, stored weakest first" in said
    assert "the true shares are smaller" in said
    said = run("inspect", str(aws_data / "linear-binary" / "model_algo-1")).stdout
    assert "Linear Learner: binary_classifier, trained with logistic." in said
    assert "(intercept)" in said
    assert run("export", str(aws_data / "pca-regular" / "model.tar.gz"), "--to", "csv").returncode == 0


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is not a readable tar archive"),
        (b"garbage", "is not a readable tar archive"),
        (write_model_tar({"notes.txt": b"nothing"}), "holds no model"),
        (write_model_tar({"model_algo-1": b"nothing"}), "neither a PCA nor a Linear Learner artifact"),
    ],
)
def test_what_is_no_model_is_named(run: Run, tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "m.tar.gz").write_bytes(content)
    (tmp_path / "x.csv").write_text("a\n1\n")
    for verb in (["inspect"], ["export", "--to", "json"], ["predict"]):
        done = run(verb[0], "m.tar.gz", *verb[1:], *(["x.csv"] if verb[0] == "predict" else []))
        assert done.returncode == 1
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr
    assert "There is no model nowhere" in run("inspect", "nowhere").stderr
