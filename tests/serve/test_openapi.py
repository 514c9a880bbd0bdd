"""The OpenAPI document tells the truth: about every route, and under a fuzzer's requests."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from eigenline.serve.app import create_app
from eigenline.serve.settings import Settings

from .conftest import MODELS, make_linear, make_pca, running, write_model

# What a body means is beyond a schema (rows as wide as the model, as many keys as values).
CHECKS = ["--exclude-checks", "positive_data_acceptance", "--max-examples", "100"]
# A refusal is one of those that the document names; the fuzzer's own list lacks 413, 414 and 431, and has 5xx.
FUZZER_SETTINGS = """
[checks.negative_data_rejection]
expected-statuses = [400, 403, 404, 405, 406, 409, 413, 414, 415, 431]
"""


def routes(client: FlaskClient) -> set[tuple[str, str]]:
    found = set()
    for rule in client.application.url_map.iter_rules():
        path = re.sub("<name>", "{model_name}", rule.rule)
        found |= {(path, method.lower()) for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}}
    return found


def documented(client: FlaskClient) -> set[tuple[str, str]]:
    paths = json.loads(client.get("/openapi.json").data)["paths"]
    return {
        (path, method) for path, operations in paths.items() for method in operations if method != "parameters"
    }


@pytest.mark.parametrize("kind", MODELS)
def test_every_route_is_documented_and_nothing_else(app_client_of: Callable[..., FlaskClient], kind: str) -> None:
    client = app_client_of(MODELS[kind]())
    alias = ("/endpoints/{model_name}/invocations", "post")  # the service's front, for its own clients
    assert documented(client) == routes(client) - {alias}


def test_every_route_of_multi_model_is_documented(tmp_path: Path) -> None:
    client = create_app(settings=Settings(base_dir=tmp_path, multi_model=True, page=False)).test_client()
    assert documented(client) == routes(client)


def test_options_are_those_of_the_model(app_client_of: Callable[..., FlaskClient]) -> None:
    def names(kind: str) -> dict[str, object]:
        document = json.loads(app_client_of(MODELS[kind]()).get("/openapi.json").data)
        options = document["paths"]["/invocations"]["post"]["parameters"]
        return {option["name"]: option["schema"] for option in options if option["in"] == "query"}

    assert set(names("pca")) == {"output", "inverse"}
    assert set(names("binary")) == {"output", "threshold"}
    assert set(names("regressor")) == {"output"}
    assert "probabilities" not in str(names("hinge"))


@pytest.mark.parametrize("kind", ["binary", "pca", "multi-model"])
def test_a_target_or_header_that_is_too_long_is_refused_as_documented(tmp_path: Path, kind: str) -> None:
    """A fuzzer's nonsense may be longer than what is read: its refusal is documented too, for every operation."""
    environment = {"SAGEMAKER_BASE_DIR": str(tmp_path)}
    write_model(tmp_path / "model", make_pca() if kind == "pca" else make_linear())
    if kind == "multi-model":
        environment["SAGEMAKER_MULTI_MODEL"] = "true"
    with running(**environment) as server:
        document = json.loads(server.call("/openapi.json")[1])
        fields = set(document["components"]["schemas"]["Refusal"]["required"])
        for path, operations in document["paths"].items():
            place = path.replace("{model_name}", "m")
            for method in set(operations) - {"parameters"}:
                nonsense = "?output=" + "%5B%27%C3%A7%27%2C%20None%5D" * 400 + "&inverse=W"
                body = b"1,2,3,4" if method == "post" else None
                for status, found in {
                    414: server.call(place + nonsense, body, method.upper(), content_type="text/csv"),
                    431: server.call(place, body, method.upper(), x="a" * 33_000),
                }.items():
                    assert found[0] == status
                    described = operations[method]["responses"][str(status)]["content"]
                    assert found[2]["content-type"] in described
                    assert set(json.loads(found[1])) == fields


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["binary", "pca", "multi-model"])
def test_schemathesis_finds_no_contradiction(tmp_path: Path, schemathesis_python: Path, kind: str) -> None:
    program = schemathesis_python.with_name("schemathesis")
    environment = {"SAGEMAKER_BASE_DIR": str(tmp_path)}
    write_model(tmp_path / "model", make_pca() if kind == "pca" else make_linear())
    if kind == "multi-model":
        environment["SAGEMAKER_MULTI_MODEL"] = "true"
    (tmp_path / "schemathesis.toml").write_text(FUZZER_SETTINGS)
    with running(**environment) as server:
        done = subprocess.run(
            [program, "run", f"{server.url}/openapi.json", "--url", server.url, *CHECKS],
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
            cwd=tmp_path,
        )
    assert done.returncode == 0, done.stdout[-4000:]
