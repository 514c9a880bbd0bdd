"""The shapes of request and answer documents, as JSON Schema for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Final

from eigenline.serve.models import ServedModel

NUMBER: Final = {"type": "number"}
TEXT: Final = {"type": "string"}


def schemas(model: ServedModel | None) -> dict[str, Any]:
    """Return the named schemas that the document refers to; `model` is None for a multi-model endpoint."""
    width = {} if model is None else {"minItems": model.feature_dim, "maxItems": model.feature_dim}
    dense = {"type": "array", "items": NUMBER, **width}
    sparse = {
        "type": "object",
        "required": ["keys", "shape", "values"],
        "properties": {
            "keys": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "shape": {"type": "array", "items": {"type": "integer"}},
            "values": {"type": "array", "items": NUMBER},
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
    text = TEXT
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
