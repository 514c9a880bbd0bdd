"""The failure file: one sentence that a person reads in the SageMaker console instead of the log."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

from eigenline.algorithms.errors import UserError

# What the operating system refuses because of disks, mounts and owners.
_OF_THE_MACHINE = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    *(errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.EIO, errno.ESTALE),
)
LIMIT = 1024  # SageMaker shows the first 1,024 characters as FailureReason


def failure_text(error: BaseException, note: str = "") -> str:
    """Return in at most 1,024 characters who can mend what, the message first.

    ``ClientError: `` is the caller's mistake or the machine's limit, ``AlgorithmError: `` a bug of this project,
    as in the built-in algorithms. The traceback belongs to the log: behind it the message would be cut off.

    Parameters
    ----------
    error
        What ended the job.
    note
        Put behind the message, whole even where the message has to be cut.
    """
    match error:
        case UserError():
            text = f"ClientError: {error}"
        case _ if _is_want_of_memory(error):
            what = "a library cannot be loaded" if isinstance(error, ImportError) else str(error)
            text = f"ClientError: Not enough memory: {what or 'an allocation failed'}. {MORE_MEMORY}"
        case OSError() if error.errno in _OF_THE_MACHINE:
            text = f"ClientError: {error.strerror}: {error.filename or 'while writing'}."
        case _:
            text = (
                f"AlgorithmError: {type(error).__name__}: {error} (a bug in eigenline, not in your data; the "
                "traceback is in the job's log)"
            )
    room = LIMIT - len(note)
    return (text if len(text) <= room else text[: room - 1] + "…") + note


def _is_want_of_memory(error: BaseException) -> bool:
    """Return whether an error is one of the many in which libraries report that memory is short."""
    match error:
        case MemoryError():
            return True
        case OSError():
            return error.errno in (errno.ENOMEM, errno.EAGAIN)
        case RuntimeError():
            return "can't start new thread" in str(error)
        case ImportError():
            return "failed to map segment" in str(error) or "cannot allocate memory" in str(error).lower()
    return False


def note_on_models(left_alone: Iterable[tuple[str, int]]) -> str:
    """Return which models in the folder are not this job's; an empty text where there are none.

    Chosen: a job that fails removes nothing that a job before it made, because a typing mistake must not cost a
    model; but whoever serves the folder next must know which model that will be.

    Parameters
    ----------
    left_alone
        Of `models_in`: what was there before the job and still is.
    """
    names = ", ".join(sorted(name for name, _ in left_alone))
    return f" ({names} is of an earlier run and was left as it is.)" if names else ""


STOPPED = "ClientError: Training was asked to stop before it had a model; nothing was saved."
MORE_MEMORY = (
    "Give the container more memory (docker run -m, or a larger instance type), send the data as float32 or "
    "sparse recordIO, or lower mini_batch_size or num_models."
)


def write_failure(path: Path, text: str) -> None:
    """Write the failure file; where that is impossible, write its text to the log and go on to the exit code.

    A text may hold a file name that is no valid Unicode; such characters are written as their escapes.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        sys.stderr.write(f"{path} cannot be written: {error.strerror}. It would say: {text}\n")
        sys.stderr.flush()


def clear_failure(path: Path) -> None:
    """Remove the failure file of an earlier run over the same folders."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # not writable: it can then neither be replaced, and the log carries the message


def traceback_text(error: BaseException) -> str:
    """Return the traceback as the log prints it."""
    return "".join(traceback.format_exception(error)).rstrip()
