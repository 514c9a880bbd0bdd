"""Both walkthroughs, as a person runs them: real recordIO files, the real `train` and `serve`, real HTTP."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from examples import eigendigits, is_it_a_zero
from examples.digits import load_digits
from examples.steps import Steps
from tests.contract.clauses import IN_THE_SDKS, OTHER_TEST, WALKTHROUGHS, clause


@clause("Start", WALKTHROUGHS, container=IN_THE_SDKS, sdk2=OTHER_TEST, sdk3=OTHER_TEST)
def test_is_it_a_zero_on_the_small_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNIST_DIR", "")
    confusion = is_it_a_zero.run(load_digits(), tmp_path / "job", Steps())
    assert confusion.found + confusion.missed == 35  # the zeros of the 360 test images
    assert confusion.errors <= 4


@clause("Start", WALKTHROUGHS, container=IN_THE_SDKS, sdk2=OTHER_TEST, sdk3=OTHER_TEST)
def test_eigendigits_of_the_small_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNIST_DIR", "")
    assert eigendigits.run(load_digits(), tmp_path / "job", tmp_path / "digits.png", Steps()) > 0.9999
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.usefixtures("mnist_folder")
def test_is_it_a_zero_on_mnist_beats_the_service_and_scikit_learn(tmp_path: Path) -> None:
    confusion = is_it_a_zero.run(load_digits(), tmp_path / "job", Steps())
    assert confusion.found + confusion.missed == 980
    assert confusion.errors < is_it_a_zero.PUBLISHED.errors
    assert confusion.errors <= 78  # LogisticRegression(C=1): 946 found, 44 false, 34 missed


@pytest.mark.slow
@pytest.mark.usefixtures("mnist_folder")
def test_eigendigits_of_mnist_hold_the_best_possible_variance(tmp_path: Path) -> None:
    assert eigendigits.run(load_digits(), tmp_path / "job", tmp_path / "digits.png", Steps()) > 0.9999


@pytest.mark.slow
def test_the_demo_says_what_it_does_and_leaves_a_picture(tmp_path: Path) -> None:
    demo = start_demo(tmp_path)
    output, _ = demo.communicate()
    assert demo.returncode == 0, output
    assert "predicted another digit" in output
    assert (tmp_path / "demo" / "eigendigits.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["train", "serve"])
@pytest.mark.parametrize("ignored", [False, True], ids=["", "started in the background of a script"])
def test_the_demo_leaves_no_process_behind_when_it_is_interrupted(
    tmp_path: Path, verb: str, ignored: bool
) -> None:
    demo = start_demo(tmp_path, (lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if ignored else None)
    while not processes_of(tmp_path, verb):
        assert demo.poll() is None, demo.communicate()
        time.sleep(0.01)
    demo.send_signal(signal.SIGINT)
    output, _ = demo.communicate()
    assert "nothing is left running" in output
    assert demo.returncode == 130
    assert not processes_of(tmp_path)


def start_demo(folder: Path, before: Callable[[], object] | None = None) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "examples.demo"],
        cwd=folder,
        env={**os.environ, "MNIST_DIR": "", "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=before,
    )


def processes_of(folder: Path, verb: str | None = None) -> list[int]:
    """Processes whose environment names the demo's folder as their SAGEMAKER_BASE_DIR, those of a verb or all."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        asked = verb is None or f"\0eigenline\0{verb}\0".encode() in command
        if asked and f"SAGEMAKER_BASE_DIR={folder}/".encode() in environment:
            found.append(int(process.name))
    return found
