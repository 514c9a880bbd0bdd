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
def test_every_route_is_documented_and_nothing_else(client_of: Callable[..., FlaskClient], kind: str) -> None:
    client = client_of(MODELS[kind]())
    alias = ("/endpoints/{model_name}/invocations", "post")  # the service's front, for its own clients
    assert documented(client) == routes(client) - {alias}


def test_every_route_of_multi_model_is_documented(tmp_path: Path) -> None:
    client = create_app(settings=Settings(base_dir=tmp_path, multi_model=True, page=False)).test_client()
    assert documented(client) == routes(client)


def test_options_are_those_of_the_model(client_of: Callable[..., FlaskClient]) -> None:
    def names(kind: str) -> dict[str, object]:
        document = json.loads(client_of(MODELS[kind]()).get("/openapi.json").data)
        options = document["paths"]["/invocations"]["post"]["parameters"]
        return {option["name"]: option["schema"] for option in options if option["in"] == "query"}

    assert set(names("pca")) == {"output", "inverse"}
    assert set(names("binary")) == {"output", "threshold"}
    assert set(names("regressor")) == {"output"}
    assert "probabilities" not in str(names("hinge"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["binary", "pca", "multi-model"])
def test_schemathesis_finds_no_contradiction(tmp_path: Path, schemathesis_python: Path, kind: str) -> None:
    program = schemathesis_python.with_name("schemathesis")
    environment = {"SAGEMAKER_BASE_DIR": str(tmp_path)}
    write_model(tmp_path / "model", make_pca() if kind == "pca" else make_linear())
    if kind == "multi-model":
        environment["SAGEMAKER_MULTI_MODEL"] = "true"
    with running(**environment) as server:
        done = subprocess.run(
            [program, "run", f"{server.url}/openapi.json", "--url", server.url, *CHECKS],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            cwd=tmp_path,
        )
    assert done.returncode == 0, done.stdout[-4000:]
