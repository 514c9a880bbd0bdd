"""`eigenline replay` on the logs and data of real jobs of the service."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eigenline.algorithms.errors import UserError
from eigenline.command.job_log import read_job_log
from eigenline.formats.recordio.writer import write_recordio
from tests.command.runs import Run

LINE = '#metrics {"Dimensions": {"epoch": 0, "model": 0}, "Metrics": {"train_mse_objective": {"sum": 1.5}}}\n'


def test_the_real_binary_job_is_replayed(run: Run, aws_data: Path) -> None:
    folder = aws_data / "linear-binary"
    done = run("replay", str(folder / "training.log"), str(folder / "train.csv"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mini_batch_size=100" in done.stdout, "found out from the log's counters"
    assert "320 of 320 within 1e-6" in done.stdout
    assert done.stdout.count("computed wrongly there") == 2
    assert "The job is replayed." in done.stdout


def test_a_job_with_validation_is_replayed_from_recordio(run: Run, tmp_path: Path, aws_data: Path) -> None:
    with np.load(aws_data / "replay" / "ufo9.npz") as arrays:
        (tmp_path / "train.pbr").write_bytes(write_recordio(arrays["X"], arrays["y"]))
        (tmp_path / "validation").mkdir()
        (tmp_path / "validation" / "part-0.pbr").write_bytes(write_recordio(arrays["V"], arrays["v"]))
    log = str(aws_data / "replay" / "ufo9_2021.log")
    done = run("replay", log, "train.pbr", "--validation", "validation", "--keep-log", "ours.log")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {line.split("  ")[0]: line for line in done.stdout.splitlines()}
    for name in ("models", "epochs", "early stop", "epochs that improved", "best model by epoch"):
        assert rows[name].endswith("same"), rows[name]
    assert rows["chosen learning_rate"].count("0.03578924546103785") == 2
    again = run("replay", "ours.log", "train.pbr", "--validation", "validation")
    assert again.returncode == 0, "our own log can be replayed too"
    assert "616 within" not in again.stdout
    assert again.stdout.count("308 of 308 within 1e-6") == 2


def test_another_hyperparameter_is_seen_in_the_table(run: Run, aws_data: Path) -> None:
    folder = aws_data / "linear-binary"
    done = run("replay", str(folder / "training.log"), str(folder / "train.csv"), "--set", "num_models=4")
    assert done.returncode == 1
    assert "Different: models" in done.stdout


@pytest.mark.parametrize("text", ["", "nothing of the kind\n", "#metrics {not json}\n"])
def test_what_is_no_log_is_one_sentence(run: Run, tmp_path: Path, text: str) -> None:
    (tmp_path / "log").write_text(text)
    (tmp_path / "data.csv").write_text("1,2\n")
    done = run("replay", "log", "data.csv")
    assert done.returncode == 1
    assert done.stderr.startswith("eigenline replay: log")
    assert "Traceback" not in done.stderr


def test_a_missing_file_is_one_sentence(run: Run, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(LINE)
    assert "nosuch.log cannot be read" in run("replay", "nosuch.log", "data.csv").stderr
    assert "nosuch.csv cannot be read" in run("replay", "log", "nosuch.csv").stderr


@given(st.text(st.sampled_from(LINE + "{}[]0123456789,:'\"\\n"), max_size=300))
def test_any_text_is_a_log_or_a_user_error(text: str) -> None:
    for candidate in (text, LINE + text, LINE[:-1] + text, "#metrics " + text):
        with contextlib.suppress(UserError):
            read_job_log(candidate, "log")


def test_hostile_lines_take_linear_time() -> None:
    text = LINE + "#metrics " + '{"a":' * 19_000 + "\n"
    with pytest.raises(UserError, match="line 3"):
        read_job_log("\n" + text, "log")
    hostile = "provided configuration from hyperparameters.json: {" + "u'a': u'b" * 9000
    assert read_job_log(LINE + hostile, "log").models == 1
