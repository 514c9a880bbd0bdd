"""The process outside training: it passes signals on, and reports a job that could not report itself."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from eigenline.container.failure import (
    MORE_MEMORY,
    clear_failure,
    failure_text,
    note_on_models,
    traceback_text,
    write_failure,
)
from eigenline.container.folders import Folders
from eigenline.container.model_folder import models_in, remove_partial
from eigenline.container.stopping import Stopping
from eigenline.formats.machine_limits import memory_limit

_PR_SET_PDEATHSIG = 1


def supervise(job: Callable[[Stopping], int], folders: Folders) -> int:
    """Run a job in a child process and return the exit code for this one.

    A process that the kernel kills for its memory cannot write its own failure file, and the user of a training
    job would see an exit code and nothing else. The parent is small, so the kernel takes the child; the parent
    then says what happened and removes what the child left half-written. As process 1 of a container it also
    takes the signals, which the kernel withholds from a process 1 without handlers.

    Parameters
    ----------
    job
        Called in the child with its request to stop; the result is the child's exit code.
    folders
        Where the failure file and the model go.
    """
    clear_failure(folders.failure)
    sys.stdout.flush()
    kills_before, models_before = _out_of_memory_kills(), models_in(folders.model)
    stopping = Stopping()
    stopping.listen()  # before the fork, so that no moment is without a handler
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        _die_with(parent)
        os._exit(_exit_code_of(job, stopping, folders))
    _forward_signals(child)
    if stopping():
        os.kill(child, signal.SIGTERM)  # it came between the fork and the line above
    _, status = os.waitpid(child, 0)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # the job is over: a late request changes nothing
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        remove_partial(folders.model)
        text = _killed_text(signal.Signals(-code), _out_of_memory_kills() > kills_before)
        text += note_on_models(models_before & models_in(folders.model))
        sys.stderr.write(f"{text}\n")
        write_failure(folders.failure, text)
        return 128 - code  # the shell's and Docker's convention: 137 for SIGKILL
    return code


def _exit_code_of(job: Callable[[Stopping], int], stopping: Stopping, folders: Folders) -> int:
    try:
        return job(stopping)
    except BaseException as error:  # an installation so broken that the job could not even begin
        sys.stderr.write(f"{traceback_text(error)}\n")
        write_failure(folders.failure, failure_text(error))
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _forward_signals(child: int) -> None:
    asked = 0

    def forward(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked += 1
        # A person who presses Ctrl-C a third time wants the end, not the model. (A terminal sends the first
        # one to both processes; the child takes it twice without harm.)
        with contextlib.suppress(ProcessLookupError):  # it ended between two lines of this program
            os.kill(child, signal.SIGKILL if number == signal.SIGINT and asked > 2 else number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, forward)


def _die_with(parent: int) -> None:
    """Ask Linux to kill this process when its parent dies, so that no training goes on unseen."""
    import ctypes

    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    except (OSError, AttributeError):
        return  # not Linux
    if os.getppid() != parent:
        os._exit(128 + signal.SIGKILL)


def _killed_text(number: signal.Signals, out_of_memory: bool) -> str:
    limit = f"{memory_limit() / 2**20:,.0f} MiB"
    if out_of_memory:
        return (
            f"ClientError: Training needed more memory than the container's limit of {limit}, and the kernel "
            f"killed it. {MORE_MEMORY}"
        )
    if number == signal.SIGKILL:
        return (
            "ClientError: Training was killed (SIGKILL), by hand or for lack of memory on the host; the "
            f"container's memory limit is {limit}. {MORE_MEMORY}"
        )
    if number == signal.SIGBUS:
        return "ClientError: Training was killed (SIGBUS): a data file became shorter while it was read."
    return (
        f"AlgorithmError: Training was killed by {number.name}; this is a bug, and the log says what came before."
    )


def _out_of_memory_kills() -> int:
    """Count the kernel's kills for memory in this container so far: ``oom_kill`` of cgroup v2 or v1."""
    root = Path("/sys/fs/cgroup")
    for path in (root / "memory.events", root / "memory" / "memory.oom_control"):
        try:
            for line in path.read_text().splitlines():
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    return int(value)
        except (OSError, ValueError):
            continue
    return 0
