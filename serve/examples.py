"""Requests to copy, for the model that is being served."""

from __future__ import annotations

from typing import Final

from eigenline.serve.columns import available_columns
from eigenline.serve.models import ServedModel

_SHORT: Final = 12  # more features than these are not written out


def examples(model: ServedModel, host: str) -> list[tuple[str, str]]:
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
