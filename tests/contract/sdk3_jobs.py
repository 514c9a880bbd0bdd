"""Jobs and endpoints by the SageMaker SDK 3 on local containers, as a user calls it; imported by the driver."""

import os
import socket
from pathlib import Path
from typing import Any

from sagemaker.core.local.local_session import LocalSession
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData
from sagemaker.train.model_trainer import Mode

IMAGE = os.environ["EIGENLINE_IMAGE"]
ROLE = "arn:aws:iam::111111111111:role/any"
_serving: list[LocalSession] = []


def train(
    root: str,
    hyperparameters: dict[str, str],
    channels: dict[str, dict[str, Any]],
    environment: dict[str, str],
    hosts: int,
    options: dict[str, Any],
) -> str:
    """ModelTrainer.train; returns the folder with model.tar.gz and output.tar.gz."""
    assert not options, "ModelTrainer passes no options to Docker"
    trainer = ModelTrainer(
        training_mode=Mode.LOCAL_CONTAINER,
        training_image=IMAGE,
        role=ROLE,
        compute=Compute(instance_type="local_cpu", instance_count=hosts),
        hyperparameters=dict(hyperparameters),
        environment=dict(environment),
        input_data_config=[
            InputData(channel_name=name, data_source=channel["folder"], **_stated(channel))
            for name, channel in channels.items()
        ],
        local_container_root=root,
    )
    trainer.train(wait=True)
    return artifacts_of(root)


def _stated(channel: dict[str, Any]) -> dict[str, str]:
    return {"content_type": channel["content_type"]} if channel["content_type"] else {}


def artifacts_of(root: str) -> str:
    """Return where the archives are, also of a job that failed."""
    return f"{root}/compressed_artifacts"


def serve(root: str, model: str) -> int:
    """Call create_model and create_endpoint of the SDK's local session; returns the port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    Path(root).mkdir(exist_ok=True)
    session = LocalSession()
    session.config = {"local": {"local_code": True, "container_root": root, "serving_port": port}}
    client = session.sagemaker_client
    client.create_model("tested", {"Image": IMAGE, "ModelDataUrl": f"file://{model}", "Environment": {}})
    variant = {"VariantName": "all", "ModelName": "tested", "InstanceType": "local", "InitialInstanceCount": 1}
    client.create_endpoint_config("tested", [variant])
    client.create_endpoint("tested", "tested")
    _serving.append(session)
    return port


def invoke(body: bytes, content_type: str | None, accept: str | None, custom_attributes: str | None) -> Any:
    """Call invoke_endpoint as boto3 does."""
    return _serving[-1].sagemaker_runtime_client.invoke_endpoint(
        body, "tested", ContentType=content_type, Accept=accept, CustomAttributes=custom_attributes
    )


def stop() -> None:
    """Call delete_endpoint."""
    _serving.pop().sagemaker_client.delete_endpoint("tested")
