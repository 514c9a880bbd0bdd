"""Where each request is answered: cheap ones at once, costly ones in a thread, all others by Flask."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Final

from flask import Flask

from eigenline.algorithms.errors import UserError
from eigenline.serve.access_log import AccessLog
from eigenline.serve.answers import Answer, Refusal, refuse
from eigenline.serve.budget import Budget, charge
from eigenline.serve.metrics import ROUTES, Metrics
from eigenline.serve.models import ServedModel
from eigenline.serve.registry import Registry
from eigenline.serve.request import Request
from eigenline.serve.service import Call, Service, Work, request_id_of
from eigenline.serve.wsgi import call_application

# Bodies up to this size are read on the event loop: the hand-over to a thread costs more than their share of a
# parse. Larger ones would keep the loop from `/ping` and from other clients for too long.
LARGEST_READ_AT_ONCE: Final = 1024 * 1024
_LARGEST_NAMED_READ_AT_ONCE: Final = 64 * 1024  # texts and names are read cell by cell, ten times as slowly
_THREADS: Final = 4
_WAIT_SECONDS: Final = 10.0  # for memory, before a request is refused with 503
_INVOKE, _INVOKE_NAMED, _PING, _OTHER = range(len(ROUTES))


class Dispatcher:
    """Answers a worker's requests.

    Parameters
    ----------
    app
        The Flask application, with its service (and registry, for a multi-model endpoint).
    metrics
        Counts every answer.
    """

    def __init__(self, app: Flask, metrics: Metrics) -> None:
        self._app = app
        self._service: Service = app.extensions["service"]
        self._registry: Registry | None = app.extensions.get("registry")
        self.settings = self._service.settings
        self.metrics = metrics
        self.log = AccessLog(on=self.settings.log_level in ("DEBUG", "INFO"))
        self.budget = Budget(self.settings.body_budget_bytes)
        # Threads do not survive a fork: made in the worker. A load of a model keeps no prediction waiting.
        self._computing: Executor | None = None
        self._application: Executor | None = None
        self._housekeeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Prepare to answer, in the worker's process, on its event loop."""
        self._computing = ThreadPoolExecutor(_THREADS, thread_name_prefix="computing")
        self._application = ThreadPoolExecutor(_THREADS, thread_name_prefix="application")
        if self._registry is not None:
            self._housekeeping = asyncio.get_running_loop().create_task(_forget_unlisted_models(self._registry))

    def stop(self) -> None:
        """Write what has been logged; nothing is answered any more."""
        if self._housekeeping is not None:
            self._housekeeping.cancel()
        self.log.flush()

    def answer(self, request: Request, client: str, done: Callable[[Answer], None]) -> Answer | None:
        """Return the answer to a request, or None and call `done` with it later, on the same event loop."""
        path = "/invocations" if request.target == b"/invocations" else request.path
        method = request.method
        if path == "/ping" and request.refusal is None and method in (b"GET", b"HEAD"):
            answer = self._service.ping()
            self.metrics.count(_PING, answer.status, time.perf_counter() - request.started)
            return answer
        route, name = self._route(path, method)
        call = _call(request)

        def noted(answer: Answer) -> Answer:
            self._note(request, client, path, route, call.request_id, answer)
            return answer

        if request.refusal is not None:
            return noted(_refused(request.refusal, call))
        if name is None:
            self._in_thread(
                self._application,
                lambda: call_application(self._app, request, client, call.request_id),
                noted,
                done,
                call,
            )
            return None
        model = self._held(name)
        if model is None or len(call.body) > _largest_read_at_once(model):
            self._in_thread(self._computing, lambda: self._read(name, call), noted, done, call)
            return None
        work = self._service.read(model, call)
        if isinstance(work, Answer):
            return noted(work)
        if work.cost.is_small:
            return noted(self._service.predict(work))
        self._compute(work, noted, done)
        return None

    def _route(self, path: str, method: bytes) -> tuple[int, str | None]:
        """Return the route's number, and the model that is invoked ("" for the one model), or None for none."""
        if self._registry is None:
            invoked = path == "/invocations"
            return (_INVOKE if invoked else _OTHER), ("" if invoked and method == b"POST" else None)
        if path.startswith("/models/") and path.endswith("/invoke") and path.count("/") == 3:
            name = path[len("/models/") : -len("/invoke")].encode("latin-1").decode("utf-8", "replace")
            return _INVOKE_NAMED, (name if method == b"POST" else None)
        return _OTHER, None

    def _held(self, name: str) -> ServedModel | None:
        """Return a model that is in memory; None where it has to be read first, or does not exist."""
        return self._service.model if self._registry is None else self._registry.held(name)

    def _read(self, name: str, call: Call) -> Work | Answer:
        """Read a call's records, and before that the model, where this worker does not have it yet."""
        model = self._service.model if self._registry is None else self._registry.model(name)
        assert model is not None
        return self._service.read(model, call)

    def _compute(self, work: Work, noted: Callable[[Answer], Answer], done: Callable[[Answer], None]) -> None:
        """Answer in a thread, once the worker has memory for the answer."""
        loop = asyncio.get_running_loop()
        needed, call = charge(work.cost.num_bytes), work.call

        def start() -> None:
            timer.cancel()
            self._in_thread(self._computing, lambda: self._service.predict(work), returned, done, call)

        def returned(answer: Answer) -> Answer:
            self.budget.give_back(needed)
            return noted(answer)

        def give_up() -> None:
            self.budget.cancel(start)
            done(noted(_refused(busy(), call)))

        timer = loop.call_later(_WAIT_SECONDS, give_up)
        if self.budget.take(needed, start):
            start()

    def _in_thread(
        self,
        executor: Executor | None,
        function: Callable[[], Work | Answer],
        noted: Callable[[Answer], Answer],
        done: Callable[[Answer], None],
        call: Call,
    ) -> None:
        future = asyncio.get_running_loop().run_in_executor(executor, function)

        def completed(future: asyncio.Future[Work | Answer]) -> None:
            if future.cancelled():
                return
            error = future.exception()
            if error is not None:
                outcome: Work | Answer = self._service.failed(call, error)
            else:
                outcome = future.result()
            if isinstance(outcome, Answer):
                done(noted(outcome))
            else:
                self._compute(outcome, noted, done)

        future.add_done_callback(completed)

    def _note(self, request: Request, client: str, path: str, route: int, request_id: str, answer: Answer) -> None:
        method = request.method.decode("latin-1") or "-"
        self.metrics.count(route, answer.status, time.perf_counter() - request.started)
        self.log.note(client, method, path, answer.status, len(answer.body), request.started, request_id)


def _largest_read_at_once(model: ServedModel) -> int:
    return LARGEST_READ_AT_ONCE if model.preparation is None else _LARGEST_NAMED_READ_AT_ONCE


def busy() -> Refusal:
    """Return the refusal of a request for which there was no memory in time."""
    return Refusal(503, "The server is busy with other large requests; try again shortly.", ("Retry-After", "5"))


def _refused(refusal: UserError, call: Call) -> Answer:
    answer = refuse(refusal, call.accept, call.request_id)
    headers = (("X-Request-Id", call.request_id), *answer.headers)
    return Answer(answer.status, answer.body, answer.content_type, headers)


def _call(request: Request) -> Call:
    headers = request.headers
    return Call(
        request.body,
        request.text(b"content-type"),
        request.text(b"accept") if b"accept" in headers else None,
        request.query,
        request.text(b"x-amzn-sagemaker-custom-attributes"),
        request_id_of(request.text(b"x-request-id"), request.text(b"x-amzn-sagemaker-inference-id")),
        request.text(b"content-encoding"),
    )


async def _forget_unlisted_models(registry: Registry) -> None:
    while True:
        await asyncio.sleep(0.1)
        await asyncio.to_thread(registry.forget_unlisted)  # not in a thread that may wait for this very thing
