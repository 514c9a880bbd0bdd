"""AWS's own clients against the local server: boto3's runtime client and the SageMaker SDK's predictors."""

import json
import subprocess
from pathlib import Path

import pytest

from .conftest import make_linear, running, write_model

pytestmark = pytest.mark.slow

# Runs in an environment that has the SDK (version 2), which needs its own: its pins do not fit ours.
SCRIPT = """
import json, sys, warnings
warnings.simplefilter("ignore")
import boto3, botocore.config, numpy as np
from botocore.exceptions import ClientError

url = sys.argv[1]
config = botocore.config.Config(retries={"max_attempts": 0})
runtime = boto3.client("sagemaker-runtime", endpoint_url=url, region_name="us-east-1", config=config,
                       aws_access_key_id="none", aws_secret_access_key="none")
results = {}
answer = runtime.invoke_endpoint(EndpointName="any", ContentType="text/csv", Body="1,2,3,4",
                                 CustomAttributes="trace=7", InferenceId="order-1")
results["boto3"] = json.loads(answer["Body"].read())
results["content type"] = answer["ContentType"]
results["custom attributes"] = answer["CustomAttributes"]
try:
    runtime.invoke_endpoint(EndpointName="any", ContentType="text/csv", Body="1,2")
except ClientError as error:
    results["error"] = [error.response["Error"]["Code"], error.response["OriginalStatusCode"], str(error)]

from sagemaker.session import Session
from sagemaker.predictor import Predictor
from sagemaker.serializers import CSVSerializer, JSONLinesSerializer, JSONSerializer
from sagemaker.deserializers import CSVDeserializer, JSONDeserializer, JSONLinesDeserializer
from sagemaker.amazon.common import RecordDeserializer, RecordSerializer

session = Session(boto_session=boto3.Session(region_name="us-east-1", aws_access_key_id="none",
                  aws_secret_access_key="none"), sagemaker_client=object(), sagemaker_runtime_client=runtime)
rows = np.array([[1, 2, 3, 4], [4, 3, 2, 1]], dtype="float32")

def predict(name, serializer, deserializer, data):
    predictor = Predictor("any", sagemaker_session=session, serializer=serializer, deserializer=deserializer)
    return predictor.predict(data)

records = predict("recordio", RecordSerializer(), RecordDeserializer(), rows)
results["recordio"] = [record.label["score"].float32_tensor.values[0] for record in records]
results["csv"] = [float(row[0]) for row in predict("csv", CSVSerializer(), CSVDeserializer(), rows)]
instances = {"instances": [{"features": row.tolist()} for row in rows]}
answer = predict("json", JSONSerializer(), JSONDeserializer(), instances)
results["json"] = [record["score"] for record in answer["predictions"]]
answer = predict("json lines", JSONLinesSerializer(), JSONLinesDeserializer(), instances["instances"])
results["json lines"] = [record["score"] for record in answer]
print(json.dumps(results))
"""


def test_boto3_and_the_sdks_predictors(tmp_path: Path, sdk2_python: Path) -> None:
    model = make_linear()
    with running(str(write_model(tmp_path / "model", model))) as server:
        done = subprocess.run(
            [sdk2_python, "-c", SCRIPT, server.url],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            cwd=tmp_path,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads(done.stdout.splitlines()[-1])
    assert set(results["boto3"]["predictions"][0]) == {"score", "predicted_label"}
    assert results["content type"] == "application/json"
    assert results["custom attributes"] == "trace=7"
    code, status, text = results["error"]
    assert (code, status) == ("ModelError", 400)
    assert "2 features" in text
    for kind in ("recordio", "csv", "json lines"):
        assert results[kind] == pytest.approx(results["json"], rel=1e-6)
