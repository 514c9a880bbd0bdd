"""The Linear Learner walkthrough with the SageMaker Python SDK 3 on local containers, without an AWS account.

`pip install 'sagemaker>=3' `, `make image`, then `python -m examples.sagemaker_v3_local_mode`.
"""

import json
import os
import socket
import tempfile
from pathlib import Path

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

from examples.digits import load_digits

IMAGE = os.environ.get("EIGENLEARN_IMAGE", "eigenlearn")
ROLE = "arn:aws:iam::111111111111:role/any"  # never used locally, but the SDK asks for one


def train(folder: Path, data: Path, feature_dim: int, hosts: int = 1) -> Path:
    """Train on a folder of CSV files, label first; return the model's ``model.tar.gz``."""
    trainer = ModelTrainer(
        training_mode=Mode.LOCAL_CONTAINER,
        training_image=IMAGE,
        role=ROLE,
        compute=Compute(instance_type="local_cpu", instance_count=hosts),
        hyperparameters={
            "feature_dim": feature_dim,
            "predictor_type": "binary_classifier",
            "mini_batch_size": 200,
        },
        input_data_config=[InputData(channel_name="train", data_source=str(data), content_type="text/csv")],
        local_container_root=str(folder),
    )
    trainer.train(wait=True)
    return folder / "compressed_artifacts" / "model.tar.gz"


def deploy(model: Path, root: Path) -> LocalSession:
    """Start a local endpoint that serves a model; it is the session's only one."""
    session = LocalSession()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    session.config = {"local": {"local_code": True, "container_root": str(root), "serving_port": port}}
    client = session.sagemaker_client
    client.create_model(
        ModelName="zeros",
        PrimaryContainer={"Image": IMAGE, "ModelDataUrl": f"file://{model}", "Environment": {}},
    )
    client.create_endpoint_config(
        "zeros",
        [
            {
                "VariantName": "all",
                "ModelName": "zeros",
                "InstanceType": "local",
                "InitialInstanceCount": 1,
            }
        ],
    )
    client.create_endpoint("zeros", "zeros")
    return session


def main() -> None:
    """Train, deploy, ask about every test image, and print the confusion matrix."""
    digits = load_digits()
    folder = Path(tempfile.mkdtemp(prefix="eigenlearn-"))
    data, root = folder / "data", folder / "endpoint"
    data.mkdir()
    root.mkdir()
    is_zero = digits.train_labels == 0
    np.savetxt(data / "train.csv", np.column_stack([is_zero, digits.train_images]), "%.9g", ",")
    model = train(folder, data, digits.train_images.shape[1])

    session = deploy(model, root)
    serializer = CSVSerializer()
    labels = []
    for images in np.array_split(digits.test_images, 100):
        answer = session.sagemaker_runtime_client.invoke_endpoint(
            serializer.serialize(images), "zeros", ContentType="text/csv", Accept="application/json"
        )
        labels += [record["predicted_label"] for record in json.loads(answer["Body"].read())["predictions"]]
    session.sagemaker_client.delete_endpoint("zeros")
    actual, predicted = digits.test_labels == 0, np.array(labels) == 1
    print(f"zeros found {np.sum(actual & predicted)}, missed {np.sum(actual & ~predicted)}")
    print(f"other digits taken for a zero {np.sum(~actual & predicted)}, rejected {np.sum(~actual & ~predicted)}")


if __name__ == "__main__":
    main()
