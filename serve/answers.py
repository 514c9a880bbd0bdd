"""One HTTP answer as a value, and every refusal: the status of an error and the form of its sentence."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from eigenline.algorithms.errors import DataError, UserError
from eigenline.formats.content_types import JSON_LINES, NotAcceptable, UnsupportedContentType
from eigenline.serve.models import ModelError, ModelTooLarge
from eigenline.serve.options import OptionError

TEXT: Final = "text/plain; charset=utf-8"
JSON_TYPE: Final = "application/json"


@dataclass(slots=True)
class Answer:
    """Status, body and headers of a response; `content_type` is empty where there is no body."""

    status: int
    body: bytes = b""
    content_type: str = ""
    headers: tuple[tuple[str, str], ...] = ()


class Refusal(UserError):  # noqa: N818 -- it is the server's answer, and none of its errors
    """A request that is not answered, for a reason that HTTP has its own status for."""

    def __init__(self, status: int, message: str, *headers: tuple[str, str]) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


def status_of(error: UserError) -> int:
    """Return the HTTP status of a caller's mistake."""
    match error:
        case Refusal():
            return error.status
        case UnsupportedContentType():
            return 415
        case NotAcceptable():
            return 406
        case ModelTooLarge():
            return 507
        case DataError() | OptionError() | ModelError():
            return 400
    return 400


def refuse(error: UserError, accept: str | None, request_id: str) -> Answer:
    """Put a caller's mistake into the form that the client reads."""
    headers = error.headers if isinstance(error, Refusal) else ()
    return message(status_of(error), str(error), accept, request_id, headers)


def message(
    status: int,
    sentence: str,
    accept: str | None,
    request_id: str,
    headers: tuple[tuple[str, str], ...] = (),
) -> Answer:
    """Return one sentence as an answer: plain text or a JSON line where the client accepts those, else JSON.

    RecordIO has no form for an error; a client of it sees the body as the message of its ModelError.
    """
    wanted = (accept or "").lower()
    if "text/" in wanted and "json" not in wanted:
        return Answer(status, f"{sentence}\n".encode(), TEXT, headers)
    body = json.dumps({"error": sentence, "request_id": request_id}, ensure_ascii=False).encode()
    if "lines" in wanted:
        return Answer(status, body + b"\n", JSON_LINES, headers)
    return Answer(status, body, JSON_TYPE, headers)


def too_large(limit: int) -> str:
    """Return the sentence that says how large a body may be, and how to change that."""
    return (
        f"The body is larger than {limit} bytes. Send fewer records at a time, or start the server with a larger "
        "MAX_CONTENT_LENGTH (bytes); SageMaker itself passes at most 6 MiB in real time."
    )
