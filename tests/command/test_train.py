import gzip
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest

from eigenline import read_recordio_answer, write_recordio
from eigenline.formats.artifact.model_file import read_artifact
from tests.command.runs import Run, command, linear_table, people, read_csv, write_csv


def coefficients(model: Path) -> dict[str, float]:
    names, rows = read_csv(model / "coefficients.csv")
    place = names.index("coefficient")
    return {row[0]: float(row[place]) for row in rows}


def test_a_regressor_with_the_label_anywhere(run: Run, tmp_path: Path) -> None:
    names, table = linear_table(400)
    write_csv(tmp_path / "sales.csv", ["y", *names[:3]], table[:, [3, 0, 1, 2]])
    done = run("train", "sales.csv", "--target", "y")
    assert done.returncode == 0, done.stderr
    assert "with a regressor (its values are numbers from" in done.stdout
    assert "are held out to measure the model on" in done.stdout
    assert "R2                     0.99" in done.stdout
    found = coefficients(tmp_path / "model")
    assert found["a"] == pytest.approx(2, abs=0.02)
    assert found["c"] == pytest.approx(20, abs=0.2)
    write_csv(tmp_path / "other.csv", names, table)
    assert run("train", "other.csv", "--target", "y", "-o", "other").returncode == 0
    assert coefficients(tmp_path / "other") == pytest.approx(found)


def test_texts_gaps_and_class_names_are_kept_with_the_model(run: Run, tmp_path: Path) -> None:
    names, rows = people(400)
    write_csv(tmp_path / "c.csv", names, rows)
    options = ["--fill", "mean", "--categories", "one-hot", "--ignore", "customer"]
    done = run("train", "c.csv", "--target", "bought", *options)
    assert done.returncode == 0, done.stderr
    assert "it has the 2 values 'no, yes'; yes counts as positive" in done.stdout
    assert "Column 'city' becomes 3 features, one a category: 'Kyiv, Oslo, Rome'." in done.stdout
    assert "empty cells are filled with the mean of the rows that train" in done.stdout
    assert list(coefficients(tmp_path / "model")) == [
        "(intercept)", "age", "income", "city=Kyiv", "city=Oslo", "city=Rome",
    ]  # fmt: skip
    kept = json.loads((tmp_path / "model" / "preparation.json").read_text())
    assert kept["classes"] == ["no", "yes"]
    filled = next(entry for entry in kept["inputs"] if entry["name"] == "age")
    known = [row[1] for row in rows if row[1] != ""]
    assert filled["fill"] == pytest.approx(np.mean(known), abs=2)
    done = run("predict", "model", "c.csv", "-o", "out.csv", "--id-col", "customer")
    assert done.returncode == 0, done.stderr
    header, answers = read_csv(tmp_path / "out.csv")
    assert header == ["customer", "predicted_label", "score"]
    assert [row[0] for row in answers] == [row[0] for row in rows]
    right = [row[1] == true[4] for row, true in zip(answers, rows, strict=True)]
    assert np.mean(right) > 0.85


def test_the_positive_class_can_be_named(run: Run, tmp_path: Path) -> None:
    names, rows = people(200)
    write_csv(tmp_path / "c.csv", [names[2], names[4]], [[row[2], row[4]] for row in rows])
    assert run("train", "c.csv", "--target", "bought", "--positive", "no").returncode == 0
    assert coefficients(tmp_path / "model")["income"] < 0
    run("predict", "model", "c.csv", "-o", "out.csv", "--join")
    _, answers = read_csv(tmp_path / "out.csv")
    assert np.mean([row[1] == row[2] for row in answers]) > 0.8


def test_numbered_classes_that_are_not_0_and_1(run: Run, tmp_path: Path) -> None:
    names, table = linear_table(300)
    labels = np.where(table[:, 3] > np.median(table[:, 3]), 2, 1)
    write_csv(tmp_path / "t.csv", names, [[*row[:3], label] for row, label in zip(table, labels, strict=True)])
    done = run("train", "t.csv", "--target", "y")
    assert "it has the 2 values '1, 2'; 2 counts as positive" in done.stdout
    run("predict", "model", "t.csv", "-o", "out.csv")
    _, answers = read_csv(tmp_path / "out.csv")
    assert np.mean([int(row[0]) == label for row, label in zip(answers, labels, strict=True)]) > 0.95


def test_many_classes_by_name(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    centres = {"ash": (0, 0), "beech": (4, 0), "cedar": (0, 4)}
    rows = [[*np.round(rng.normal(centre, 0.6), 4), name] for name, centre in centres.items() for _ in range(60)]
    write_csv(tmp_path / "trees.csv", ["height", "width", "kind"], rows)
    done = run("train", "trees.csv", "--target", "kind")
    assert done.returncode == 0, done.stderr
    assert "with a multiclass_classifier (it has the 3 values 'ash, beech, cedar'" in done.stdout
    run("predict", "model", "trees.csv", "-o", "out.csv", "--join")
    header, answers = read_csv(tmp_path / "out.csv")
    assert header == [
        "height", "width", "kind", "predicted_label", "score_ash", "score_beech", "score_cedar",
    ]  # fmt: skip
    assert np.mean([row[2] == row[3] for row in answers]) > 0.98


def test_components(run: Run, tmp_path: Path) -> None:
    names, table = linear_table(300)
    write_csv(tmp_path / "t.csv", names, table)
    done = run("train", "t.csv", "--pca", "2", "--ignore", "y", "-o", "pca")
    assert done.returncode == 0, done.stderr
    assert "2 component(s) explain" in done.stdout
    run("predict", "pca", "t.csv", "-o", "out.csv")
    header, answers = read_csv(tmp_path / "out.csv")
    assert header == ["component_1", "component_2"]
    centred = table[:, :3] - table[:, :3].mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    expected = np.abs(left[:, :2] * values[:2])
    assert np.abs(np.array(answers, float)) == pytest.approx(expected, abs=1e-3)


def test_the_same_table_in_every_form(run: Run, tmp_path: Path) -> None:
    names, table = linear_table(300)
    X, y = table[:, :3].astype(np.float32), table[:, 3].astype(np.float32)
    (tmp_path / "t.csv.gz").write_bytes(
        gzip.compress(
            (",".join(names) + "\n" + "\n".join(",".join(map(repr, row)) for row in table.tolist())).encode()
        )
    )
    (tmp_path / "t.jsonl").write_text(
        "\n".join(json.dumps(dict(zip(names, row, strict=True))) for row in table.tolist())
    )
    np.savez(tmp_path / "t.npz", X=X, y=y, feature_names=np.array(names[:3]))
    lines = (
        " ".join([repr(float(label)), *(f"{i + 1}:{v!r}" for i, v in enumerate(row))])
        for row, label in zip(X.tolist(), y, strict=True)
    )
    (tmp_path / "t.svm").write_text("\n".join(lines) + "\n")
    (tmp_path / "t.pbr").write_bytes(write_recordio(X, y))
    (tmp_path / "semicolons.csv").write_text(
        "\n".join([";".join(names), *(";".join(str(v).replace(".", ",") for v in row) for row in table.tolist())])
    )
    halves = tmp_path / "halves"
    halves.mkdir()
    write_csv(halves / "a.csv", names, table[:150])
    write_csv(halves / "b.csv", names[::-1], table[150:, ::-1])
    (halves / "_SUCCESS").write_text("")
    found = {}
    for place, options in {
        "t.csv.gz": ["--target", "y"], "t.jsonl": ["--target", "y"], "t.npz": [], "t.svm": [], "t.pbr": [],
        "semicolons.csv": ["--target", "y"], "halves": ["--target", "y"],
    }.items():  # fmt: skip
        output = f"m-{place}"
        done = run("train", place, *options, "-o", output)
        assert done.returncode == 0, (place, done.stderr)
        found[place] = list(coefficients(tmp_path / output).values()) if place not in ("t.svm", "t.pbr") else None
        weights = read_artifact((tmp_path / output / "model_algo-1").read_bytes()).weights[:, 0]
        assert weights == pytest.approx([2, -0.3, 20], rel=0.02), place
    done = run(
        "train", "-", "--target", "y", "-o", "m-stdin", given=gzip.decompress((tmp_path / "t.csv.gz").read_bytes())
    )
    assert done.returncode == 0, done.stderr
    assert list(coefficients(tmp_path / "m-stdin").values()) == pytest.approx(found["t.csv.gz"], rel=1e-3)


def test_parquet(run: Run, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    _, rows = people(200)
    columns = list(zip(*rows, strict=True))
    table = pyarrow.table({
        "age": pyarrow.array([None if v == "" else v for v in columns[1]], pyarrow.int64()),
        "income": pyarrow.array(columns[2]), "city": pyarrow.array(columns[3]).dictionary_encode(),
        "bought": pyarrow.array([v == "yes" for v in columns[4]]),
    })  # fmt: skip
    parquet.write_table(table, tmp_path / "t.parquet")
    done = run("train", "t.parquet", "--target", "bought", "--fill", "mean", "--categories", "one-hot")
    assert done.returncode == 0, done.stderr
    assert "Parquet, 200 rows of 4 columns" in done.stdout
    done = run("predict", "model", "t.parquet", "-o", "out.csv", "--join")
    assert done.returncode == 0, done.stderr
    header, answers = read_csv(tmp_path / "out.csv")
    assert header == ["age", "income", "city", "bought", "predicted_label", "score"]
    assert np.mean([row[3] == row[4] for row in answers]) > 0.8


def test_a_file_to_measure_on(run: Run, tmp_path: Path) -> None:
    names, table = linear_table(300)
    write_csv(tmp_path / "t.csv", names, table[:200])
    write_csv(tmp_path / "v.csv", names[::-1], table[200:, ::-1])
    done = run("train", "t.csv", "--target", "y", "--test", "v.csv")
    assert done.returncode == 0, done.stderr
    assert "200 rows of 3 features train; 100 rows of v.csv measure." in done.stdout
    assert "On 100 held-out rows" in done.stdout


def test_hyperparameters_are_passed_on_and_checked(run: Run, tmp_path: Path) -> None:
    names, table = linear_table(100)
    write_csv(tmp_path / "t.csv", names, table)
    assert run("train", "t.csv", "--target", "y", "--set", "loss=huber_loss").returncode == 0
    assert read_artifact((tmp_path / "model" / "model_algo-1").read_bytes()).loss == "huber_loss"
    done = run("train", "t.csv", "--target", "y", "--set", "epoch=3")
    assert done.returncode == 1
    assert "did you mean 'epochs'?" in done.stderr


def test_the_model_is_served(run: Run, tmp_path: Path) -> None:
    names, table = linear_table(100)
    write_csv(tmp_path / "t.csv", names, table)
    run("train", "t.csv", "--target", "y")
    from eigenline.serve.app import create_app

    client = create_app(tmp_path / "model").test_client()
    body = "\n".join(",".join(map(repr, row)) for row in table[:, :3].tolist())
    answer = client.post(
        "/invocations",
        data=body,
        headers={"Content-Type": "text/csv", "Accept": "application/x-recordio-protobuf"},
    )
    assert answer.status_code == 200
    served = read_recordio_answer(answer.data)["score"]
    run("predict", "model", "t.csv", "-o", "out.csv")
    assert np.array(read_csv(tmp_path / "out.csv")[1], float)[:, 0] == pytest.approx(served, rel=1e-6)


def test_a_folder_with_other_files_is_left_alone(run: Run, tmp_path: Path) -> None:
    names, table = linear_table(100)
    write_csv(tmp_path / "t.csv", names, table)
    done = run("train", "t.csv", "--target", "y", "-o", ".")
    assert done.returncode == 1
    assert "holds other files (t.csv) and no model, so nothing is written into it" in done.stderr
    assert run("train", "t.csv", "--target", "y").returncode == 0
    assert run("train", "t.csv", "--target", "y").returncode == 0


def test_without_a_file_it_is_the_sagemaker_job(run: Run, tmp_path: Path) -> None:
    done = run("train", env={"SAGEMAKER_BASE_DIR": str(tmp_path / "ml")})
    assert done.returncode == 1
    assert f"There is no folder {tmp_path / 'ml'}" in done.stderr
    (tmp_path / "ml" / "input").mkdir(parents=True)
    done = run("train", env={"SAGEMAKER_BASE_DIR": str(tmp_path / "ml")})
    assert done.returncode == 1
    assert "No algorithm was named" in (tmp_path / "ml" / "output" / "failure").read_text()
    done = run("train", "--target", "y")
    assert done.returncode == 2
    assert "No file is named" in done.stderr
    assert "eigenline train sales.csv --target price" in run("train", "--help").stdout


# So many epochs that no machine is through before it is stopped.
LONG = ["--set", "compatibility=aws", "--set", "epochs=10000", "--set", "early_stopping_patience=10000"]


def test_control_c_stops_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    write_csv(
        tmp_path / "t.csv", [f"f{i}" for i in range(40)] + ["y"], rng.normal(size=(30_000, 41)).round(4).tolist()
    )
    child = subprocess.Popen(
        [sys.executable, "-m", "eigenline", "train", "t.csv", "--target", "y", *LONG],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    log = tmp_path / "model" / "train.log"
    while not (log.exists() and "Epoch 0" in log.read_text()):
        assert child.poll() is None, "it was over before it could be stopped"
        time.sleep(0.02)
    os.killpg(child.pid, signal.SIGINT)
    _, said = child.communicate(timeout=300)
    assert child.returncode == 130
    # A job has a second and a half for what it has; on a machine that is too busy for that, nothing is kept.
    kept = list((tmp_path / "model").glob("model_*"))
    assert ("stopped; the best model so far is in model/." if kept else "stopped; no model was written.") in said
    if kept:
        assert command("inspect", "model", folder=tmp_path).returncode == 0


def test_control_c_while_the_file_is_read(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "eigenline", "train", "-", "--target", "y"], cwd=tmp_path, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert child.stdin is not None
    for _ in range(40):  # more than a pipe holds: the last piece goes in when the command reads
        child.stdin.write(b"1,2\n" * 4096)
    child.stdin.flush()
    os.killpg(child.pid, signal.SIGINT)
    _, said = child.communicate(timeout=300)
    assert child.returncode == 130
    assert b"stopped; no model was written." in said
    assert not (tmp_path / "model").exists()


def test_an_archive_of_the_folder_is_a_model_too(run: Run, tmp_path: Path) -> None:
    names, rows = people(200)
    write_csv(tmp_path / "c.csv", names[2:], [row[2:] for row in rows])
    run("train", "c.csv", "--target", "bought", "--categories", "one-hot")
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
        for path in sorted((tmp_path / "model").iterdir()):
            archive.add(path, path.name)
    run("predict", "model", "c.csv", "-o", "a.csv")
    run("predict", "model.tar.gz", "c.csv", "-o", "b.csv")
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()
    assert "yes" in (tmp_path / "a.csv").read_text()
