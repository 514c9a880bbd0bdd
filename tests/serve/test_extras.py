"""What AWS never gave: contributions, raw scores, another threshold, the way back from a projection."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from scipy.sparse import csr_array

from eigenline import write_recordio
from eigenline.algorithms.errors import UserError
from eigenline.algorithms.linear_learner.model import LinearLearnerModel
from eigenline.formats.content_types import RECORDIO
from eigenline.formats.recordio.framing import framed
from eigenline.formats.recordio.record_pb2 import Record
from eigenline.serve.settings import Settings

from .conftest import MODELS, Client, Reply, make_linear, make_pca

ROWS = np.array([[1.5, 16, 14, 23], [-2, 100.2, 15.2, 9.2], [0, 0, 0, 0]], np.float32)
CSV_ROWS = "\n".join(",".join(map(repr, row)) for row in ROWS.tolist())


def ask(client: Client, query: str, body: str | bytes = CSV_ROWS, **headers: str) -> list[Mapping[str, Any]]:
    answer = client.post(f"/invocations{query}", data=body, content_type="text/csv", headers=headers)
    assert answer.status_code == 200, answer.text
    (records,) = json.loads(answer.data).values()
    return list(records)


@pytest.mark.parametrize("kind", ["binary", "hinge", "regressor", "multiclass"])
def test_contributions_sum_to_the_raw_score(client_of: Callable[..., Client], kind: str) -> None:
    model = MODELS[kind]()
    assert isinstance(model, LinearLearnerModel)
    for record, row in zip(ask(client_of(model), "?output=contributions,raw_score"), ROWS, strict=True):
        assert list(record) == ["contributions", "raw_score"]
        raw = np.atleast_1d(record["raw_score"])
        chosen = int(np.argmax(raw)) if kind == "multiclass" else 0
        assert sum(record["contributions"]) == pytest.approx(raw[chosen], rel=1e-5)
        np.testing.assert_allclose(record["contributions"][:-1], row * model.weights[:, chosen], rtol=1e-6)
        assert record["contributions"][-1] == pytest.approx(float(model.bias[chosen]))


def test_contributions_of_a_chain_are_in_the_original_features(client_of: Callable[..., Client]) -> None:
    client = client_of(make_pca(4, 2), make_linear(2))
    for record in ask(client, "?output=contributions,raw_score,projection"):
        assert len(record["contributions"]) == 5
        assert sum(record["contributions"]) == pytest.approx(record["raw_score"], rel=1e-4)
        assert len(record["projection"]) == 2


def test_contributions_of_sparse_records_are_those_of_dense_ones(client_of: Callable[..., Client]) -> None:
    client = client_of(make_linear())
    path, kind = "/invocations?output=contributions", "application/x-recordio-protobuf"
    answers = [
        client.post(path, data=write_recordio(rows), content_type=kind, headers={"Accept": "text/csv"}).data
        for rows in (ROWS, csr_array(ROWS))
    ]
    assert answers[0] == answers[1]


def test_another_threshold_moves_the_label_and_nothing_else(client_of: Callable[..., Client]) -> None:
    client = client_of(make_linear())
    plain = ask(client, "")
    for threshold in (-1, 0.2, 0.999, 2):
        for record, before in zip(ask(client, f"?threshold={threshold}"), plain, strict=True):
            assert record["score"] == before["score"]
            assert record["predicted_label"] == (record["score"] >= np.float32(threshold))
    assert ask(client, "") == plain


def test_options_in_the_header_that_invoke_endpoint_passes(client_of: Callable[..., Client]) -> None:
    client = client_of(make_linear())
    header = {"X-Amzn-SageMaker-Custom-Attributes": "trace=1; eigenline.output=raw_score; eigenline.threshold=0.9"}
    assert ask(client, "", **header) == ask(client, "?output=raw_score")
    assert ask(client, "?output=score", **header) == ask(client, "?output=score")


def test_an_inverse_transform_takes_projections_back(client_of: Callable[..., Client]) -> None:
    model = make_pca(4, 4)
    client = client_of(model)
    projections = "\n".join(",".join(map(repr, record["projection"])) for record in ask(client, ""))
    back = [record["reconstruction"] for record in ask(client, "?inverse=true", projections)]
    np.testing.assert_allclose(back, ROWS, atol=1e-4)


def test_a_reconstruction_is_the_nearest_record_of_the_subspace(client_of: Callable[..., Client]) -> None:
    model = make_pca(4, 2)
    got = [record["reconstruction"] for record in ask(client_of(model), "?output=reconstruction")]
    assert model.mean is not None
    directions = model.components.astype(np.float64)
    expected = (ROWS - model.mean) @ directions @ directions.T + model.mean
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_the_columns_of_autopilot(client_of: Callable[..., Client]) -> None:
    wish = {"SAGEMAKER_INFERENCE_OUTPUT": "predicted_label,probability,probabilities,labels"}
    for record in ask(client_of(make_linear(), **wish), ""):
        assert list(record) == ["predicted_label", "probability", "probabilities", "labels"]
        assert record["labels"] == [0, 1]
        assert record["probabilities"][1] == record["probability"]
        assert sum(record["probabilities"]) == pytest.approx(1)
    for record in ask(client_of(MODELS["multiclass"](), **wish), ""):
        assert record["probability"] == max(record["probabilities"])
        assert record["predicted_label"] == int(np.argmax(record["probabilities"]))


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        ("regressor", Settings(output=("probability",)), "no output 'probability'"),
        ("hinge", Settings(output=("probabilities",)), "no output 'probabilities'"),
        ("pca", Settings(output=("score",)), "a PCA has projection, reconstruction"),
        ("pca", Settings(threshold=0.3), "threshold is for binary classifiers"),
    ],
)
def test_a_wish_that_the_model_cannot_fulfil_stops_the_server_at_the_start(
    app_client_of: Callable[..., FlaskClient], kind: str, settings: Settings, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        app_client_of(MODELS[kind](), settings)


@pytest.mark.parametrize(
    ("kind", "query"), [("binary", "?inverse=true"), ("pca", "?inverse=perhaps"), ("regressor", "?threshold=0.2")]
)
def test_a_wish_of_one_request_is_refused_with_400(
    client_of: Callable[..., Client], kind: str, query: str
) -> None:
    answer = client_of(MODELS[kind]()).post(f"/invocations{query}", data=b"1,2,3,4", content_type="text/csv")
    assert answer.status_code == 400


def test_an_answer_has_a_size_limit_too(client_of: Callable[..., Client]) -> None:
    client = client_of(make_linear(200_000))
    record = b'{"data":{"features":{"keys":[1],"shape":[200000],"values":[1]}}}\n'

    def ask_for(count: int, query: str = "?output=contributions") -> Reply:
        return client.post(f"/invocations{query}", data=record * count, content_type="application/jsonlines")

    refused = ask_for(300)
    assert refused.status_code == 400
    most = int(refused.text.partition("Send at most ")[2].split()[0])  # it depends on the machine's memory
    assert 0 < most <= 50
    assert ask_for(most + 1).status_code == 400
    assert ask_for(min(most, 5)).status_code == 200
    assert ask_for(300, "").status_code == 200


def test_recordio_answers_carry_the_records_own_uid_and_metadata(client_of: Callable[..., Client]) -> None:
    record = Record(uid=b"row-7", metadata=b'{"customer": 7}')
    record.features["values"].float32_tensor.values.extend([1, 2, 3, 4])
    payload = record.SerializeToString()
    request = framed(payload)
    client = client_of(make_linear())
    headers = {"Content-Type": RECORDIO, "Accept": RECORDIO}
    answer = client.post("/invocations", data=request, headers=headers)
    length = int.from_bytes(answer.data[4:8], "little")
    got = Record.FromString(answer.data[8 : 8 + length])
    assert (got.uid, got.metadata) == (b"row-7", b'{"customer": 7}')
    assert set(got.label) == {"score", "predicted_label"}
    assert b"row-7" not in client.post("/invocations", data=request, content_type=RECORDIO).data
