"""Every content type in, every content type out, byte for byte; every refusal with its status and a sentence."""

import json
from collections.abc import Callable

import numpy as np
import pytest
from flask.testing import FlaskClient

from eigenline import write_recordio
from eigenline.algorithms.linear_learner.model import LinearLearnerModel
from eigenline.algorithms.pca.model import PCAModel
from eigenline.formats.recordio import record_pb2

from .conftest import MODELS, Client, make_linear, make_pca

RECORDIO = "application/x-recordio-protobuf"
ROWS = np.array([[1.5, 16, 14, 23], [-2, 100.2, 15.2, 9.2]], np.float32)
LABEL_ONE_HALF = LinearLearnerModel(
    np.zeros((4, 1), np.float32), np.array([0.4], np.float32), "regressor", "squared_loss"
)

BODIES = {
    "csv": ("text/csv", b"1.5,16,14,23\n-2.0,100.2,15.2,9.2"),
    "csv, trailing newline": ("text/csv", b"1.5,16,14,23\n-2.0,100.2,15.2,9.2\n"),
    "csv, CRLF and parameters": ("Text/CSV; label_size=0", b"1.5,16,14,23\r\n-2.0,100.2,15.2,9.2\r\n"),
    "short json": (
        "application/json",
        b'{"instances": [{"features": [1.5, 16.0, 14.0, 23.0]}, {"features": [-2.0, 100.2, 15.2, 9.2]}]}',
    ),
    "long json": (
        "application/json",
        b'{"instances": [{"data": {"features": {"values": [1.5, 16.0, 14.0, 23.0]}}}, '
        b'{"data": {"features": {"values": [-2.0, 100.2, 15.2, 9.2]}}}]}',
    ),
    "json lines": (
        "application/jsonlines",
        b'{"features": [1.5, 16.0, 14.0, 23.0]}\n{"data": {"features": {"values": [-2.0, 100.2, 15.2, 9.2]}}}',
    ),
    "recordio": (RECORDIO, write_recordio(ROWS)),
    "sparse json": (
        "application/json",
        b'{"instances": [{"data": {"features": {"keys": [0,1,2,3], "shape": [4], "values": [1.5, 16, 14, 23]}}}, '
        b'{"data": {"features": {"keys": [0,1,2,3], "shape": [4], "values": [-2, 100.2, 15.2, 9.2]}}}]}',
    ),
}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("body", BODIES)
def test_every_body_means_the_same_to_every_model(client_of: Callable[..., Client], kind: str, body: str) -> None:
    model = MODELS[kind]()
    content_type, data = BODIES[body]
    answer = client_of(model).post("/invocations", data=data, content_type=content_type)
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    document = json.loads(answer.data)
    if isinstance(model, PCAModel):
        got = [record["projection"] for record in document["projections"]]
        np.testing.assert_allclose(got, model.project(ROWS), rtol=1e-5, atol=1e-5)
        return
    expected = model.predict(ROWS)
    got = [record["score"] for record in document["predictions"]]
    np.testing.assert_allclose(got, expected.score, rtol=1e-5, atol=1e-6)
    if expected.predicted_label is None:
        assert all(set(record) == {"score"} for record in document["predictions"])
    else:
        assert [
            record["predicted_label"] for record in document["predictions"]
        ] == expected.predicted_label.tolist()


def post(client: Client, accept: str | None, body: bytes = b"0,0,0,0") -> tuple[int, bytes, str | None]:
    headers = {} if accept is None else {"Accept": accept}
    answer = client.post("/invocations", data=body, content_type="text/csv", headers=headers)
    return answer.status_code, answer.data, answer.headers.get("Content-Type")


def test_documented_bytes_of_a_regression(client_of: Callable[..., Client]) -> None:
    client = client_of(LABEL_ONE_HALF)
    assert post(client, None) == (200, b'{"predictions": [{"score": 0.4000000059604645}]}', "application/json")
    assert post(client, "*/*")[1] == b'{"predictions": [{"score": 0.4000000059604645}]}'
    assert post(client, "application/jsonlines")[1:] == (
        b'{"score":0.4000000059604645}\n',
        "application/jsonlines",
    )
    assert post(client, "text/csv")[1:] == (b"0.4000000059604645\n", "text/csv")
    frame = bytes.fromhex("0a23d7ce130000001211 0a0573636f7265120812060a04cdcccc3e 00")
    assert post(client, RECORDIO)[1:] == (frame, RECORDIO)


def test_documented_bytes_of_a_projection(client_of: Callable[..., Client]) -> None:
    model = PCAModel(np.ones(2, np.float32), np.eye(2, dtype=np.float32), None)
    status, body, _ = post(client_of(model), None, b"0.5,-1.25\n")
    assert (status, body) == (200, b'{"projections": [{"projection": [0.5, -1.25]}]}')
    frame = bytes.fromhex(
        "0a23d7ce1c000000121a0a0a70726f6a656374696f6e120c120a0a080000003f0000a0bf".replace(" ", "")
    )
    assert post(client_of(model), RECORDIO, b"0.5,-1.25\n")[1] == frame


def test_recordio_answers_parse_with_generated_protobuf_code(client_of: Callable[..., Client]) -> None:
    model = MODELS["multiclass"]()
    assert isinstance(model, LinearLearnerModel)
    _, body, _ = post(client_of(model), RECORDIO, b"1.5,16,14,23\n-2.0,100.2,15.2,9.2\n")
    records = []
    while body:
        length = int.from_bytes(body[4:8], "little")
        records.append(record_pb2.Record.FromString(body[8 : 8 + length]))
        body = body[8 + length + -length % 4 :]
    scores = [list(record.label["score"].float32_tensor.values) for record in records]
    np.testing.assert_allclose(scores, model.predict(ROWS).score, rtol=1e-5, atol=1e-6)
    assert [record.label["predicted_label"].float32_tensor.values[0] for record in records] == (
        model.predict(ROWS).predicted_label.tolist()  # type: ignore[union-attr]
    )


def test_a_bare_protobuf_record_is_read_as_local_batch_mode_sends_it(
    client_of: Callable[..., Client],
) -> None:
    client = client_of(make_linear())
    framed = write_recordio(ROWS[:1])
    length = int.from_bytes(framed[4:8], "little")
    answers = [
        client.post("/invocations", data=data, content_type=RECORDIO).data
        for data in (framed, framed[8 : 8 + length])
    ]
    assert answers[0] == answers[1]
    assert b"score" in answers[0]


def test_the_default_accept_of_an_inference_pipeline(client_of: Callable[..., Client]) -> None:
    client = client_of(LABEL_ONE_HALF, SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT="text/csv")
    assert post(client, None)[2] == "text/csv"
    assert post(client, "*/*")[2] == "text/csv"
    assert post(client, "application/json")[2] == "application/json"


@pytest.mark.parametrize(
    ("status", "method", "path", "headers", "body", "words"),
    [
        (400, "POST", "/invocations", {}, b"1,2,3", ["3 features", "takes 4"]),
        (400, "POST", "/invocations", {}, b"1,2,3,4,5", ["5 features", "label still in it"]),
        (400, "POST", "/invocations", {}, b"1,2,x,4", ["'x'", "line 1", "column 3"]),
        (400, "POST", "/invocations", {"Content-Type": "application/json"}, b"{", ["JSON"]),
        (400, "POST", "/invocations", {"Content-Type": RECORDIO}, b"\x0a\x23\xd7\xce\x10\0\0\0abc", ["request"]),
        (400, "POST", "/invocations?output=scor", {}, b"1,2,3,4", ["'scor'", "did you mean 'score'"]),
        (400, "POST", "/invocations?thresold=1", {}, b"1,2,3,4", ["'threshold'"]),
        (400, "POST", "/invocations?threshold=nan", {}, b"1,2,3,4", ["finite", "'nan'"]),
        (400, "POST", "/invocations?output=raw_score", {}, b"3e38,3e38,3e38,3e38", ["record 1", "float32"]),
        (404, "GET", "/nothing", {}, b"", ["'/nothing'", "/invocations"]),
        (405, "GET", "/invocations", {}, b"", ["GET", "POST"]),
        (405, "DELETE", "/ping", {}, b"", ["DELETE", "GET"]),
        (406, "POST", "/invocations", {"Accept": "image/png"}, b"1,2,3,4", ["image/png", "application/jsonlines"]),
        (413, "POST", "/invocations", {}, b"1," * 2_000_000, ["1048576 bytes", "MAX_CONTENT_LENGTH"]),
        (415, "POST", "/invocations", {"Content-Type": "text/libsvm"}, b"1", ["text/libsvm", "text/csv"]),
        (415, "POST", "/invocations", {"Content-Type": ""}, b"1", ["Content-Type", "text/csv"]),
        (415, "POST", "/invocations", {"Content-Encoding": "gzip"}, b"1", ["gzip"]),
    ],
)
def test_each_refusal_has_its_status_and_says_why(
    client_of: Callable[..., Client],
    status: int,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes,
    words: list[str],
) -> None:
    model = LinearLearnerModel(
        np.full((4, 1), 9, np.float32), np.zeros(1, np.float32), "binary_classifier", "logistic"
    )
    client = client_of(model, MAX_CONTENT_LENGTH=str(1 << 20))
    answer = client.open(path, method=method, data=body, headers={"Content-Type": "text/csv", **headers})
    assert answer.status_code == status
    assert answer.content_type == "application/json"
    document = json.loads(answer.data)
    assert set(document) == {"error", "request_id"}
    for word in words:
        assert word in document["error"]
    assert "Traceback" not in document["error"]


def test_a_refusal_is_plain_text_for_who_reads_text(client_of: Callable[..., Client]) -> None:
    status, body, content_type = post(client_of(make_linear()), "text/csv", b"1,2")
    assert (status, content_type) == (400, "text/plain; charset=utf-8")
    assert body.startswith(b"Each record of the request has 2 features")
    answer = post(client_of(make_linear()), "application/jsonlines", b"1,2")
    assert (answer[0], answer[1][-2:], answer[2]) == (400, b"}\n", "application/jsonlines")


def test_an_empty_body_is_answered_with_no_content(client_of: Callable[..., Client]) -> None:
    assert post(client_of(make_linear()), None, b"") == (204, b"", None)


def test_headers_of_sagemaker_come_back_and_name_the_request(client_of: Callable[..., Client]) -> None:
    headers = {
        "X-Amzn-SageMaker-Custom-Attributes": "trace=c000b4f9; team=x",
        "X-Amzn-SageMaker-Inference-Id": "order-17",
        "X-Unknown": "ignored",
    }
    answer = client_of(make_linear()).post(
        "/invocations", data=b"1,2,3,4", content_type="text/csv", headers=headers
    )
    assert answer.headers["X-Amzn-SageMaker-Custom-Attributes"] == "trace=c000b4f9; team=x"
    assert answer.headers["X-Request-Id"] == "order-17"


def test_a_forged_request_id_is_replaced(client_of: Callable[..., Client]) -> None:
    headers = {"X-Request-Id": "<script>" * 40}
    answer = client_of(make_linear()).post("/invocations", data=b"1", content_type="text/csv", headers=headers)
    assert len(answer.headers["X-Request-Id"]) == 16


def test_ping_is_empty_and_execution_parameters_fit_a_batch_job(client_of: Callable[..., Client]) -> None:
    client = client_of(
        make_pca(), SAGEMAKER_BATCH="true", SAGEMAKER_BATCH_STRATEGY="SINGLE_RECORD", MODEL_SERVER_WORKERS="3"
    )
    assert (client.get("/ping").status_code, client.get("/ping").data) == (200, b"")
    assert json.loads(client.get("/execution-parameters").data) == {
        "MaxConcurrentTransforms": 3,
        "BatchStrategy": "SINGLE_RECORD",
        "MaxPayloadInMB": 6,
    }


def test_ping_turns_503_when_the_model_cannot_answer(app_client_of: Callable[..., FlaskClient]) -> None:
    client = app_client_of(make_linear())
    assert client.get("/ping").status_code == 200
    service = client.application.extensions["service"]
    broken = service.model.linear
    object.__setattr__(broken, "bias", None)  # a real fault of ours: the sum with None fails
    answer = client.post("/invocations", data=b"1,2,3,4", content_type="text/csv")
    assert answer.status_code == 500
    assert "TypeError" not in answer.text
    assert answer.headers["X-Request-Id"] in answer.text
    assert client.get("/ping").status_code == 503
    object.__setattr__(broken, "bias", np.zeros(1, np.float32))
    assert client.get("/ping").status_code == 200


@pytest.mark.parametrize(("body", "status"), [(b"1,2,3,4", 200), (b"1,2", 424)])
def test_the_route_of_the_runtime_client(client_of: Callable[..., Client], body: bytes, status: int) -> None:
    answer = client_of(make_linear()).post("/endpoints/any/invocations", data=body, content_type="text/csv")
    assert answer.status_code == status
    if status == 424:
        assert answer.headers["x-amzn-ErrorType"] == "ModelError"
        document = json.loads(answer.data)
        assert document["OriginalStatusCode"] == 400
        assert "2 features" in document["OriginalMessage"]
