"""Both MNIST walkthroughs with the SageMaker Python SDK 3 on local containers, without an AWS account.

`pip install 'sagemaker>=3'`, `make image`, then `python -m examples.sagemaker_v3_local_mode`.
"""

import json
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

# The SDK wants credentials and a region even where it talks to nobody: any will do.
os.environ.setdefault("AWS_ACCESS_KEY_ID", "none")
os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "none")
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")

from sagemaker.core.local.local_session import LocalSession
from sagemaker.core.serializers import CSVSerializer
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData
from sagemaker.train.model_trainer import Mode

from examples.digits import Digits, load_digits

IMAGE = os.environ.get("EIGENLINE_IMAGE", "eigenline")
ROLE = "arn:aws:iam::111111111111:role/any"  # never used locally, but the SDK asks for one


def train(folder: Path, hyperparameters: dict[str, object], rows: np.ndarray, content_type: str) -> Path:
    """Train on rows, which become one CSV file; return the model's ``model.tar.gz``."""
    data = folder / "data"
    data.mkdir(parents=True)
    np.savetxt(data / "train.csv", rows, "%.9g", ",")
    trainer = ModelTrainer(
        training_mode=Mode.LOCAL_CONTAINER,
        training_image=IMAGE,
        role=ROLE,
        compute=Compute(instance_type="local_cpu", instance_count=1),
        hyperparameters=hyperparameters,
        input_data_config=[InputData(channel_name="train", data_source=str(data), content_type=content_type)],
        local_container_root=str(folder),
    )
    trainer.train(wait=True)
    return folder / "compressed_artifacts" / "model.tar.gz"


def deploy(model: Path) -> LocalSession:
    """Start a local endpoint that serves a model; it is the session's only one."""
    session = LocalSession()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    root = tempfile.mkdtemp(prefix="eigenline-endpoint-")
    session.config = {"local": {"local_code": True, "container_root": root, "serving_port": port}}
    client = session.sagemaker_client
    client.create_model("digits", {"Image": IMAGE, "ModelDataUrl": f"file://{model}", "Environment": {}})
    variant = {"VariantName": "all", "ModelName": "digits", "InstanceType": "local", "InitialInstanceCount": 1}
    client.create_endpoint_config("digits", [variant])
    client.create_endpoint("digits", "digits")
    return session


def ask(session: LocalSession, rows: np.ndarray) -> list[dict[str, Any]]:
    """Ask the endpoint about all rows, in 100 requests; return one answer a row."""
    answers = []
    for part in np.array_split(rows, min(100, len(rows))):
        answer = session.sagemaker_runtime_client.invoke_endpoint(
            CSVSerializer().serialize(part), "digits", ContentType="text/csv", Accept="application/json"
        )
        (records,) = json.loads(answer["Body"].read()).values()  # "predictions" or "projections"
        answers += records
    session.sagemaker_client.delete_endpoint("digits")
    return answers


def is_it_a_zero(digits: Digits, folder: Path) -> None:
    """Linear Learner: train on 'zero or not', ask about every test image, print the confusion matrix."""
    hyperparameters = {
        "feature_dim": digits.train_images.shape[1],
        "predictor_type": "binary_classifier",
        "mini_batch_size": 200,
    }
    rows = np.column_stack([digits.train_labels == 0, digits.train_images])  # CSV has its label first
    session = deploy(train(folder, hyperparameters, rows, "text/csv"))
    labels = [record["predicted_label"] for record in ask(session, digits.test_images)]
    actual, predicted = digits.test_labels == 0, np.array(labels) == 1
    print(f"zeros found {np.sum(actual & predicted)}, missed {np.sum(actual & ~predicted)}")
    print(f"other digits taken for a zero {np.sum(~actual & predicted)}, rejected {np.sum(~actual & ~predicted)}")


def eigendigits(digits: Digits, folder: Path) -> None:
    """PCA: a record is one pixel in all images; project every pixel and say how much variance that keeps."""
    pixels = np.ascontiguousarray(digits.train_images.T, dtype="float64")
    hyperparameters = {
        "feature_dim": pixels.shape[1],
        "num_components": 10,
        "subtract_mean": True,
        "algorithm_mode": "randomized",
        "mini_batch_size": 200,
    }
    session = deploy(train(folder, hyperparameters, pixels, "text/csv;label_size=0"))
    projections = np.array([record["projection"] for record in ask(session, pixels)])
    centred = pixels - pixels.mean(0)
    best = np.linalg.eigvalsh(centred @ centred.T)[-10:].sum()
    kept = np.square(projections - projections.mean(0)).sum()
    print(
        f"projected {projections.shape[0]} records on {projections.shape[1]} components, which hold "
        f"{kept / best:.6f} of the best possible variance"
    )


def main() -> None:
    """Run both walkthroughs."""
    digits = load_digits()
    with tempfile.TemporaryDirectory(prefix="eigenline-", ignore_cleanup_errors=True) as folder:
        tempfile.tempdir = folder  # what the SDK writes goes with it
        is_it_a_zero(digits, Path(folder) / "linear")
        eigendigits(digits, Path(folder) / "pca")
        tempfile.tempdir = None


if __name__ == "__main__":
    main()
