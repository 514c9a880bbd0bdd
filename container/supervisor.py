"""The process outside training: it passes signals on, and reports a job that could not report itself."""

from __future__ import annotations

import contextlib
import os
import resource
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
_OVERDUE_TEXT = (
    "ClientError: Training was asked to stop in the midst of a computation that cannot be interrupted, and was "
    "ended; nothing was saved by this run."
)
# OpenBLAS does that when it gets no memory.
_SILENT_TEXT = (
    "ClientError: Training ended with exit code {code} before it could report why; the log says what came before. "
    "Some libraries end the process when memory is short; the memory limit is {limit}. " + MORE_MEMORY
)


def supervise(job: Callable[[Stopping], int], folders: Folders) -> int:
    """Run a job in a child process and return the exit code for this one.

    A process that the kernel kills for its memory cannot write its own failure file, and the user of a training
    job would see an exit code and nothing else. The parent is small, so the kernel takes the child; the parent
    then reports what happened and removes what the child left half-written. As process 1 of a container it also
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
    stopping.install()  # before the fork, so that no moment is without a handler
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        _die_with(parent)
        os._exit(_exit_code_of(job, stopping, folders))
    ending = _Ending(child)
    ending.install()
    if stopping():
        ending.forward(signal.SIGTERM, None)  # it came between the fork and the line above
    _, status = os.waitpid(child, 0)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)  # the job is over: a late request changes nothing
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        remove_partial(folders.model)
        if ending.overdue:
            text, code = _OVERDUE_TEXT, -signal.SIGTERM
        else:
            text = _killed_text(signal.Signals(-code), _out_of_memory_kills() > kills_before)
        text += note_on_models(models_before & models_in(folders.model))
        sys.stderr.write(f"{text}\n")
        write_failure(folders.failure, text)
        return 128 - code  # the shell's and Docker's convention: 137 for SIGKILL
    if code and not folders.failure.exists():
        text = _SILENT_TEXT.format(code=code, limit=_limit()) + note_on_models(
            models_before & models_in(folders.model)
        )
        sys.stderr.write(f"{text}\n")
        write_failure(folders.failure, text)
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


class _Ending:
    """Signals for the job: passed on, and followed by its end where it cannot heed them.

    Between two blocks of records a job ends at once; but a single large decomposition, or a file system that does
    not answer, cannot be interrupted from within.
    """

    def __init__(self, child: int) -> None:
        self.overdue = False
        self._child = child
        self._interrupts = 0

    def install(self) -> None:
        """Pass signals on from now on."""
        signal.signal(signal.SIGALRM, self._end)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.forward)

    def forward(self, number: int, frame: FrameType | None) -> None:
        """Pass a signal on, and set the time at which the job has to be over."""
        self._interrupts += number == signal.SIGINT
        # A person who presses Ctrl-C a third time wants the end, not the model. (A terminal sends the first
        # one to both processes; the child takes it twice without harm.)
        last = self._interrupts > 2
        with contextlib.suppress(ProcessLookupError):  # it ended between two lines of this program
            os.kill(self._child, signal.SIGKILL if last else number)
        if not signal.getitimer(signal.ITIMER_REAL)[0]:
            signal.setitimer(signal.ITIMER_REAL, _seconds_to_stop())

    def _end(self, number: int, frame: FrameType | None) -> None:
        self.overdue = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._child, signal.SIGKILL)


def _seconds_to_stop() -> float:
    """Seconds between the request to stop and the end by force.

    Source: SageMaker, which sets TRAINING_JOB_NAME, kills 120 s after SIGTERM; `docker stop` kills after 10 s.
    Both would leave no failure file.
    """
    return 110.0 if os.environ.get("TRAINING_JOB_NAME") else 8.0


def _die_with(parent: int) -> None:
    """Make Linux kill this process when its parent dies, so that no training goes on unseen."""
    import ctypes

    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    except (OSError, AttributeError):
        return  # not Linux
    if os.getppid() != parent:
        os._exit(128 + signal.SIGKILL)


def _killed_text(number: signal.Signals, out_of_memory: bool) -> str:
    limit = _limit()
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
    if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
        return (
            f"ClientError: Training was killed by {number.name}, most likely for want of memory: it may use only "
            f"so many addresses (ulimit -v), and libraries crash where they get none. {MORE_MEMORY}"
        )
    return (
        f"AlgorithmError: Training was killed by {number.name}; this is a bug, and the log says what came before."
    )


def _limit() -> str:
    return f"{memory_limit() / 2**20:,.0f} MiB"


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
