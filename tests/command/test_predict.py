import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.command.runs import Run, command, linear_table, read_csv, write_csv

MEMORY_LIMIT_MB = 300


@pytest.fixture
def model(run: Run, tmp_path: Path) -> Path:
    names, table = linear_table(300)
    write_csv(tmp_path / "t.csv", names, table)
    done = run("train", "t.csv", "--target", "y")
    assert done.returncode == 0, done.stderr
    return tmp_path / "model"


def test_columns_are_matched_by_name(run: Run, tmp_path: Path, model: Path) -> None:
    names, table = linear_table(50, seed=5)
    write_csv(tmp_path / "straight.csv", names, table)
    further = [[*row, "note"] for row in table[:, [2, 0, 1]].tolist()]
    write_csv(tmp_path / "permuted.csv", ["c", "a", "b", "remark"], further)
    run("predict", "model", "straight.csv", "-o", "one.csv")
    done = run("predict", "model", "permuted.csv", "-o", "two.csv")
    assert done.returncode == 0, done.stderr
    assert "Columns that the model does not use: 'remark'." in done.stderr
    assert (tmp_path / "one.csv").read_text() == (tmp_path / "two.csv").read_text()


def test_without_names_the_number_of_columns_decides(run: Run, tmp_path: Path, model: Path) -> None:
    _, table = linear_table(50, seed=5)
    rows = table.tolist()
    (tmp_path / "features.csv").write_text("\n".join(",".join(map(str, row[:3])) for row in rows))
    (tmp_path / "all.csv").write_text("\n".join(",".join(map(str, row)) for row in rows))
    (tmp_path / "more.csv").write_text("\n".join(",".join(map(str, [*row, 1])) for row in rows))
    for name in ("features", "all"):
        assert run("predict", "model", f"{name}.csv", "-o", f"{name}-out.csv").returncode == 0
    assert (tmp_path / "features-out.csv").read_text() == (tmp_path / "all-out.csv").read_text()
    done = run("predict", "model", "more.csv")
    assert done.returncode == 1
    assert "has 5 columns, but the model takes 3" in done.stderr


def test_the_file_itself_comes_first_unchanged(run: Run, tmp_path: Path, model: Path) -> None:
    text = 'id,a,b,c,note\n90071992547409931,1,5,1.0,"one, two"\n\n2,0.5,4,0.9,"line\nend"\n3,1,1,1,\n'
    (tmp_path / "n.csv").write_text(text)
    done = run("predict", "model", "n.csv", "-o", "out.csv", "--join")
    assert done.returncode == 0, done.stderr
    header, rows = read_csv(tmp_path / "out.csv")
    assert header == ["id", "a", "b", "c", "note", "score"]
    assert [row[0] for row in rows] == ["90071992547409931", "2", "3"]
    assert [row[4] for row in rows] == ["one, two", "line\nend", ""]
    run("predict", "model", "n.csv", "-o", "ids.csv", "--id-col", "id", "--id-col", "note")
    header, rows = read_csv(tmp_path / "ids.csv")
    assert header == ["id", "note", "score"]
    assert [row[0] for row in rows] == ["90071992547409931", "2", "3"]


def test_long_identifiers_keep_their_digits(run: Run, tmp_path: Path, model: Path) -> None:
    (tmp_path / "n.csv").write_text("id,a,b,c\n90071992547409931,1,5,1\n0012,1,5,1\n")
    run("predict", "model", "n.csv", "-o", "out.csv", "--id-col", "id")
    assert [row[0] for row in read_csv(tmp_path / "out.csv")[1]] == ["90071992547409931", "0012"]


def test_from_a_pipe_to_a_pipe(run: Run, tmp_path: Path, model: Path) -> None:
    names, table = linear_table(2000, seed=5)
    write_csv(tmp_path / "n.csv", names, table)
    piped = run("predict", "model", "-", given=(tmp_path / "n.csv").read_bytes())
    assert piped.returncode == 0, piped.stderr
    run("predict", "model", "n.csv", "-o", "out.csv")
    assert piped.stdout == (tmp_path / "out.csv").read_text()
    assert "2,000 rows predicted." in piped.stderr


def test_a_reader_that_has_read_enough_is_no_error(tmp_path: Path, model: Path) -> None:
    names, table = linear_table(30_000, seed=5)
    write_csv(tmp_path / "n.csv", names, table)
    with subprocess.Popen(
        [sys.executable, "-m", "eigenline", "predict", "model", "n.csv", "--join"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline() == "a,b,c,y,score\n"
        child.stdout.close()
        assert "Traceback" not in child.stderr.read()
        assert child.wait(60) == 0


def test_a_failure_leaves_no_half_of_a_file(run: Run, tmp_path: Path, model: Path) -> None:
    (tmp_path / "n.csv").write_text("a,b,c\n1,2,3\n1,,3\n")
    done = run("predict", "model", "n.csv", "-o", "out.csv")
    assert done.returncode == 1
    assert "n.csv, line 3, column 'b': the cell is empty" in done.stderr
    assert not list(tmp_path.glob("*out.csv*"))
    done = run("predict", "model", "n.csv", "-o", "n.csv")
    assert "is the file that is read" in done.stderr


@pytest.mark.parametrize("kind", ["linear-binary", "pca-regular", "pca-randomized"])
def test_an_artifact_that_aws_trained(aws_data: Path, tmp_path: Path, kind: str) -> None:
    folder = aws_data / kind / "model_algo-1"
    from eigenline.command.models import open_model

    opened = open_model(folder)
    rows = np.random.default_rng(0).normal(size=(20, opened.feature_dim)).astype(np.float32)
    (tmp_path / "n.csv").write_text("\n".join(",".join(map(repr, row)) for row in rows.tolist()))
    done = command("predict", str(folder), "n.csv", "-o", "out.csv", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    answers = np.array(read_csv(tmp_path / "out.csv")[1], float)
    scores, _ = opened.predict(rows)
    assert answers[:, -scores.shape[1] :] == pytest.approx(scores, rel=1e-6, abs=1e-6)


@pytest.mark.slow
def test_memory_stays_bounded(tmp_path: Path, model: Path) -> None:
    """A file of 200 MB: more than the whole limit beside the interpreter, if it were held."""
    _, table = linear_table(50_000, seed=5, decimals=9)
    block = "\n".join(",".join(map(str, row[:3])) for row in table.tolist()) + "\n"
    with (tmp_path / "big.csv").open("w") as file:
        file.write("a,b,c\n")
        for _ in range(200_000_000 // len(block)):
            file.write(block)
    script = (
        "import resource, subprocess, sys; "
        "verb = [sys.executable, '-m', 'eigenline', 'predict', 'model', 'big.csv', '-o', 'out.csv', '--join']; "
        "code = subprocess.call(verb); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024); "
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < MEMORY_LIMIT_MB
