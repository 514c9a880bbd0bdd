"""The ASGI front of the server: health and predictions directly, everything else through the Flask application.

Of a one-row prediction over Flask, most of the time goes into Flask and its server, not into the prediction.
The front answers `/ping`, `/invocations` and `/models/<name>/invoke` itself, with the same `Service` as Flask.
"""

from __future__ import annotations

import asyncio
import io
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final, TypeAlias

from flask import Flask

from eigenline.algorithms.errors import UserError
from eigenline.serve.access_log import AccessLog
from eigenline.serve.answers import Answer, refuse
from eigenline.serve.body import Budget, Disconnected, Message, Receive, charge, read_body
from eigenline.serve.models import ServedModel
from eigenline.serve.plain_request import PlainRequest
from eigenline.serve.registry import Registry
from eigenline.serve.service import Call, Service, request_id_of

Scope: TypeAlias = MutableMapping[str, Any]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

# Bodies up to this size are answered on the event loop: a thread's hand-over costs more than their share of a
# parse. Larger ones would keep the loop from `/ping` and from other clients for too long.
LONGEST_PLAIN_BODY: Final = 1024 * 1024
_THREADS: Final = 4


class Front:
    """An ASGI application around `serve.app.create_app`'s.

    Parameters
    ----------
    app
        The Flask application, with its service (and registry, for a multi-model endpoint).
    """

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._service: Service = app.extensions["service"]
        self._registry: Registry | None = app.extensions.get("registry")
        settings = self._service.settings
        self.log = AccessLog(on=settings.log_level in ("DEBUG", "INFO"))
        self._limit = settings.max_payload_bytes
        self._seconds = settings.timeout_seconds
        self._budget = Budget(settings.body_budget_bytes)
        self.longest_plain_body = min(LONGEST_PLAIN_BODY, self._limit)
        self._threads: ThreadPoolExecutor | None = None  # threads do not survive a fork: made in the worker
        self._housekeeping: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event, as ASGI defines it."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="serve")
        if self._registry is not None:
            self._housekeeping = asyncio.create_task(self._forget_unlisted_models(self._registry))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.log.flush()
        await send({"type": "lifespan.shutdown.complete"})

    async def _forget_unlisted_models(self, registry: Registry) -> None:
        while True:
            await asyncio.sleep(0.1)
            await asyncio.to_thread(registry.forget_unlisted)  # not in a thread that may wait for this very thing

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        if path == "/ping" and method in ("GET", "HEAD"):
            await _send(send, self._service.ping(), b"")
            return
        started = time.perf_counter()
        headers: dict[bytes, bytes] = dict(scope["headers"])
        call = _call(headers, scope["query_string"])
        body = b""
        try:
            body = await read_body(receive, headers, self._limit, self._budget, self._seconds)
            name = self._model_name(path) if method == "POST" else None
            if name is None:
                answer = await self._in_thread(_through_flask, self._app, scope, body, call.request_id)
            else:
                call = replace(call, body=body)
                if len(body) > LONGEST_PLAIN_BODY:
                    answer = await self._in_thread(self._invoke, name, call)
                else:
                    answer = self._invoke(name, call)
        except UserError as error:
            answer = refuse(error, call.accept, call.request_id)
        except Disconnected:
            return
        finally:
            self._budget.give_back(charge(len(body)))
        # What was refused unread is still coming: the connection cannot be used again.
        closing = b"close" if answer.status in (408, 413, 503) else b""
        client = (scope.get("client") or ("-",))[0]
        self.log.note(client, method, path, answer.status, len(answer.body), started, call.request_id)
        await _send(send, answer, closing)

    def accepts(self, request: PlainRequest) -> bool:
        """Tell whether a request that the server has read itself is for `answer`: one for predictions."""
        return self._model_name(request.path) is not None

    def answer(self, request: PlainRequest, body: bytes, client: str) -> Answer:
        """Answer a plain request for predictions at once, on the event loop."""
        started = time.perf_counter()
        headers, name = request.headers, self._model_name(request.path)
        assert name is not None
        call = _call(headers, request.query, body)
        answer = self._invoke(name, call)
        self.log.note(client, "POST", request.path, answer.status, len(answer.body), started, call.request_id)
        return answer

    def _model_name(self, path: str) -> str | None:
        """Return the model that a path invokes ("" for the one model), or None for every other path."""
        if self._registry is None:
            return "" if path == "/invocations" else None
        if path.startswith("/models/") and path.endswith("/invoke"):
            return path[len("/models/") : -len("/invoke")]
        return None

    def _invoke(self, name: str, call: Call) -> Answer:
        model: ServedModel | None = self._service.model
        if self._registry is not None:
            try:
                model = self._registry.model(name)
            except UserError as error:
                return refuse(error, call.accept, call.request_id)
            except Exception:
                return self._service.failure(call)
        assert model is not None
        return self._service.invoke(model, call)

    async def _in_thread(self, function: Callable[..., Answer], *arguments: Any) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)


def _call(headers: dict[bytes, bytes], query: bytes, body: bytes = b"") -> Call:
    def text(name: bytes) -> str:
        return headers[name].decode("latin-1") if name in headers else ""

    return Call(
        body,
        text(b"content-type"),
        text(b"accept") if b"accept" in headers else None,
        query.decode("latin-1"),
        text(b"x-amzn-sagemaker-custom-attributes"),
        request_id_of(text(b"x-request-id"), text(b"x-amzn-sagemaker-inference-id")),
        text(b"content-encoding"),
    )


def _through_flask(app: Flask, scope: Scope, body: bytes, request_id: str) -> Answer:
    """Ask the Flask application, over WSGI (PEP 3333)."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"].encode().decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": (scope.get("server") or ("localhost",))[0],
        "SERVER_PORT": str((scope.get("server") or ("", 8080))[1] or 8080),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": (scope.get("client") or ("",))[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").upper().replace("-", "_"), raw_value.decode("latin-1")
        name = name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"
        environ[name] = f"{environ[name]},{value}" if name in environ else value
    environ.pop("HTTP_TRANSFER_ENCODING", None)  # the body is whole now
    environ["CONTENT_LENGTH"] = str(len(body))
    environ["HTTP_X_REQUEST_ID"] = request_id
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(
        status: str, headers: list[tuple[str, str]], _error: object = None, /
    ) -> Callable[[bytes], object]:
        started.append((status, headers))
        return io.BytesIO().write  # PEP 3333's old way to send; Flask does not use it

    chunks = app.wsgi_app(environ, start_response)
    answer = b"".join(chunks)
    status, headers = started[-1]
    kept = tuple((name, value) for name, value in headers if name.lower() != "content-length")
    return Answer(int(status.split(" ", 1)[0]), answer, "", kept)


async def _send(send: Send, answer: Answer, connection: bytes) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": headers_of(answer, connection)})
    await send({"type": "http.response.body", "body": answer.body})


def headers_of(answer: Answer, connection: bytes = b"") -> list[tuple[bytes, bytes]]:
    """Return an answer's headers as they are sent, but for those that every answer of the server has."""
    headers = [(b"content-length", b"%d" % len(answer.body))]
    if answer.status == 204:
        headers = []
    if answer.content_type:
        headers.append((b"content-type", answer.content_type.encode("latin-1")))
    if connection:
        headers.append((b"connection", connection))
    headers += [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in answer.headers]
    return headers
