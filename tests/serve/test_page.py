"""The page for people, in a real browser that speaks WebDriver to us; and what it says without one."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from eigenline.algorithms.linear_learner.model import LinearLearnerModel
from eigenline.serve.app import create_app
from eigenline.serve.page import square_side
from eigenline.serve.settings import Settings

from .browser import chromium
from .conftest import MODELS, make_linear, make_pca, running, write_model

REPORT = {
    "algorithm": "linear-learner",
    "summary": ["Model 7 of 32 won."],
    "metrics": {"train:binary_classification_cross_entropy_objective": 0.0625, "train accuracy": 0.9875},
    "hyperparameters": {"predictor_type": "binary_classifier", "epochs": 15},
    "given": {"predictor_type": "binary_classifier"},
    "feature_names": ["age", "height", "weight", "<b>income</b>"],
    "threshold_curve": {"threshold": [0, 0.5, 1], "precision": [0.2, 0.8, None], "recall": [1, 0.7, 0]},
    "confusion": {"train": [[44939, 129], [131, 4801]]},
}


def embedded(page: str) -> dict[str, Any]:
    text = page.split('<script id="model" type="application/json">')[1].split("</script>")[0]
    return dict(json.loads(text))


@pytest.mark.parametrize("kind", MODELS)
def test_the_page_of_every_model_is_self_contained(client_of: Callable[..., FlaskClient], kind: str) -> None:
    page = client_of(MODELS[kind]()).get("/")
    assert page.status_code == 200
    assert page.content_type == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "src=" not in page.text.replace("script-src", "")
    assert "4 numbers" in page.text
    assert embedded(page.text)["bars"]


def test_what_the_report_says_is_shown(tmp_path: Path) -> None:
    write_model(tmp_path, make_linear())
    (tmp_path / "report.json").write_text(json.dumps(REPORT))
    page = create_app(tmp_path, settings=Settings()).test_client().get("/").text
    for text in (
        "Model 7 of 32 won.",
        "0.9875",
        "<td>binary_classifier</td>",
        "confusion, train",
        "44939",
    ):
        assert text in page
    data = embedded(page)
    assert {row[0] for row in data["bars"][0]["rows"]} == {"age", "height", "weight", "<b>income</b>"}
    assert data["curves"][0]["lines"]["precision"] == [0.2, 0.8, None]
    assert data["curves"][0]["marker"] == 0.5


@pytest.mark.parametrize(
    "report", [{"metrics": 5, "summary": "x", "threshold_curve": [1]}, {"hyperparameters": None}]
)
def test_reports_of_another_shape_do_no_harm(tmp_path: Path, report: dict[str, object]) -> None:
    write_model(tmp_path, make_linear())
    (tmp_path / "report.json").write_text(json.dumps(report))
    assert create_app(tmp_path, settings=Settings()).test_client().get("/").status_code == 200


def test_components_are_drawn_strongest_first_where_features_form_a_square(
    client_of: Callable[..., FlaskClient],
) -> None:
    model = make_pca(64, 5)
    data = embedded(client_of(model).get("/").text)
    assert (data["side"], len(data["images"])) == (8, 5)
    strongest = np.frombuffer(base64.b64decode(data["images"][0]["pixels"]), np.int8)
    expected = model.components[:, -1]  # stored ascending
    assert np.corrcoef(strongest, expected)[0, 1] > 0.99
    assert [square_side(d) for d in (1, 9, 16, 784, 785, 128 * 128, 129 * 129)] == [
        None,
        None,
        4,
        28,
        None,
        128,
        None,
    ]


def test_the_page_of_a_chain_shows_the_coefficients_of_the_original_features(tmp_path: Path) -> None:
    pca, linear = make_pca(), make_linear(2)
    write_model(tmp_path / "pca", pca)
    write_model(tmp_path / "linear", linear)
    first, *others = embedded(create_app(tmp_path, settings=Settings()).test_client().get("/").text)["bars"]
    assert first["title"] == "Coefficients, PCA and Linear Learner together"
    found = np.array([dict(map(tuple, first["rows"]))[f"feature {i}"] for i in range(4)])
    np.testing.assert_allclose(found, (pca.components @ linear.weights)[:, 0], rtol=1e-6)
    assert [group["title"] for group in others] == ["Component 1", "Component 2"]


def test_a_model_of_a_million_features_has_a_small_page(client_of: Callable[..., FlaskClient]) -> None:
    assert len(client_of(make_linear(1_000_000)).get("/").data) < 200_000


def test_it_can_be_switched_off(client_of: Callable[..., FlaskClient]) -> None:
    client = client_of(make_linear(), Settings(page=False))
    assert client.get("/").status_code == 404
    assert client.get("/ping").status_code == 200


def test_the_page_of_a_multi_model_endpoint_lists_models(tmp_path: Path) -> None:
    write_model(tmp_path / "models" / "a", make_pca())
    client = create_app(settings=Settings(base_dir=tmp_path, multi_model=True)).test_client()
    assert "None yet." in client.get("/").text
    client.post("/models", json={"model_name": "my-pca", "url": str(tmp_path / "models" / "a")})
    assert "my-pca" in client.get("/").text


@pytest.mark.slow
def test_a_person_reads_the_page_and_tries_a_record(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", make_linear())
    (folder / "report.json").write_text(json.dumps(REPORT))
    with running(str(folder), "--workers", "1") as server, chromium(tmp_path) as browser:
        browser.open(server.url)
        browser.wait_for("document.getElementById('state').textContent === 'ready'")
        assert browser.run("return document.querySelectorAll('.bar i').length") == 4
        assert browser.run("return document.querySelectorAll('#drawings polyline').length") == 2
        browser.run(
            "document.getElementById('record').value = '1,2,3,4';"
            "document.querySelector('input[value=contributions]').click();"
            "document.querySelector('#try button:not([type=button])').click();"
        )
        browser.wait_for("document.getElementById('status').textContent.startsWith('200')")
        answer = json.loads(browser.run("return document.getElementById('answer').textContent"))
        assert set(answer["predictions"][0]) == {"score", "predicted_label", "contributions"}
        browser.run(
            "document.getElementById('record').value = '1,2';"
            "document.querySelector('#try button:not([type=button])').click();"
        )
        browser.wait_for("document.getElementById('status').textContent.startsWith('400')")
        assert "2 features" in browser.run("return document.getElementById('answer').textContent")
        browser.narrow()
        browser.wait_for("innerWidth < 600")
        wider = "document.documentElement.scrollWidth > innerWidth"
        assert not browser.run(f"return {wider}"), "nothing is cut off in a narrow window"
        errors = [error for error in browser.errors() if "400" not in error]
        assert not errors, "no script error, nothing blocked by the policy, nothing asked of another host"


@pytest.mark.slow
def test_a_drawing_is_classified_as_it_is_drawn(tmp_path: Path) -> None:
    left_minus_right = np.tile(np.r_[np.ones(4), -np.ones(4)], 8).astype(np.float32)[:, None]
    model = LinearLearnerModel(left_minus_right, np.zeros(1, np.float32), "binary_classifier", "logistic")
    folder = write_model(tmp_path / "model", model)
    with running(str(folder), "--workers", "1") as server, chromium(tmp_path) as browser:
        browser.open(server.url)
        browser.wait_for("document.getElementById('state').textContent === 'ready'")
        assert browser.run("return document.querySelectorAll('#drawings canvas').length") == 1
        box = browser.run(
            "const b = document.getElementById('pad').getBoundingClientRect(); return [b.x, b.y, b.width]"
        )
        for share, label in ((0.2, 1), (0.8, 0)):
            browser.run(
                "document.getElementById('clear').click(); document.getElementById('status').textContent = ''"
            )
            x, top, width = int(box[0] + share * box[2]), int(box[1]), int(box[2])
            browser.press_and_drag([(x, top + 30), (x, top + width // 2), (x, top + width - 30)])
            browser.wait_for("document.getElementById('status').textContent.startsWith('200')")
            browser.wait_for(
                f"document.getElementById('answer').textContent.includes('\"predicted_label\": {label}')"
            )
            assert browser.run("return document.querySelectorAll('#pictures canvas').length") == 1
        assert not browser.errors()
