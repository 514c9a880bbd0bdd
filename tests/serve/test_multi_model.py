"""SageMaker's multi-model API over HTTP, with both algorithms side by side."""

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from .conftest import Client, make_linear, make_pca, running, write_model


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the server's models lie below."""
    folder = tmp_path_factory.mktemp("multi-model") / "ml"
    write_model(folder / "models" / "pca" / "model", make_pca())
    write_model(folder / "models" / "linear" / "model", make_linear())
    return folder


@pytest.fixture(scope="module")
def kept(base: Path) -> Iterator[Client]:
    environment = {"SAGEMAKER_BASE_DIR": str(base), "SAGEMAKER_MULTI_MODEL": "true"}
    with running("--workers", "1", **environment) as server, closing(Client(server)) as client:
        yield client


@pytest.fixture
def client(kept: Client) -> Iterator[Client]:
    """A server that has no model yet."""
    yield kept
    while listed := json.loads(kept.get("/models").data)["models"]:
        for entry in listed:
            assert kept.delete(f"/models/{entry['modelName']}").status_code == 200


def load(client: Client, base: Path, name: str, folder: str) -> tuple[int, Mapping[str, Any]]:
    answer = client.post("/models", json={"model_name": name, "url": str(base / "models" / folder / "model")})
    return answer.status_code, json.loads(answer.data)


def test_the_life_of_models(client: Client, base: Path) -> None:
    assert client.get("/ping").status_code == 200, "ready before any model is loaded"
    assert json.loads(client.get("/models").data) == {"models": []}
    assert load(client, base, "p", "pca")[0] == 200
    assert load(client, base, "l", "linear")[0] == 200
    assert load(client, base, "l", "linear")[0] == 409
    listed = json.loads(client.get("/models").data)["models"]
    assert [entry["modelName"] for entry in listed] == ["l", "p"]
    assert json.loads(client.get("/models/p").data)["modelUrl"].endswith("pca/model")
    body = {"data": b"1,2,3,4", "content_type": "text/csv"}
    target = {"X-Amzn-SageMaker-Target-Model": "p.tar.gz"}
    assert b"projection" in client.post("/models/p/invoke", headers=target, **body).data  # type: ignore[arg-type]
    assert b"predicted_label" in client.post("/models/l/invoke", **body).data  # type: ignore[arg-type]
    assert client.delete("/models/p").status_code == 200
    assert client.post("/models/p/invoke", **body).status_code == 404  # type: ignore[arg-type]
    assert client.delete("/models/p").status_code == 404
    assert client.get("/models/p").status_code == 404
    assert client.post("/models/l/invoke", **body).status_code == 200  # type: ignore[arg-type]


def test_pages_over_http(client: Client, base: Path) -> None:
    for i in range(130):
        assert load(client, base, f"m{i:03d}", "linear")[0] == 200
    first = json.loads(client.get("/models").data)
    second = json.loads(client.get(f"/models?next_page_token={quote(first['nextPageToken'])}").data)
    names = [entry["modelName"] for page in (first, second) for entry in page["models"]]
    assert names == [f"m{i:03d}" for i in range(130)]
    assert "nextPageToken" not in second


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"5", b'{"model_name": "a"}', b'{"url": "/etc"}', b"[" * 100_000]
)
def test_loads_that_say_nothing_sensible(client: Client, body: bytes) -> None:
    answer = client.post("/models", data=body, content_type="application/json")
    assert answer.status_code == 400
    assert json.loads(answer.data)["error"]


def test_a_model_outside_the_base_folder_is_not_loaded(client: Client, base: Path) -> None:
    outside = write_model(base.parent / f"{base.name}-outside", make_pca())
    for url in (str(outside), str(base / "models" / ".." / ".." / outside.name), "/etc"):
        answer = client.post("/models", json={"model_name": "a", "url": url})
        assert answer.status_code == 400
    assert json.loads(client.get("/models").data) == {"models": []}


@pytest.mark.slow
def test_workers_of_the_real_server_agree(tmp_path: Path) -> None:
    write_model(tmp_path / "models" / "a" / "model", make_pca())
    write_model(tmp_path / "models" / "b" / "model", make_linear())
    with running(
        SAGEMAKER_BASE_DIR=str(tmp_path), SAGEMAKER_MULTI_MODEL="true", MODEL_SERVER_WORKERS="3"
    ) as server:
        for round_number in range(6):
            folder = "ab"[round_number % 2]
            load_body = json.dumps(
                {"model_name": "x", "url": str(tmp_path / "models" / folder / "model")}
            ).encode()
            assert server.call("/models", load_body, content_type="application/json")[0] == 200
            assert server.call("/models", load_body, content_type="application/json")[0] == 409
            expected = b"projection" if folder == "a" else b"predicted_label"
            for _ in range(20):  # a new connection each: whichever worker takes it
                status, body, _ = server.call("/models/x/invoke", b"1,2,3,4", content_type="text/csv")
                assert status == 200
                assert expected in body
            assert server.call("/models/x", method="DELETE")[0] == 200
            for _ in range(10):
                assert server.call("/models/x/invoke", b"1,2,3,4", content_type="text/csv")[0] == 404


@pytest.mark.parametrize(
    ("headers", "kind", "expected"),
    [
        ({}, "application/json", 200),
        ({}, "application/json; charset=utf-8", 200),
        ({}, "text/plain", 415),
        ({}, "application/x-www-form-urlencoded", 415),
        ({}, "", 415),
        ({"Host": "localhost", "Origin": "http://localhost"}, "application/json", 200),
        ({"Origin": "http://evil.example"}, "application/json", 403),
        ({"Origin": "http://evil.example", "Host": "evil.example"}, "application/json", 403),
        ({"Origin": "null"}, "application/json", 403),
        ({"Host": "evil.example"}, "application/json", 403),
        ({"Host": "127.0.0.1:8080", "Origin": "http://127.0.0.1:8080"}, "application/json", 200),
        ({"Host": "127.0.0.1:8080", "Origin": "http://127.0.0.1:9090"}, "application/json", 403),
        ({"Host": "[::1]:8080"}, "application/json", 200),
    ],
)
def test_no_foreign_page_changes_what_is_served(
    client: Client, base: Path, headers: dict[str, str], kind: str, expected: int
) -> None:
    body = json.dumps({"model_name": "a", "url": str(base / "models" / "pca" / "model")})
    answer = client.post("/models", data=body, content_type=kind, headers=headers)
    assert answer.status_code == expected
    assert ("a" in answer.text) == (expected == 200) or "error" in answer.text
    load(client, base, "b", "pca")
    expected = 200 if expected == 415 else expected
    assert client.delete("/models/b", headers=headers).status_code == expected


def test_a_server_for_all_interfaces_may_have_any_name(base: Path) -> None:
    body = {"model_name": "a", "url": str(base / "models" / "pca" / "model")}
    environment = {"SAGEMAKER_BASE_DIR": str(base), "SAGEMAKER_MULTI_MODEL": "true"}
    with running("--host", "0.0.0.0", **environment) as server, closing(Client(server)) as client:
        assert client.post("/models", json=body, headers={"Host": "model.aws.local:8080"}).status_code == 200
        rebound = {"Host": "evil.example", "Origin": "http://evil.example"}
        assert client.delete("/models/a", headers=rebound).status_code == 403
        assert client.delete("/models/a", headers={"Host": "model.aws.local:8080"}).status_code == 200
