"""Jobs and endpoints by the SageMaker SDK 2 in local mode, as a user calls it; imported by the driver."""

import os
import socket
from pathlib import Path
from typing import Any

from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.local import LocalSession
from sagemaker.model import Model

IMAGE = os.environ["EIGENLINE_IMAGE"]
ROLE = "arn:aws:iam::111111111111:role/any"
_serving: list[tuple[LocalSession, str]] = []


def _session(root: str, options: dict[str, Any]) -> LocalSession:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    session = LocalSession(
        sagemaker_config={
            "SchemaVersion": "1.0",
            "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
        }
    )
    session.config = {
        "local": {
            "local_code": True,
            "container_root": root,
            "serving_port": port,
            "container_config": options,  # passed on to docker-compose
        }
    }
    return session


def train(
    root: str,
    hyperparameters: dict[str, str],
    channels: dict[str, dict[str, Any]],
    environment: dict[str, str],
    hosts: int,
    options: dict[str, Any],
) -> str:
    """Estimator.fit; returns the folder with model.tar.gz and output.tar.gz."""
    estimator = Estimator(
        image_uri=IMAGE,
        role=ROLE,
        instance_count=hosts,
        instance_type="local",
        output_path=f"file://{artifacts_of(root)}",
        environment=environment,
        sagemaker_session=_session(root, options),
    )
    estimator.set_hyperparameters(**hyperparameters)
    estimator.fit(  # without logs=False, which sleeps for five seconds after a local job
        {
            name: TrainingInput(f"file://{channel['folder']}", content_type=channel["content_type"])
            for name, channel in channels.items()
        }
    )
    return artifacts_of(root)


def artifacts_of(root: str) -> str:
    """Return where the archives are, also of a job that failed."""
    return f"{root}/artifacts"


def serve(root: str, model: str) -> int:
    """Model.deploy; returns the port."""
    session = _session(root, {})
    Path(root).mkdir(exist_ok=True)
    deployed = Model(IMAGE, model_data=f"file://{model}", role=ROLE, sagemaker_session=session)
    deployed.deploy(1, "local", endpoint_name="tested", wait=False)  # /ping has answered; wait=True sleeps on
    _serving.append((session, "tested"))
    return int(session.config["local"]["serving_port"])


def invoke(body: bytes, content_type: str | None, accept: str | None, custom_attributes: str | None) -> Any:
    """Call invoke_endpoint as boto3 and the SDK's Predictor do."""
    session, name = _serving[-1]
    return session.sagemaker_runtime_client.invoke_endpoint(
        Body=body, EndpointName=name, ContentType=content_type, Accept=accept, CustomAttributes=custom_attributes
    )


def stop() -> None:
    """Call delete_endpoint."""
    session, name = _serving.pop()
    session.sagemaker_client.delete_endpoint(EndpointName=name)
