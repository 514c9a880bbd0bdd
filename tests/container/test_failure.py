"""The failure file: who can mend it comes first, and the message is never cut off by a traceback."""

import errno
from pathlib import Path

import pytest

from eigenline.algorithms.errors import DataError, HyperparameterError
from eigenline.container.failure import clear_failure, failure_text, note_on_models, traceback_text, write_failure


@pytest.mark.parametrize(
    ("error", "begins", "holds"),
    [
        (DataError("train/a, line 3: wrong"), "ClientError: train/a, line 3: wrong", ""),
        (HyperparameterError("k: must be"), "ClientError: k: must be", ""),
        (MemoryError(), "ClientError: Not enough memory: an allocation failed", "docker run -m"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "ClientError: Not enough memory: ", "docker run -m"),
        (RuntimeError("can't start new thread"), "ClientError: Not enough memory: can't start new thread", ""),
        (ImportError("a.so: failed to map segment"), "ClientError: Not enough memory: a library", "docker run -m"),
        (RuntimeError("other"), "AlgorithmError: RuntimeError: other", ""),
        (
            OSError(errno.ENOSPC, "No space left on device", "/opt/ml/model/model_algo-1"),
            "ClientError: No space left on device: /opt/ml/model/model_algo-1",
            "",
        ),
        (ZeroDivisionError("division by zero"), "AlgorithmError: ZeroDivisionError: division by zero", "a bug"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "ClientError: Permission denied: /x", ""),
        (FileNotFoundError(errno.ENOENT, "No such file", "/x"), "AlgorithmError: FileNotFoundError", "/x"),
    ],
)
def test_the_first_word_says_who_can_mend_it(error: BaseException, begins: str, holds: str) -> None:
    text = failure_text(error)
    assert text.startswith(begins)
    assert holds in text


def test_the_text_fits_where_sagemaker_shows_it() -> None:
    text = failure_text(DataError("x" * 5000))
    assert len(text) == 1024
    assert text.endswith("…")


def test_models_of_an_earlier_run_are_named_even_where_the_message_is_cut() -> None:
    assert note_on_models([]) == ""
    text = failure_text(DataError("x" * 5000), note_on_models([("model_algo-1", 5)]))
    assert len(text) == 1024
    assert text.endswith("x… (model_algo-1 is of an earlier run and was left as it is.)")


def test_the_file_is_written_replaced_and_cleared(tmp_path: Path) -> None:
    path = tmp_path / "output" / "failure"
    write_failure(path, "ClientError: first, and long")
    write_failure(path, "ClientError: second")
    assert path.read_text() == "ClientError: second"
    clear_failure(path)
    clear_failure(path)
    assert not path.exists()


def test_where_the_file_cannot_be_written_the_log_has_the_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "output").touch()
    write_failure(tmp_path / "output" / "failure", "ClientError: the reason")
    clear_failure(tmp_path / "output" / "failure")
    assert "It would say: ClientError: the reason" in capsys.readouterr().err


def test_the_traceback_names_the_line() -> None:
    with pytest.raises(ValueError, match="here") as caught:
        raise ValueError("here")
    assert "test_failure.py" in traceback_text(caught.value)


def test_a_name_that_is_no_text_is_written_as_its_escapes(tmp_path: Path) -> None:
    path = tmp_path / "failure"
    write_failure(path, failure_text(DataError("a\udcff.csv, line 3: wrong")))
    assert path.read_text() == "ClientError: a\\udcff.csv, line 3: wrong"
