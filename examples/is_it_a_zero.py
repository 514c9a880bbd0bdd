"""The Linear Learner walkthrough: "is this digit a 0?", from recordIO to the confusion matrix."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np

from examples.digits import Digits
from examples.local_job import Endpoint, train, write_job
from examples.steps import Steps, csv_text
from formats import write_recordio

# AWS's published result for the same data and hyperparameters: zeros found, false alarms, zeros missed.
AWS_FOUND, AWS_FALSE, AWS_MISSED = 931, 44, 49


def run(digits: Digits, folder: Path, steps: Steps) -> None:
    """Train on the digits, ask the endpoint about every test image, and print the confusion matrix."""
    feature_dim = digits.train_images.shape[1]
    hyperparameters = {
        "feature_dim": str(feature_dim),
        "predictor_type": "binary_classifier",
        "mini_batch_size": "200",
    }
    with steps.step(f"Write {len(digits.train_images):,} images x {feature_dim} pixels as recordIO-protobuf"):
        is_zero = (digits.train_labels == 0).astype(np.float32)
        write_job(folder, hyperparameters, {"train": write_recordio(digits.train_images, is_zero)})
    with steps.step("train") as step:
        step.log = train(folder)
    with ExitStack() as running:
        with steps.step("serve, until /ping answers"):
            endpoint = running.enter_context(Endpoint(folder))
        with steps.step("Ask about the first test image") as step:
            [prediction] = endpoint.invoke(csv_text(digits.test_images[:1]))["predictions"]
            step.result = f"score {prediction['score']:.6f}, predicted_label {prediction['predicted_label']:.0f}"
        with steps.step(f"Ask about all {len(digits.test_images):,} test images in 100 CSV requests"):
            labels = [
                prediction["predicted_label"]
                for images in np.array_split(digits.test_images, 100)
                for prediction in endpoint.invoke(csv_text(images))["predictions"]
            ]
    _print_confusion(digits, np.array(labels) == 1)


def _print_confusion(digits: Digits, predicted: np.ndarray) -> None:
    actual = digits.test_labels == 0
    found, missed = int(np.sum(actual & predicted)), int(np.sum(actual & ~predicted))
    false = int(np.sum(~actual & predicted))
    print("\n                      predicted 0    predicted another digit")
    print(f"    is a 0            {found:11,}    {missed:11,}")
    print(f"    is another digit  {false:11,}    {int(np.sum(~actual & ~predicted)):11,}\n")
    print(f"    {false + missed} errors: {found} zeros found, {false} false, {missed} missed")
    if digits.name == "MNIST":
        print(
            f"    {AWS_FALSE + AWS_MISSED} errors: {AWS_FOUND} found, {AWS_FALSE} false, {AWS_MISSED} missed"
            " is what AWS published for its own service\n"
        )
