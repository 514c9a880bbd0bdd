"""The errors that belong to the caller: what was wrong, where, what was expected; and the request to stop."""

from typing import Any


class UserError(Exception):
    """A mistake that the caller can mend.

    Its text is one or more full sentences: what, where (file, record or line, column), the value that was
    found (at most 60 characters of it), what was expected, and the likely cause where there is one.
    Everything that is not a `UserError` is a bug of this project, and is reported as one.
    """


class HyperparameterError(UserError):
    """One or more hyperparameters are missing, unknown, out of range or contradict each other."""


class DataError(UserError):
    """The training data or a request body cannot be read as what it claims to be."""


class RecordsError(DataError):
    """Records that were read well do not suit the algorithm.

    Its text counts records and features from 1 and names no source: only who opened the source knows its name.
    """


class Stopped(Exception):  # noqa: N818 -- a request, not an error
    """The job was asked to stop in the midst of a pass.

    Attributes
    ----------
    partial
        The sum over the records up to the stop, from the first on; None where it is not known.
    """

    def __init__(self, partial: Any = None) -> None:
        super().__init__()
        self.partial = partial


def excerpt(value: object, limit: int = 60) -> str:
    """Quote a value for an error message, cut to `limit` characters and free of control characters."""
    text = value if isinstance(value, str) else repr(value)
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    return repr(text) if isinstance(value, str) else text
