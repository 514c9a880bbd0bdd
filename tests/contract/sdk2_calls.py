"""Calls of the SageMaker SDK 2 in local mode that the walkthroughs do not make; run by its own interpreter.

Prints one JSON document: what each call gave. The assertions are in test_sdks.py.
"""

import io
import json
import os
import socket
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np
import sagemaker.amazon.common as smac
from sagemaker.estimator import Estimator
from sagemaker.local import LocalSession

IMAGE = os.environ["EIGENLINE_IMAGE"]
FOLDER = Path(tempfile.mkdtemp(prefix="eigenline-sdk2-"))
rng = np.random.default_rng(1)
FEATURES = rng.normal(size=(300, 6)).astype("float32")
LABELS = (FEATURES @ [1, -1, 0.5, 0, 0, 0] > 0).astype("float32")


def session() -> LocalSession:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    made = LocalSession(
        sagemaker_config={
            "SchemaVersion": "1.0",
            "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
        }
    )
    made.config = {"local": {"local_code": True, "container_root": str(FOLDER), "serving_port": port}}
    return made


def estimator(name: str, **hyperparameters: object) -> Estimator:
    made = Estimator(
        image_uri=IMAGE,
        role="arn:aws:iam::111111111111:role/any",
        instance_count=1,
        instance_type="local",
        output_path=f"file://{FOLDER}/{name}",
        sagemaker_session=session(),
    )
    made.set_hyperparameters(**hyperparameters)
    return made


def channel(name: str, labels: np.ndarray | None) -> str:
    buffer = io.BytesIO()
    smac.write_numpy_to_dense_tensor(buffer, FEATURES, labels)
    folder = FOLDER / f"data-{name}"
    folder.mkdir()
    (folder / "matrix_0.pbr").write_bytes(buffer.getvalue())
    return f"file://{folder}"


def eventually(predict, *arguments):
    for _ in range(50):
        try:
            return predict(*arguments)
        except Exception:
            time.sleep(0.2)
    return predict(*arguments)


def record_predictor() -> dict[str, object]:
    """RecordSerializer and RecordDeserializer, the built-in algorithms' own pair."""
    job = estimator("records", feature_dim=6, predictor_type="binary_classifier", mini_batch_size=50)
    job.fit({"train": channel("records", LABELS)})
    predictor = job.deploy(
        1, "local", wait=False, serializer=smac.RecordSerializer(), deserializer=smac.RecordDeserializer()
    )
    records = eventually(predictor.predict, FEATURES)
    predictor.delete_endpoint()
    labels = [record.label["predicted_label"].float32_tensor.values[0] for record in records]
    scores = [record.label["score"].float32_tensor.values[0] for record in records]
    return {"accuracy": float(np.mean(labels == LABELS)), "scores": len(scores), "score_0": scores[0]}


def batch_transform() -> dict[str, object]:
    """A batch transform job: lines of CSV in, one output file."""
    job = estimator("transform", num_components=2, feature_dim=6, mini_batch_size=50)
    job.fit({"train": channel("transform", None)})
    folder = FOLDER / "transform-input"
    folder.mkdir()
    np.savetxt(folder / "rows.csv", FEATURES[:20], "%.9g", ",")
    output = FOLDER / "transform-output"
    transformer = job.transformer(
        1,
        "local",
        # Local mode knows the strategy only by this name; the service and /execution-parameters say MULTI_RECORD.
        strategy="MultiRecord",
        output_path=f"file://{output}",
        accept="application/jsonlines",
        assemble_with="Line",
    )
    transformer.transform(f"file://{folder}", content_type="text/csv", split_type="Line", wait=False, logs=False)
    lines = [line for line in (output / "rows.csv.out").read_text().splitlines() if line]
    return {"lines": len(lines), "values": len(json.loads(lines[0])["projection"])}


def main() -> int:
    results = {}
    for call in (record_predictor, batch_transform):
        try:
            results[call.__name__] = call()
        except Exception:
            traceback.print_exc()
            return 1
    Path(sys.argv[1]).write_text(json.dumps(results))
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # after a failure the SDK's threads would wait for a container for good
