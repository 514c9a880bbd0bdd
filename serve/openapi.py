"""The API as an OpenAPI 3.1 document with its JSON Schemas, for the model that is served: `GET /openapi.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from flask import Flask, Response

from eigenline.formats.content_types import CSV, JSON, JSON_LINES, RECORDIO
from eigenline.serve.columns import COLUMNS, available_columns
from eigenline.serve.models import ServedModel
from eigenline.serve.settings import Settings
from eigenline.version import version

_NUMBER: Final = {"type": "number"}
_TEXT: Final = {"type": "string"}
_BINARY: Final = {"type": "string", "format": "binary"}
_REFUSALS: Final = {
    "400": "The body cannot be read, or an option does not exist: the sentence says what, where and why.",
    "405": "The path exists, but not with this method.",
    "406": "None of the accepted media types can be written.",
    "408": "The body did not arrive in time.",
    "413": "The body is larger than MAX_CONTENT_LENGTH.",
    "414": "The path and query are longer than 8 kB.",
    "415": "The Content-Type is not read here.",
    "431": "The headers are longer than 32 kB, or more than 100.",
    "500": "An error of the server; its log has it under the request id.",
    "503": "The server is busy with other large requests; try again.",
    "507": "There is no memory for the request.",
}


def add_openapi(app: Flask, settings: Settings, model: ServedModel | None) -> None:
    """Serve the document at ``/openapi.json``."""
    described = document(settings, model)
    if "metrics" in app.extensions:
        text_type = {"text/plain; version=0.0.4; charset=utf-8": {"schema": _TEXT}}
        counters = {"200": ("Counters of all workers, in Prometheus' text format.", text_type)}
        described["paths"]["/metrics"] = {"get": _operation("metrics", "Requests, times, memory", counters)}
    text = json.dumps(described)
    app.add_url_rule("/openapi.json", view_func=lambda: Response(text, content_type=JSON), endpoint="openapi")


def document(settings: Settings, model: ServedModel | None) -> dict[str, Any]:
    """Return the OpenAPI document; `model` is None for a multi-model endpoint."""
    paths: dict[str, Any] = {
        "/ping": {
            "get": _operation(
                "ping",
                "Whether the model can answer",
                {"200": "The model can answer.", "503": "The model cannot answer; the log says why."},
            )
        },
        "/execution-parameters": {
            "get": _operation(
                "executionParameters",
                "How a batch transform job should send",
                {
                    "200": (
                        "How many requests at a time, of how many megabytes, with how many records.",
                        {JSON: {"schema": {"$ref": "#/components/schemas/ExecutionParameters"}}},
                    )
                },
            )
        },
        "/openapi.json": {
            "get": _operation(
                "openapi", "This document", {"200": ("This document.", {JSON: {"schema": {"type": "object"}}})}
            )
        },
    }
    if settings.page:
        html = {"text/html; charset=utf-8": {"schema": _TEXT}}
        if model is not None:
            floats = {"application/octet-stream": {"schema": _BINARY}}
            average = {"200": ("Little-endian float32, one per feature.", floats)}
            paths["/page/average"] = {
                "get": _operation("average", "The record that the page begins with", average)
            }
        paths["/"] = {"get": _operation("page", "The page for people", {"200": ("The page, as HTML.", html)})}
    if model is None:
        paths |= _multi_model_paths()
    else:
        paths["/invocations"] = {"post": _invocation(model)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "eigenline inference",
            "version": version(),
            "description": "SageMaker's inference API for PCA and Linear Learner models.",
        },
        "paths": paths,
        "components": {"schemas": _schemas(model)},
    }


def _operation(name: str, summary: str, responses: Mapping[str, Any]) -> dict[str, Any]:
    # What any request can meet, before it is known what it wants.
    refusals = {status: _refusal(_REFUSALS[status]) for status in ("414", "431", "500")}
    return {
        "operationId": name,
        "summary": summary,
        "responses": {status: _response(value) for status, value in responses.items()} | refusals,
    }


def _response(value: str | tuple[str, dict[str, Any]]) -> dict[str, Any]:
    if isinstance(value, str):
        return {"description": value}
    return {"description": value[0], "content": value[1]}


def _refusal(description: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {
            JSON: {"schema": {"$ref": "#/components/schemas/Refusal"}},
            JSON_LINES: {"schema": _TEXT},
            "text/plain; charset=utf-8": {"schema": _TEXT},
        },
    }


def _invocation(model: ServedModel | None) -> dict[str, Any]:
    columns = list(COLUMNS) if model is None else list(available_columns(model))
    header: Mapping[str, Any] = {"in": "header", "schema": _TEXT}
    options: list[dict[str, Any]] = [
        {
            "name": "output",
            "in": "query",
            "description": "Columns of the answer, in order. "
            + " ".join(f"`{name}`: {COLUMNS[name].meaning}." for name in columns),
            "schema": {"type": "array", "items": {"enum": columns}},
            "style": "form",
            "explode": False,
        },
        *_model_options(model),
        {
            "name": "X-Amzn-SageMaker-Custom-Attributes",
            "description": "Comes back with the answer; may hold options of this server.",
            **header,
        },
        {
            "name": "X-Amzn-SageMaker-Inference-Id",
            "description": "Becomes the request's id, in the answer and in the log.",
            **header,
        },
    ]
    answers = {media_type: {"schema": _BINARY} for media_type in (CSV, JSON_LINES, RECORDIO)}
    answers[JSON] = {"schema": {"$ref": "#/components/schemas/Answer"}}
    bodies: dict[str, Any] = {
        CSV: {"schema": {"type": "string"}, "example": _csv_example(model)},
        JSON: {"schema": {"$ref": "#/components/schemas/Instances"}},
        JSON_LINES: {"schema": _TEXT},
        RECORDIO: {"schema": _BINARY},
    }
    return {
        "operationId": "invoke",
        "summary": "Predict",
        "parameters": options,
        "requestBody": {"required": False, "content": bodies},  # none is answered with 204
        "responses": {
            "200": {"description": "One prediction per record, in order.", "content": answers},
            "204": {"description": "The body was empty."},
            **{status: _refusal(text) for status, text in _REFUSALS.items()},
        },
    }


def _model_options(model: ServedModel | None) -> list[dict[str, Any]]:
    options = []
    if model is None or (model.linear is not None and model.linear.predictor_type == "binary_classifier"):
        options.append(_query("threshold", "Another threshold for a binary classifier.", _NUMBER))
    if model is None or model.linear is None:
        inverse = "The records are projections, and the answer is the records that they stand for."
        options.append(_query("inverse", inverse, {"type": "boolean"}))
    return options


def _query(name: str, description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _csv_example(model: ServedModel | None) -> str:
    return ",".join(["0"] * min(model.feature_dim if model is not None else 3, 1000)) + "\n"


def _multi_model_paths() -> dict[str, Any]:
    name = {
        "name": "model_name",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "minLength": 1, "pattern": "^[^/]+$"},
    }
    entry = {JSON: {"schema": {"$ref": "#/components/schemas/Model"}}}
    missing = _refusal("No such model is loaded.")
    load = _operation("load", "Load a model", {"200": ("The model is loaded.", entry)})
    load["requestBody"] = {
        "required": True,
        "content": {JSON: {"schema": {"$ref": "#/components/schemas/LoadRequest"}}},
    }
    for status, text in {
        "400": "There is no model, or it does not lie below the base folder.",
        "409": "A model of this name is loaded already, or its files changed while they were read.",
        "403": "A page of another origin may not change what is served.",
        "413": "The body is too large.",
        "415": "The body is not declared as application/json.",
        "507": "There is no memory for the model.",
    }.items():
        load["responses"][status] = _refusal(text)
    listing = _operation(
        "list",
        "List models, up to a hundred per answer",
        {
            "200": (
                "Models, and the token for the next ones if there are any.",
                {JSON: {"schema": {"$ref": "#/components/schemas/Models"}}},
            )
        },
    )
    listing["parameters"] = [{"name": "next_page_token", "in": "query", "schema": _TEXT}]
    get = _operation("get", "Describe a model", {"200": ("The model's name and folder.", entry)})
    unload = _operation("unload", "Unload a model", {"200": ("The model is unloaded.", entry)})
    invoke = _invocation(None)
    for operation in (get, unload, invoke):
        operation["responses"]["404"] = missing
    return {
        "/models": {"post": load, "get": listing},
        "/models/{model_name}": {"parameters": [name], "get": get, "delete": unload},
        "/models/{model_name}/invoke": {"parameters": [name], "post": invoke},
    }


def _schemas(model: ServedModel | None) -> dict[str, Any]:
    """Return the named schemas that the document refers to; `model` is None for a multi-model endpoint."""
    width = {} if model is None else {"minItems": model.feature_dim, "maxItems": model.feature_dim}
    dense = {"type": "array", "items": _NUMBER, **width}
    sparse = {
        "type": "object",
        "required": ["keys", "shape", "values"],
        "properties": {
            "keys": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "shape": {"type": "array", "items": {"type": "integer"}},
            "values": {"type": "array", "items": _NUMBER},
        },
    }
    values = {"type": "object", "required": ["values"], "properties": {"values": dense}}
    long = {
        "type": "object",
        "required": ["features"],
        "properties": {"features": {"anyOf": [dense, values, sparse]}},
    }
    short = {"type": "object", "required": ["features"], "properties": {"features": dense}}
    wrapped = {"type": "object", "required": ["data"], "properties": {"data": long}}
    return {
        "Instances": {
            "type": "object",
            "required": ["instances"],
            "properties": {"instances": {"type": "array", "minItems": 1, "items": {"anyOf": [short, wrapped]}}},
        },
        "Answer": {
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": {"type": "array", "items": {"type": "object"}},
            "description": "`projections`, `predictions` or `reconstructions`: one object a record.",
        },
        "Refusal": {
            "type": "object",
            "required": ["error", "request_id"],
            "properties": {"error": {"type": "string"}, "request_id": {"type": "string"}},
        },
        "ExecutionParameters": {
            "type": "object",
            "required": ["MaxConcurrentTransforms", "BatchStrategy", "MaxPayloadInMB"],
            "properties": {
                "MaxConcurrentTransforms": {"type": "integer", "minimum": 1},
                "BatchStrategy": {"enum": ["MULTI_RECORD", "SINGLE_RECORD"]},
                "MaxPayloadInMB": {"type": "integer", "minimum": 1, "maximum": 100},
            },
        },
        **(_model_schemas() if model is None else {}),
    }


def _model_schemas() -> dict[str, Any]:
    text = _TEXT
    model = {
        "type": "object",
        "required": ["modelName", "modelUrl"],
        "properties": {"modelName": text, "modelUrl": text},
    }
    load = {"type": "object", "required": ["model_name", "url"], "properties": {"model_name": text, "url": text}}
    listed = {"models": {"type": "array", "items": model}, "nextPageToken": text}
    return {
        "Model": model,
        "LoadRequest": load,
        "Models": {"type": "object", "required": ["models"], "properties": listed},
    }
