"""The process outside training, with real children that end in every way."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from eigenline.container.folders import Folders
from eigenline.container.supervisor import supervise

def job(stopping):
    {body}

sys.exit(supervise(job, Folders(Path(sys.argv[1]))))
"""


REPORT = "Path(sys.argv[1], 'output', 'failure').write_text('a reason')"


def supervise(root: Path, body: str) -> tuple[int, str | None]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body=body), str(root)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    failure = root / "output" / "failure"
    return done.returncode, failure.read_text() if failure.exists() else None


@pytest.mark.parametrize("code", [0, 1, 143])
def test_the_childs_exit_code_is_passed_on(tmp_path: Path, code: int) -> None:
    assert supervise(tmp_path, f"return {code}")[0] == code
    assert supervise(tmp_path, f"Path(sys.argv[1], 'output').mkdir(exist_ok=True); {REPORT}; return {code}") == (
        code,
        "a reason",
    )


@pytest.mark.parametrize("ending", ["return 1", "os._exit(1)", "sys.exit(3)"])
def test_a_child_that_ends_without_a_reason_is_reported(tmp_path: Path, ending: str) -> None:
    """OpenBLAS ends the process like this when it gets no memory."""
    code, failure = supervise(tmp_path, ending)
    assert code != 0
    assert failure is not None
    if "sys" not in ending:
        assert failure.startswith("ClientError: Training ended with exit code 1 before it could report why")


def test_a_child_that_succeeds_leaves_no_failure(tmp_path: Path) -> None:
    assert supervise(tmp_path, "return 0") == (0, None)


@pytest.mark.slow
def test_a_child_that_cannot_be_interrupted_is_ended(tmp_path: Path) -> None:
    """Before Docker would, ten seconds after SIGTERM, and with a failure file."""
    body = "signal.signal(signal.SIGTERM, signal.SIG_IGN); os.kill(os.getppid(), signal.SIGTERM); time.sleep(60)"
    code, failure = supervise(tmp_path, body)
    assert code == 143
    assert failure is not None
    assert failure.startswith(
        "ClientError: Training was asked to stop in the midst of a computation that cannot be"
    )


@pytest.mark.parametrize(
    ("number", "code", "begins"),
    [
        ("SIGKILL", 137, "ClientError: Training was killed (SIGKILL), by hand or for lack of memory on the host"),
        ("SIGBUS", 135, "ClientError: Training was killed (SIGBUS): a data file became shorter"),
        ("SIGSEGV", 139, "AlgorithmError: Training was killed by SIGSEGV; this is a bug"),
    ],
)
def test_a_child_that_cannot_speak_is_spoken_for(tmp_path: Path, number: str, code: int, begins: str) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / ".partial-model_algo-1").write_bytes(b"half")
    body = f"signal.signal(signal.{number}, signal.SIG_DFL) if '{number}' != 'SIGKILL' else None; " + (
        f"os.kill(os.getpid(), signal.{number}); signal.pause()"
    )
    ended, failure = supervise(tmp_path, body)
    assert ended == code
    assert failure is not None
    assert failure.startswith(begins)
    assert list((tmp_path / "model").iterdir()) == []


def test_an_installation_that_is_broken_is_a_failure_with_a_reason(tmp_path: Path) -> None:
    code, failure = supervise(tmp_path, "import a_module_that_is_not_there")
    assert code == 1
    assert failure is not None
    assert failure.startswith("AlgorithmError: ModuleNotFoundError: No module named 'a_module_that_is_not_there'")


def test_a_request_to_stop_reaches_the_child(tmp_path: Path) -> None:
    # not signal.pause(): the signal may come before it
    body = (
        "os.kill(os.getppid(), signal.SIGTERM); "
        "any(stopping() or time.sleep(0.01) for _ in range(3000)); return 42 if stopping() else 1"
    )
    assert supervise(tmp_path, body)[0] == 42


def test_requests_to_stop_while_the_child_ends_change_nothing(tmp_path: Path) -> None:
    for _ in range(5):
        program = PROGRAM.format(body="print('ready', flush=True); time.sleep(0.02); return 0")
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        with process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            while process.poll() is None:
                process.send_signal(signal.SIGTERM)
                time.sleep(0.0005)
        assert process.returncode == 0


def test_a_third_interrupt_ends_a_child_that_does_not_listen(tmp_path: Path) -> None:
    body = "[(os.kill(os.getppid(), signal.SIGINT), time.sleep(0.2)) for _ in range(4)]; return 0"
    code, failure = supervise(tmp_path, body)
    assert code == 137
    assert failure is not None
