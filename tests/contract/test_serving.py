"""The serving contract over one trained model: as a process, in the image, and as both SDKs' local endpoint."""

import json

import numpy as np
import pytest

from eigenline import write_recordio
from eigenline.formats.recordio.record_pb2 import Record
from tests.contract.clauses import clause
from tests.contract.endpoints import Endpoint
from tests.contract.trees import labelled_rows

FEATURES, LABELS = labelled_rows(np.random.default_rng(7))
CSV = "\n".join(",".join(repr(float(value)) for value in row) for row in FEATURES).encode()


def assert_close(scores: list[float], endpoint: Endpoint) -> None:
    """The model's own scores, up to the rounding of another build of BLAS in the image."""
    expected = endpoint.tree.model().predict(FEATURES).score  # type: ignore[union-attr]
    np.testing.assert_allclose(scores, np.asarray(expected), rtol=1e-4, atol=1e-7)


@clause("Serving", "`/ping` answers 200 with an empty body")
def test_ping(endpoint: Endpoint) -> None:
    answer = endpoint.get("/ping")
    assert answer.status == 200
    assert answer.body == b""


@clause("Serving", "`/execution-parameters` tells a batch transform what to send")
def test_execution_parameters(endpoint: Endpoint) -> None:
    answer = endpoint.get("/execution-parameters")
    assert answer.status == 200
    parameters = json.loads(answer.body)
    assert parameters["BatchStrategy"] == "MULTI_RECORD"
    assert parameters["MaxConcurrentTransforms"] >= 1
    assert parameters["MaxPayloadInMB"] >= 1


@clause("Serving", "CSV in, JSON out: the scores of the model in the artifact")
def test_csv_in_json_out(endpoint: Endpoint) -> None:
    answer = endpoint.invoke(CSV, "text/csv", "application/json")
    assert answer.status == 200
    predictions = json.loads(answer.body)["predictions"]
    assert_close([entry["score"] for entry in predictions], endpoint)
    assert np.mean([entry["predicted_label"] for entry in predictions] == LABELS) > 0.9


@clause("Serving", "recordIO in and out, as `RecordSerializer` and `RecordDeserializer` speak it")
def test_recordio_in_and_out(endpoint: Endpoint) -> None:
    kind = "application/x-recordio-protobuf"
    answer = endpoint.invoke(write_recordio(FEATURES), kind, kind)
    assert answer.status == 200
    scores, place = [], 0
    while place < len(answer.body):
        size = int.from_bytes(answer.body[place + 4 : place + 8], "little")
        record = Record.FromString(answer.body[place + 8 : place + 8 + size])
        scores.append(record.label["score"].float32_tensor.values[0])
        place += 8 + size + -size % 4
    assert_close(scores, endpoint)


@clause("Serving", "JSON in; JSON Lines and CSV out, one line a record")
@pytest.mark.parametrize("accept", ["application/jsonlines", "text/csv"])
def test_json_in_lines_out(endpoint: Endpoint, accept: str) -> None:
    body = json.dumps({"instances": [{"features": row.tolist()} for row in FEATURES]}).encode()
    answer = endpoint.invoke(body, "application/json", accept)
    assert answer.status == 200
    assert len(answer.body.splitlines()) == len(FEATURES)


@clause("Serving", "headers of `InvokeEndpoint` are accepted")
def test_custom_attributes(endpoint: Endpoint) -> None:
    answer = endpoint.invoke(CSV, "text/csv", "application/json", "c000b4f9-df62-4c85-a0bf-7c525f9104a4")
    assert answer.status == 200


@clause("Serving", "every refusal has its status and says why")
@pytest.mark.parametrize(
    ("body", "content_type", "accept", "status", "said"),
    [
        (CSV, "application/x-parquet", "application/json", 415, "application/x-parquet"),
        (CSV, "text/csv", "image/png", 406, "image/png"),
        (b"1,2,x,4,5,6", "text/csv", "application/json", 400, "x"),
        (b"1,2,3", "text/csv", "application/json", 400, "3 features"),
        (b"", "text/csv", "application/json", 204, ""),
        (b"1," * (4 << 20) + b"1", "text/csv", "application/json", 413, "6291456"),
    ],
    ids=["content type", "accept", "no number", "width", "empty", "too large"],
)
def test_each_refusal_has_its_status(
    endpoint: Endpoint, body: bytes, content_type: str, accept: str, status: int, said: str
) -> None:
    answer = endpoint.invoke(body, content_type, accept)
    assert answer.status == status, answer.body
    assert said in answer.body.decode().replace(",", "")
