"""The page for people at `GET /`: what is served, drawn, with a form to try it; one file, no other host."""

from __future__ import annotations

import base64
import json
import math
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from flask import Flask, Response, render_template_string, request
from markupsafe import Markup
from numpy.typing import NDArray

from eigenline.algorithms.pca.model import PCAModel
from eigenline.serve.columns import available_columns, default_columns
from eigenline.serve.models import ServedModel
from eigenline.serve.registry import Registry
from eigenline.serve.report_view import curves, numbers_of, view
from eigenline.serve.settings import Settings

_SHORT: Final = 12  # more features than these are not written out
_MOST_IMAGES: Final = 24
_MOST_BARS: Final = 24
_LARGEST_SIDE: Final = 128
_MOST_NAMES: Final = 5000
# Everything the page needs is within it; it talks to this server only. The nonce is another one for each answer.
_POLICY: Final = (
    "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def add_page(app: Flask, settings: Settings, model: ServedModel | None, registry: Registry | None) -> None:
    """Serve the page at ``/``."""
    parts = {name: (Path(__file__).parent / f"page.{name}").read_text() for name in ("html", "css", "js")}

    def page() -> Response:
        facts = _single(model, settings) if model is not None else _multi(registry)
        nonce = secrets.token_urlsafe(16)
        html = render_template_string(parts["html"], css=parts["css"], script=parts["js"], nonce=nonce, **facts)
        policy = _POLICY.format(nonce=nonce)
        return Response(html, content_type="text/html; charset=utf-8", headers={"Content-Security-Policy": policy})

    app.add_url_rule("/", view_func=page, endpoint="page")
    if model is not None:
        average = _average(model).astype("<f4").tobytes()
        app.add_url_rule(
            "/page/average",
            view_func=lambda: Response(average, content_type="application/octet-stream"),
            endpoint="average",
        )


def _single(model: ServedModel, settings: Settings) -> dict[str, Any]:
    side = square_side(model.feature_dim)
    defaults = settings.output or default_columns(model)
    pictured = [name for name in ("reconstruction", "contributions") if name in available_columns(model)]
    return {
        "title": _title(model),
        "subtitle": "Amazon SageMaker's request format, answered on this machine.",
        "facts": _facts(model),
        "multi_model": False,
        "feature_dim": model.feature_dim,
        "columns": available_columns(model),
        "defaults": (*defaults, *pictured) if side else defaults,
        "threshold": _threshold(model, settings),
        "reports": [view(name, report, model.classes) for name, report in model.reports.items()],
        "examples": _examples(model, request.host),
        "data": _embedded(
            {
                "side": side,
                "kind": "pca" if model.linear is None else model.linear.predictor_type,
                "features": model.feature_dim,
                "names": _feature_names(model),
                "average_known": _known_average(model) is not None,
                "scale": _scale(model),
                "order": None if model.pca is None else _strongest_first(model.pca)[:_MOST_IMAGES].tolist(),
                "threshold": _threshold(model, settings),
                "columns": available_columns(model),
                "classes": None if model.classes is None else [_printable(name) for name in model.classes],
                "images": _images(model, side),
                "images_caption": _images_caption(model),
                "bars": [] if side else _bars(model),
                "curves": [
                    curve
                    for report in model.reports.values()
                    for curve in curves(report, _threshold(model, settings))
                ],
            }
        ),
    }


def _multi(registry: Registry | None) -> dict[str, Any]:
    assert registry is not None
    host = request.host
    models, _ = registry.page()
    return {
        "title": "Multi-model endpoint",
        "subtitle": "PCA and Linear Learner models side by side, loaded and unloaded over HTTP.",
        "facts": [],
        "multi_model": True,
        "models": models,
        "reports": [],
        "examples": [
            (
                "load, invoke, unload",
                f"curl -H 'Content-Type: application/json' {host}/models \\\n"
                '  -d \'{"model_name": "a", "url": "/opt/ml/models/a/model"}\'\n'
                f"curl -H 'Content-Type: text/csv' -d '1,2,3' {host}/models/a/invoke\n"
                f"curl -X DELETE {host}/models/a",
            )
        ],
        "data": _embedded({"side": None, "images": [], "bars": [], "curves": []}),
    }


def _embedded(data: Mapping[str, Any]) -> Markup:
    """Return JSON that cannot end the script element it stands in."""
    text = json.dumps(data, allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def _title(model: ServedModel) -> str:
    kinds = {"binary_classifier": "binary classifier", "multiclass_classifier": "multiclass classifier"}
    parts = []
    if model.pca is not None:
        parts.append("PCA")
    if model.linear is not None:
        kind = model.linear.predictor_type
        parts.append(f"Linear Learner, {kinds.get(kind, kind)}")
    return " → ".join(parts)


def _facts(model: ServedModel) -> list[tuple[str, object]]:
    facts: list[tuple[str, object]] = [("features", f"{model.feature_dim:,}")]
    if model.pca is not None:
        facts.append(("components", f"{model.pca.num_components:,}"))
        facts.append(("mean subtracted", "no" if model.pca.mean is None else "yes"))
    if model.linear is not None:
        if model.linear.num_outputs > 1:
            facts.append(("classes", model.linear.num_outputs))
        facts.append(("loss", model.linear.loss))
        if model.linear.predictor_type == "binary_classifier":
            facts.append(("threshold", f"{model.linear.threshold:.6g}"))
    return [*facts, ("memory", _readable_bytes(model.num_bytes))]


def _readable_bytes(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"


def _threshold(model: ServedModel, settings: Settings) -> float | None:
    if model.linear is None or model.linear.predictor_type != "binary_classifier":
        return None
    return settings.threshold if settings.threshold is not None else float(f"{model.linear.threshold:.6g}")


def square_side(feature_dim: int) -> int | None:
    """Return the side of the image that the features form, or None where they form none worth drawing."""
    side = math.isqrt(feature_dim)
    return side if side * side == feature_dim and 4 <= side <= _LARGEST_SIDE else None


def _known_average(model: ServedModel) -> NDArray[np.float32] | None:
    """Return the mean of the training data, where the artifact or the report has it."""
    if model.pca is not None:
        return model.pca.mean
    values = numbers_of(model.reports.get("linear-learner", {}), "feature_mean", model.feature_dim)
    return None if values is None else np.array(values, np.float32)


def _average(model: ServedModel) -> NDArray[np.float32]:
    """Return a record to begin with: the average one where it is known, zeros otherwise."""
    known = _known_average(model)
    return np.zeros(model.feature_dim, np.float32) if known is None else known


def _deviation(model: ServedModel) -> NDArray[np.float32] | None:
    """Return the features' standard deviations, where the report has them."""
    if model.pca is not None:
        return None
    values = numbers_of(model.reports.get("linear-learner", {}), "feature_deviation", model.feature_dim)
    return None if values is None else np.array(values, np.float32)


def _scale(model: ServedModel) -> float | None:
    """Return the value of a fully drawn pixel, where the training data show it: 1, 16, 255, or their largest."""
    known, deviation = _known_average(model), _deviation(model)
    if known is None:
        return None
    peak = float(np.max(known if deviation is None else known + 2 * deviation))
    usual = [value for value in (1.0, 16.0, 255.0) if value / 24 < peak <= 1.5 * value]
    if usual:
        return usual[0]
    return peak if peak > 0 and math.isfinite(peak) else None


def _directions(model: ServedModel, classes: int, components: int) -> list[tuple[str, NDArray[np.float32]]]:
    """Return what the model multiplies a record with, each with its title and one value a feature.

    A chain is one linear map, so it has coefficients of the original features too: components times weights.
    """
    shown: list[tuple[str, NDArray[np.float32]]] = []
    if model.linear is not None:
        weights = model.linear.weights if model.pca is None else model.pca.components @ model.linear.weights
        together = "" if model.pca is None else ", PCA and Linear Learner together"
        if weights.shape[1] == 1:
            shown = [(f"Coefficients{together}", weights[:, 0])]
        else:
            shown = [
                (f"Class {label}{together}", weights[:, label]) for label in range(weights.shape[1])[:classes]
            ]
    if model.pca is not None:
        order = _strongest_first(model.pca)[:components]
        shown += [(f"Component {rank + 1}", model.pca.components[:, column]) for rank, column in enumerate(order)]
    return shown


def _strongest_first(pca: PCAModel) -> NDArray[np.intp]:
    """Return the components' columns, strongest first, whichever way round the artifact stores them."""
    return np.argsort(-np.nan_to_num(pca.singular_values), kind="stable")


def _images(model: ServedModel, side: int | None) -> list[dict[str, str]]:
    if side is None:
        return []
    directions = _directions(model, _MOST_IMAGES, _MOST_IMAGES)
    return [{"title": title, "pixels": _quantised(values)} for title, values in directions]


def _quantised(values: NDArray[np.float32]) -> str:
    """Return values as base64 of signed bytes, 127 standing for the 98th percentile of magnitudes and beyond.

    A few extreme pixels (of a border that is nearly always empty, say) would otherwise wash out all others.
    """
    finite = np.nan_to_num(values, posinf=0, neginf=0)
    magnitudes = np.abs(finite)
    peak = max(float(np.percentile(magnitudes, 98)) or float(magnitudes.max()), 1e-30)
    return base64.b64encode(np.round(np.clip(finite / peak, -1, 1) * 127).astype(np.int8).tobytes()).decode()


def _images_caption(model: ServedModel) -> str:
    full = "(full colour from the 98th percentile on)"
    if model.pca is None:
        return f"The coefficient of each feature, as an image {full}:"
    first = "" if model.linear is None else "What each feature adds to the score, then e"
    return f"{first or 'E'}ach component as an image, the strongest first {full}:"


def _bars(model: ServedModel) -> list[dict[str, Any]]:
    names, deviation = _feature_names(model), _deviation(model)
    groups = _directions(model, classes=10, components=3)
    if deviation is None or model.pca is not None:
        return [_group(title, values, names) for title, values in groups]
    # Raw coefficients would rank the features' units.
    titles = "{}, per standard deviation of the feature"
    return [_group(titles.format(title), values * deviation, names) for title, values in groups]


def _group(title: str, values: NDArray[np.float32], names: Sequence[str] | None) -> dict[str, Any]:
    values = np.nan_to_num(values, posinf=0, neginf=0)
    largest = np.argsort(-np.abs(values), kind="stable")[:_MOST_BARS]
    if len(values) > _MOST_BARS:
        title += f": the {_MOST_BARS} largest of {len(values):,}"
    # Numbered from 1, as in coefficients.csv.
    rows = [[names[i] if names else f"feature_{i + 1}", float(values[i])] for i in largest]
    return {"title": title, "rows": rows}


def _feature_names(model: ServedModel) -> Sequence[str] | None:
    for report in model.reports.values():
        names = report.get("feature_names")
        if isinstance(names, list) and len(names) == model.feature_dim <= _MOST_NAMES:
            return [_printable(str(name)) for name in names]
    return None


def _printable(name: str) -> str:
    return name.encode("utf-8", "replace").decode()[:40]


def _examples(model: ServedModel, host: str) -> list[tuple[str, str]]:
    """Return (title, text) pairs that work as they stand, asking the host and port that the page came from."""
    extra = "contributions" if "contributions" in available_columns(model) else "reconstruction"
    record = ",".join(["1"] * model.feature_dim)
    send = f"-d '{record}'"
    prepare = ""
    if model.feature_dim > _SHORT:
        prepare = f"python3 -c \"print(','.join(['0'] * {model.feature_dim}))\" > record.csv\n"
        send = "--data-binary @record.csv"
    curl = f"{prepare}curl -H 'Content-Type: text/csv' {send} 'http://{host}/invocations"
    return [
        ("curl", f"{curl}'"),
        ("curl, more than SageMaker answers", f"{curl}?output={','.join(_with_extra(model, extra))}'"),
        ("Python, standard library", _python(model, host)),
        ("boto3, as against an endpoint", _boto3(model, host)),
    ]


def _with_extra(model: ServedModel, extra: str) -> list[str]:
    return ["projection", extra] if model.linear is None else ["score", "raw_score", extra]


def _python(model: ServedModel, host: str) -> str:
    return (
        "import json, urllib.request\n\n"
        f"records = [[0.0] * {model.feature_dim}, [1.0] * {model.feature_dim}]\n"
        'body = json.dumps({"instances": [{"features": record} for record in records]}).encode()\n'
        'headers = {"Content-Type": "application/json"}\n'
        f'request = urllib.request.Request("http://{host}/invocations", body, headers)\n'
        "print(json.load(urllib.request.urlopen(request)))"
    )


def _boto3(model: ServedModel, host: str) -> str:
    return (
        "import boto3\n\n"
        f'runtime = boto3.client("sagemaker-runtime", endpoint_url="http://{host}", region_name="local",\n'
        '                       aws_access_key_id="none", aws_secret_access_key="none")\n'
        f'body = ",".join(["0"] * {model.feature_dim})\n'
        'answer = runtime.invoke_endpoint(EndpointName="any", ContentType="text/csv", Body=body)\n'
        'print(answer["Body"].read())'
    )
