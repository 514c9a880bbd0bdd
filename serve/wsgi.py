"""One request to the Flask application and back, over WSGI (PEP 3333)."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any

from flask import Flask

from eigenline.serve.answers import Answer
from eigenline.serve.request import Request


def call_application(app: Flask, request: Request, client: str, request_id: str) -> Answer:
    """Return what the application answers; its error handler lets no exception out.

    Parameters
    ----------
    client
        The client's address.
    request_id
        Becomes the request's ``X-Request-Id``.
    """
    host, _, port = (
        request.text(b"host").rpartition(":") if b":" in request.headers.get(b"host", b"") else ("", "", "")
    )
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method.decode("latin-1"),
        "SCRIPT_NAME": "",
        "PATH_INFO": request.path,
        "QUERY_STRING": request.query,
        "SERVER_NAME": host or request.text(b"host") or "localhost",
        "SERVER_PORT": port or "80",
        "SERVER_PROTOCOL": f"HTTP/{request.version}",
        "REMOTE_ADDR": client,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for raw_name, raw_value in request.headers.items():
        if b"_" in raw_name:
            continue  # it would pass for the field with '-', which a proxy may have checked
        name = raw_name.decode("latin-1").upper().replace("-", "_")
        environ[name if name == "CONTENT_TYPE" else f"HTTP_{name}"] = raw_value.decode("latin-1")
    environ.pop("HTTP_TRANSFER_ENCODING", None)  # the body is whole now
    environ["CONTENT_LENGTH"] = str(len(request.body))
    environ["HTTP_X_REQUEST_ID"] = request_id
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(
        status: str, headers: list[tuple[str, str]], _error: object = None, /
    ) -> Callable[[bytes], object]:
        started.append((status, headers))
        return io.BytesIO().write  # PEP 3333's old way to send; Flask does not use it

    body = b"".join(app.wsgi_app(environ, start_response))
    status, headers = started[-1]
    is_head = request.method == b"HEAD"  # its length is that of the body which is not sent
    kept = tuple((name, value) for name, value in headers if is_head or name.lower() != "content-length")
    return Answer(int(status.split(" ", 1)[0]), body, "", kept)
