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

from .browser import Browser, chromium
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
def test_the_page_of_every_model_is_self_contained(app_client_of: Callable[..., FlaskClient], kind: str) -> None:
    page = app_client_of(MODELS[kind]()).get("/")
    assert page.status_code == 200
    assert page.content_type == "text/html; charset=utf-8"
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    nonce = policy.partition("script-src 'nonce-")[2].partition("'")[0]
    assert f'<script nonce="{nonce}">' in page.text
    assert nonce not in app_client_of(MODELS[kind]()).get("/").headers["Content-Security-Policy"], (
        "a new one each time"
    )
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
    "report",
    [
        {"metrics": 5, "summary": "x", "threshold_curve": [1]},
        {"hyperparameters": None},
        {"threshold_curve": {"threshold": [0, None, 1], "precision": [1, 1, 1]}},
        {"threshold_curve": {"threshold": [0, 1], "precision": [10**400, 1], "recall": ["x", 1]}},
        {"explained_variance_ratio": [None, 10**400, -1e308, -1e308]},
        {"summary": ["\ud800"], "metrics": {"\ud800": 10**4000}, "feature_names": ["\udfff"] * 4},
        {"feature_mean": [10**400, 1, 2, 3], "feature_deviation": [None] * 4},
        {"confusion": {"train": [[None, 10**400], [1, 2]], "x": [], "y": [[1]], "z": 5}},
        {"residuals": {"edges": [0, 1, None], "counts": [1, 2]}},
    ],
)
def test_reports_of_another_shape_do_no_harm(tmp_path: Path, report: dict[str, object]) -> None:
    write_model(tmp_path, make_linear())
    (tmp_path / "report.json").write_text(json.dumps(report))
    assert create_app(tmp_path, settings=Settings()).test_client().get("/").status_code == 200


def test_components_are_drawn_strongest_first_where_features_form_a_square(
    app_client_of: Callable[..., FlaskClient],
) -> None:
    model = make_pca(64, 5)
    data = embedded(app_client_of(model).get("/").text)
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
    found = np.array([dict(map(tuple, first["rows"]))[f"feature_{i + 1}"] for i in range(4)])
    np.testing.assert_allclose(found, (pca.components @ linear.weights)[:, 0], rtol=1e-6)
    assert [group["title"] for group in others] == ["Component 1", "Component 2"]


def test_a_model_of_a_million_features_has_a_small_page(app_client_of: Callable[..., FlaskClient]) -> None:
    assert len(app_client_of(make_linear(1_000_000)).get("/").data) < 200_000


def test_it_can_be_switched_off(app_client_of: Callable[..., FlaskClient]) -> None:
    client = app_client_of(make_linear(), Settings(page=False))
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


ANSWERED = "document.getElementById('status').textContent.startsWith('200')"
PREDICT = "document.querySelector('#try button:not([type=button])').click();"


def shown(browser: Browser, element: str) -> str:
    return str(browser.run(f"return document.getElementById('{element}').textContent"))


def ask(browser: Browser, record: str) -> dict[str, Any]:
    browser.run(
        "document.getElementById('status').textContent = '';"
        f"document.getElementById('record').value = {json.dumps(record)};" + PREDICT
    )
    browser.wait_for(ANSWERED)
    return dict(json.loads(shown(browser, "answer")))


@pytest.mark.slow
def test_a_person_fills_in_fields_reads_why_moves_the_threshold_and_drops_a_file(tmp_path: Path) -> None:
    model = make_linear()
    report = {
        **REPORT,
        "feature_names": ["age", "height", "weight", "income"],
        "feature_mean": [10.5, 20, 30, 40],
        "feature_deviation": [1, 2, 3, 4],
        "threshold_calibrated_on": "train",
        "threshold_curve": {"threshold": [1, 0.5, 0], "precision": [1, 0.8, 0.2], "recall": [0, 0.7, 1]},
    }
    folder = write_model(tmp_path / "model", model)
    (folder / "report.json").write_text(json.dumps(report))
    with running(str(folder), "--workers", "1") as server, chromium(tmp_path) as browser:
        browser.open(server.url)
        browser.wait_for("document.querySelectorAll('#inputs input').length === 4")
        fields = "[...document.querySelectorAll('#inputs input')]"
        assert browser.run(f"return {fields}.map((field) => field.value)") == ["10.5", "20", "30", "40"]
        assert browser.run("return [...document.querySelectorAll('#inputs label')].map((l) => l.textContent)") == [
            "age",
            "height",
            "weight",
            "income",
        ]
        browser.run(
            f"const field = {fields}[1]; field.value = '25,5'; field.dispatchEvent(new Event('input'));" + PREDICT
        )
        browser.wait_for(ANSWERED)
        features = np.array([[10.5, 25.5, 30, 40]], np.float32)
        score = float(model.predict(features).score[0])
        assert json.loads(shown(browser, "answer"))["predictions"][0]["score"] == pytest.approx(score)
        assert f"{100 * score:.1f} %" in shown(browser, "result")
        browser.wait_for("document.querySelectorAll('#why .bars span').length === 2")
        change = 5.5 * float(model.weights[1, 0])
        assert shown(browser, "why").count("height") == 1
        assert f"{change:.5g}" in shown(browser, "why"), "only the field that was changed, and by how much"

        # JSON lists, several JSON records, Excel's tabs and decimal commas, names in any order
        rows = np.array([[1, 2, 3, 4], [5, 6, 7, 8.5]], np.float32)
        expected = model.predict(rows).score.tolist()
        for text in (
            "[[1, 2, 3, 4], [5, 6, 7, 8.5]]",
            '[{"features": [1, 2, 3, 4]}, {"features": [5, 6, 7, 8.5]}]',
            '{"features": [1, 2, 3, 4]}\n{"features": [5, 6, 7, 8.5]}',
            '{"instances": [{"features": [1, 2, 3, 4]}, {"features": [5, 6, 7, 8.5]}]}',
            "1\t2\t3\t4\r\n5\t6\t7\t8,5\r\n",
            "1;2;3;4\n5;6;7;8,5",
            "income,weight,height,age\n4,3,2,1\n8.5,7,6,5\n",
            "1 2 3 4\n5 6 7 8.5",
        ):
            got = [record["score"] for record in ask(browser, text)["predictions"]]
            assert got == pytest.approx(expected), text

        # the threshold, from low to high: 0, 0.5, 1
        slider = "document.querySelector('input[type=range]')"
        for place, words in ((0, "misses 0, and raises 19,728"), (1, "misses 1,480, and raises 863 false alarms")):
            browser.run(f"{slider}.value = {place}; {slider}.dispatchEvent(new Event('input'))")
            assert words in str(browser.run("return document.querySelector('.cost').textContent"))

        # a file with names, one of them no feature
        text = "income,name,weight,height,age\n4,ann,3,2,1\n8.5,bob,7,6,5\n"
        browser.run(f"predictFile(new File([{json.dumps(text)}], 'people.csv'))")
        browser.wait_for("document.getElementById('table').textContent.includes('people.csv: 2 records')")
        cells = browser.run(
            "return [...document.querySelectorAll('#table strong')].map((cell) => cell.textContent)"
        )
        assert [float(cell) for cell in cells[::2]] == pytest.approx(expected, rel=1e-4)
        link = "document.querySelector('#table a')"
        assert browser.run(f"return {link}.download") == "people-predictions.csv"
        assert browser.run(f"return {link}.href.startsWith('blob:')")
        browser.run("predictFile(new File(['1,2,x,4\\n'], 'broken.csv'))")
        browser.wait_for("document.getElementById('table').textContent.includes(\"'x'\")")
        assert not [error for error in browser.errors() if "400" not in error]


@pytest.mark.slow
def test_a_model_of_fifty_thousand_features_can_be_tried(tmp_path: Path) -> None:
    """As the walkthrough's own PCA has: a record per pixel, a feature per image."""
    model = make_pca(50_000, 3)
    folder = write_model(tmp_path / "model", model)
    with running(str(folder), "--workers", "1") as server, chromium(tmp_path) as browser:
        browser.open(server.url)
        browser.wait_for("document.getElementById('record').value.split(',').length === 50000")
        browser.run(PREDICT)
        browser.wait_for(ANSWERED)
        projection = json.loads(shown(browser, "answer"))["projections"][0]["projection"]
        assert np.abs(projection).max() < 0.01, "the average record lies at the origin"
        assert shown(browser, "shown").startswith("1 to 30 of 50,000")
        # a hundred records: ten times ten pixels, so that each component is a picture
        browser.run("predictFile(new File(['1,'.repeat(49999).concat('1\\n').repeat(100)], 'pixels.csv'))")
        browser.wait_for("document.querySelectorAll('#table canvas').length === 3", 60)
        assert not browser.errors()


@pytest.mark.slow
def test_ten_classes_fit_a_phone(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", make_linear(784, 10, "multiclass_classifier", "softmax_loss"))
    matrix = [[5000 if row == column else 123 for column in range(10)] for row in range(10)]
    (folder / "report.json").write_text(
        json.dumps(
            {"confusion": {"train": matrix}, "feature_mean": [40.0] * 784, "feature_deviation": [90.0] * 784}
        )
    )
    with running(str(folder), "--workers", "1") as server, chromium(tmp_path) as browser:
        browser.narrow()
        browser.open(server.url)
        browser.wait_for("document.getElementById('record').value.length > 0")
        assert browser.run("return document.getElementById('brightest').value") == "255", "the data's own scale"
        browser.run(PREDICT)
        browser.wait_for(ANSWERED)
        assert "class " in shown(browser, "result")
        assert not browser.run("return document.documentElement.scrollWidth > innerWidth")
        assert browser.run("return document.querySelectorAll('table.grid td').length") == 100
        assert not browser.errors()
