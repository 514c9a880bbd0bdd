"""No reader takes more than linear time: a cell of 60 kB once stopped a server for minutes."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.formats.long_inputs import READERS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("inputs", ["digits", pytest.param("all", marks=pytest.mark.slow)])
def test_long_damaged_inputs_give_an_error_in_linear_time(reader: str, inputs: str) -> None:
    # A process of its own, because the bound on CPU time kills: a regular expression holds the interpreter's lock.
    command = [sys.executable, "-m", "tests.formats.long_inputs", reader, inputs]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:] or f"killed by signal {-done.returncode}"
