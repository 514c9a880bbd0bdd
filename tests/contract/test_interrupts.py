"""Ctrl-C in a walkthrough is raised everywhere, also where Python drops exceptions or a process just started."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(program: str, **options: object) -> str:
    lines = ["import os, signal", "from examples.interrupts import interrupts", "interrupts.handle()", program]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        **options,  # type: ignore[call-overload]
    )
    return done.stdout


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_an_interrupt_is_raised_also_where_the_parent_ignores_it(number: str) -> None:
    program = f"""
try:
    os.kill(os.getpid(), signal.{number})
    print("lost")
except KeyboardInterrupt:
    print("raised", interrupts.received.name)
"""
    # as a script's `make demo &` does
    ignoring = lambda: signal.signal(signal.Signals[number], signal.SIG_IGN)  # noqa: E731
    assert run(program, preexec_fn=ignoring) == f"raised {number}\n"


def test_an_interrupt_that_python_drops_in_a_destructor_is_raised_at_the_next_step() -> None:
    program = """
from examples.steps import Steps
class Destroyed:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        sum(range(10))
thing = Destroyed()
del thing
print("dropped")
try:
    with Steps().step("the next"):
        print("lost")
except KeyboardInterrupt:
    print("raised")
"""
    assert run(program) == "dropped\nraised\n"


def test_an_interrupt_while_a_process_starts_is_raised_when_it_is_known() -> None:
    program = """
known = []
try:
    with interrupts.held():
        os.kill(os.getpid(), signal.SIGINT)
        known.append("known")
except KeyboardInterrupt:
    print(*known, "raised")
"""
    assert run(program) == "known raised\n"
