# %% [markdown]
# # Both MNIST walkthroughs in SageMaker's local mode, without an AWS account
#
# The calls are those of the SageMaker Python SDK 2 (`pip install 'sagemaker[local]<3' matplotlib`). Only two
# things differ from a job in the cloud: `instance_type="local"`, and `image_uri` names the image of this project
# (`make image`). Docker runs the containers; nothing leaves this machine.

# %%
import io
import logging
import os
import socket
import sys
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

# The SDK wants credentials and a region even where it talks to nobody: any will do.
os.environ.setdefault("AWS_ACCESS_KEY_ID", "none")
os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "none")
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
os.environ.setdefault("SAGEMAKER_SUPPRESS_V2_WARNING", "1")

import sagemaker.amazon.common as smac
from sagemaker.deserializers import JSONDeserializer
from sagemaker.estimator import Estimator
from sagemaker.local import LocalSession
from sagemaker.serializers import CSVSerializer

# Jupyter starts in the notebook's own folder, a terminal in the checkout: `examples` is found from both.
sys.path[:0] = [str(Path.cwd()), str(Path.cwd().parent)]
from examples.digits import load_digits

IMAGE = os.environ.get("EIGENLINE_IMAGE", "eigenline")
ROLE = "arn:aws:iam::111111111111:role/any"  # never used locally, but the SDK asks for one
QUIET = {"SAGEMAKER_CONTAINER_LOG_LEVEL": "WARNING"}  # else the endpoint logs every request
# Everything is written below one folder, also what the SDK writes beside; it goes when the notebook ends.
temporary = tempfile.TemporaryDirectory(prefix="eigenline-", ignore_cleanup_errors=True)
tempfile.tempdir = temporary.name
FOLDER = Path(temporary.name)

with socket.create_server(("127.0.0.1", 0)) as probe:
    port = probe.getsockname()[1]
session = LocalSession(
    sagemaker_config={"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}}
)
session.config = {"local": {"local_code": True, "container_root": str(FOLDER), "serving_port": port}}

logging.getLogger("sagemaker").setLevel(logging.ERROR)

digits = load_digits()
print(f"{digits.name}: {len(digits.train_images):,} images to train on, {len(digits.test_images):,} to test")

# %% [markdown]
# ## "Is this digit a 0?": Linear Learner
#
# The images become recordIO-protobuf with the SDK's own writer, as in the walkthrough. It takes its time;
# `eigenline.write_recordio` writes the same bytes in a fraction of a second.

# %%
buffer = io.BytesIO()
smac.write_numpy_to_dense_tensor(buffer, digits.train_images, (digits.train_labels == 0).astype("float32"))
linear_data = FOLDER / "linear" / "recordio-pb-data"
linear_data.parent.mkdir()
linear_data.write_bytes(buffer.getvalue())

# %%
linear = Estimator(
    image_uri=IMAGE,
    role=ROLE,
    instance_count=1,
    instance_type="local",
    output_path=f"file://{FOLDER}/output",
    sagemaker_session=session,
)
linear.set_hyperparameters(
    feature_dim=digits.train_images.shape[1], predictor_type="binary_classifier", mini_batch_size=200
)
started = time.perf_counter()
linear.fit({"train": f"file://{linear_data.parent}"}, logs=False)
print(f"fit took {time.perf_counter() - started:.1f} seconds, containers included")

# %%
linear_predictor = linear.deploy(
    initial_instance_count=1,
    instance_type="local",
    serializer=CSVSerializer(),
    deserializer=JSONDeserializer(),
    env=QUIET,
    wait=False,  # the container answers within a second; waiting would poll for half a minute
)


def until_ready(predictor, record):
    """Ask until the endpoint answers."""
    for _ in range(100):
        try:
            return predictor.predict(record)
        except Exception:  # connection refused: the container is still starting
            time.sleep(0.2)
    raise TimeoutError("the endpoint did not come up")


print(until_ready(linear_predictor, digits.test_images[0]))

# %%
predictions = []
for images in np.array_split(digits.test_images, 100):
    answer = linear_predictor.predict(images)
    predictions += [record["predicted_label"] for record in answer["predictions"]]
linear_predictor.delete_endpoint()

actual, predicted = digits.test_labels == 0, np.array(predictions) == 1
found, missed = np.sum(actual & predicted), np.sum(actual & ~predicted)
false, rejected = np.sum(~actual & predicted), np.sum(~actual & ~predicted)
print("                    predicted 0   predicted another digit")
print(f"is a 0              {found:11,}   {missed:11,}")
print(f"is another digit    {false:11,}   {rejected:11,}")

# %% [markdown]
# ## Eigendigits: PCA
#
# The walkthrough transposes the pixels: a record is one pixel in all images. So a projection has one value a pixel
# for each component, and can be drawn.

# %%
pixels = np.ascontiguousarray(digits.train_images.T, dtype="float64")
buffer = io.BytesIO()
smac.write_numpy_to_dense_tensor(buffer, pixels)
pca_data = FOLDER / "pca" / "recordio-pb-data"
pca_data.parent.mkdir()
pca_data.write_bytes(buffer.getvalue())

# %%
pca = Estimator(
    image_uri=IMAGE,
    role=ROLE,
    instance_count=1,
    instance_type="local",
    output_path=f"file://{FOLDER}/output",
    sagemaker_session=session,
)
pca.set_hyperparameters(
    feature_dim=pixels.shape[1],
    num_components=10,
    subtract_mean=True,
    algorithm_mode="randomized",
    mini_batch_size=200,
)
started = time.perf_counter()
pca.fit({"train": f"file://{pca_data.parent}"}, logs=False)
print(f"fit took {time.perf_counter() - started:.1f} seconds, containers included")

# %%
pca_predictor = pca.deploy(
    initial_instance_count=1,
    instance_type="local",
    serializer=CSVSerializer(),
    deserializer=JSONDeserializer(),
    env=QUIET,
    wait=False,
)
until_ready(pca_predictor, pixels[0])
projections = []
for rows in np.array_split(pixels, min(100, len(pixels))):
    answer = pca_predictor.predict(rows)
    projections += [record["projection"] for record in answer["projections"]]
pca_predictor.delete_endpoint()
projections = np.array(projections)
print(f"projected {projections.shape[0]} records on {projections.shape[1]} components")

# %%
figure, axes = plt.subplots(2, 5, figsize=(11, 5), layout="constrained")
for index, axis in enumerate(axes.flat):
    picture = projections[:, index].reshape(digits.side, digits.side)
    limit = np.abs(picture).max()
    axis.imshow(picture, cmap="RdBu_r", vmin=-limit, vmax=limit)
    axis.set_title(f"component {index + 1}")
    axis.set_axis_off()
figure.suptitle(f"Eigendigits of {pixels.shape[1]:,} images ({digits.name})")
plt.show()

# %%
tempfile.tempdir = None
temporary.cleanup()
print(f"{FOLDER} is {'still there' if FOLDER.exists() else 'gone'}")
