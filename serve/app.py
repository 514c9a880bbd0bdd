"""The Flask application: every route of the HTTP contract."""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from eigenline.algorithms.errors import UserError
from eigenline.formats.machine_limits import memory_limit
from eigenline.serve.answers import JSON_TYPE, Answer, Refusal, message, refuse, too_large
from eigenline.serve.metrics import Metrics
from eigenline.serve.models import ServedModel, load_model
from eigenline.serve.openapi import add_openapi
from eigenline.serve.page import add_page
from eigenline.serve.registry import Entry, Registry
from eigenline.serve.request import check_change
from eigenline.serve.service import Call, Service, request_id_of
from eigenline.serve.settings import MEBIBYTE, Settings, read_settings


def create_app(
    model_folder: str | Path | None = None,
    *,
    settings: Settings | None = None,
    model: ServedModel | None = None,
    registry_file: Path | None = None,
    metrics: Metrics | None = None,
) -> Flask:
    """Make the application, with its model loaded.

    Parameters
    ----------
    model_folder
        A folder with ``model_algo-1``, or a ``model.tar.gz``; by default ``<SAGEMAKER_BASE_DIR>/model``.
    settings
        By default from the environment.
    model
        A model that is in memory already, instead of a folder.
    registry_file
        Multi-model endpoints: where the workers share the list of models; by default a new temporary file.
    metrics
        Counters that a server keeps, shown at ``/metrics``.

    Raises
    ------
    UserError
        When a setting is wrong or the model cannot be loaded: a server that cannot answer does not start.
    """
    settings = settings or read_settings()
    app = Flask("serve", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    if settings.multi_model:
        service = Service(settings)
        app.extensions["registry"] = _add_multi_model(app, service, registry_file)
    else:
        model = model or load_model(Path(model_folder) if model_folder else settings.model_dir)
        service = Service(settings, model)
        _add_single_model(app, service, model)
    app.extensions["service"] = service
    if metrics is not None:
        app.extensions["metrics"] = metrics
        app.add_url_rule(
            "/metrics",
            view_func=lambda: Response(metrics.text(), content_type="text/plain; version=0.0.4; charset=utf-8"),
            endpoint="metrics",
        )
    add_openapi(app, settings, None if settings.multi_model else model)
    if settings.page:
        add_page(app, settings, model if not settings.multi_model else None, app.extensions.get("registry"))
    # One byte more than allowed is read at most; the command `serve` refuses before it reads anything.
    app.config["MAX_CONTENT_LENGTH"] = settings.max_payload_bytes
    app.add_url_rule("/ping", view_func=lambda: _response(service.ping()), endpoint="ping")
    app.add_url_rule(
        "/execution-parameters", view_func=lambda: execution_parameters(settings), endpoint="parameters"
    )
    app.register_error_handler(Exception, _on_error)
    return app


def _add_single_model(app: Flask, service: Service, model: ServedModel) -> None:
    def invocations() -> Response:
        return _response(service.invoke(model, _call()))

    def endpoint_invocations(name: str) -> Response:
        return _as_runtime_client_expects(service.invoke(model, _call()))

    app.add_url_rule("/invocations", view_func=invocations, methods=["POST"])
    app.add_url_rule("/endpoints/<name>/invocations", view_func=endpoint_invocations, methods=["POST"])


def _add_multi_model(app: Flask, service: Service, file: Path | None) -> Registry:
    if file is None:
        folder = tempfile.mkdtemp(prefix="serve-models-")
        weakref.finalize(app, shutil.rmtree, folder, ignore_errors=True)
        file = Path(folder) / "models.sqlite"
    settings = service.settings
    registry = Registry(file, settings.base_dir, int(memory_limit() * 0.7), settings.workers)

    def load() -> Response:
        _check_change(settings, body=True)
        document = _json_object()
        entry = registry.load(document.get("model_name"), document.get("url"))
        return _json(_described(entry))

    def listed() -> Response:
        entries, following = registry.page(request.args.get("next_page_token", ""))
        document: dict[str, Any] = {"models": [_described(entry) for entry in entries]}
        if following is not None:
            document["nextPageToken"] = following
        return _json(document)

    def unload(name: str) -> Response:
        _check_change(settings, body=False)
        return _json(_described(registry.unload(name)))

    def invoke(name: str) -> Response:
        return _response(service.invoke(registry.model(name), _call()))

    app.add_url_rule("/models", view_func=load, methods=["POST"])
    app.add_url_rule("/models", view_func=listed, methods=["GET"])
    app.add_url_rule(
        "/models/<name>", endpoint="get", view_func=lambda name: _json(_described(registry.get(name)))
    )
    app.add_url_rule("/models/<name>", endpoint="unload", view_func=unload, methods=["DELETE"])
    app.add_url_rule("/models/<name>/invoke", view_func=invoke, methods=["POST"])
    return registry


def _check_change(settings: Settings, *, body: bool) -> None:
    headers = request.headers
    loopback = settings.host in ("127.0.0.1", "localhost", "::1")
    check_change(
        headers.get("Host", ""),
        headers.get("Origin"),
        headers.get("Content-Type", ""),
        body=body,
        loopback=loopback,
    )


def execution_parameters(settings: Settings) -> Response:
    """Return how a batch transform job should send: as many requests at once as there are workers, of 6 MB each.

    What the job's own request says wins over this. SageMaker allows 100 MB for the product of the two numbers.
    """
    concurrent = min(settings.max_concurrent_transforms or settings.workers, 100)
    megabytes = max(1, min(6, settings.max_payload_bytes // MEBIBYTE, 100 // concurrent))
    return _json(
        {
            "MaxConcurrentTransforms": concurrent,
            "BatchStrategy": settings.batch_strategy,
            "MaxPayloadInMB": megabytes,
        }
    )


def _call() -> Call:
    headers = request.headers
    return Call(
        body=request.get_data(cache=False),
        content_type=headers.get("Content-Type", ""),
        accept=headers.get("Accept"),
        query=request.query_string.decode("latin-1"),
        custom_attributes=headers.get("X-Amzn-SageMaker-Custom-Attributes", ""),
        request_id=_request_id(),
        content_encoding=headers.get("Content-Encoding", ""),
    )


def _request_id() -> str:
    headers = request.headers
    return request_id_of(headers.get("X-Request-Id", ""), headers.get("X-Amzn-SageMaker-Inference-Id", ""))


def _json_object() -> dict[str, Any]:
    try:
        document = json.loads(request.get_data(cache=False))
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise Refusal(400, 'The body must be a JSON object: {"model_name": "...", "url": "/opt/ml/models/..."}.')
    return document


def _described(entry: Entry) -> dict[str, str]:
    return {"modelName": entry.name, "modelUrl": entry.url}


def _json(document: object) -> Response:
    return Response(json.dumps(document), content_type=JSON_TYPE)


def _response(answer: Answer) -> Response:
    response = Response(answer.body, answer.status)
    response.headers.remove("Content-Type")
    if answer.content_type:
        response.headers["Content-Type"] = answer.content_type
    for name, value in answer.headers:
        response.headers[name] = value
    return response


def _as_runtime_client_expects(answer: Answer) -> Response:
    """Dress an answer as InvokeEndpoint's, for boto3's runtime client: refusals are ModelErrors."""
    if answer.status < 400:
        return _response(answer)
    kind = "client" if answer.status < 500 else "server"
    said = answer.body.decode(errors="replace")
    document = {
        "Message": f'Received {kind} error ({answer.status}) from primary with message "{said}".',
        "OriginalMessage": said,
        "OriginalStatusCode": answer.status,
    }
    response = Response(json.dumps(document), 424, content_type=JSON_TYPE)
    response.headers["x-amzn-ErrorType"] = "ModelError"
    return response


def _on_error(error: Exception) -> Response:
    """Answer whatever a view raised: the one place where serving catches broadly."""
    accept, request_id = request.headers.get("Accept"), _request_id()
    if isinstance(error, UserError):
        return _response(refuse(error, accept, request_id))
    if isinstance(error, HTTPException) and (error.code or 500) < 500:
        return _response(message(error.code or 400, _sentence(error), accept, request_id, _allowed(error)))
    from flask import current_app

    service: Service = current_app.extensions["service"]
    return _response(service.failure(Call(b"", accept=accept, request_id=request_id)))


def _allowed(error: HTTPException) -> tuple[tuple[str, str], ...]:
    methods = getattr(error, "valid_methods", None)
    return (("Allow", ", ".join(sorted(methods))),) if methods else ()


def _sentence(error: HTTPException) -> str:
    from flask import current_app

    if isinstance(error, RequestEntityTooLarge):
        limit = current_app.config["MAX_CONTENT_LENGTH"]
        return too_large(limit)
    if error.code == 404:
        rules = sorted({rule.rule for rule in current_app.url_map.iter_rules()})
        return f"There is no {request.path[:60]!r} here; there are: " + ", ".join(rules) + "."
    if error.code == 405:
        allowed = dict(_allowed(error)).get("Allow", "other methods")
        return f"{request.method[:20]} is not for {request.path[:60]!r}; use {allowed}."
    return f"The request is not understood: {error.description}"
