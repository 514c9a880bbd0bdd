"""The Linear Learner walkthrough: "is this digit a 0?", from recordIO to the confusion matrix."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eigenline import write_recordio
from examples.digits import Digits
from examples.local_job import serve, train, write_job
from examples.steps import Steps, csv_text


@dataclass(frozen=True)
class Confusion:
    """How a classifier fared: counts of test images by what they are and what was predicted."""

    found: int  # zeros that were recognised
    false: int  # other digits that were taken for a zero
    missed: int  # zeros that were taken for another digit
    rejected: int  # other digits that were recognised as such

    @property
    def errors(self) -> int:
        """Number of test images that were labelled wrongly."""
        return self.false + self.missed

    def __str__(self) -> str:
        return f"{self.errors} errors: {self.found} zeros found, {self.false} false, {self.missed} missed"


# AWS's published result for MNIST with the same hyperparameters.
PUBLISHED = Confusion(found=931, false=44, missed=49, rejected=8976)


def run(digits: Digits, folder: Path, steps: Steps) -> Confusion:
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
            endpoint = running.enter_context(serve(folder))
        with steps.step("Ask about the first test image") as step:
            [prediction] = endpoint.invoke(csv_text(digits.test_images[:1]))["predictions"]
            step.result = f"score {prediction['score']:.6f}, predicted_label {prediction['predicted_label']:.0f}"
        with steps.step(f"Ask about all {len(digits.test_images):,} test images in 100 CSV requests"):
            labels = [
                prediction["predicted_label"]
                for images in np.array_split(digits.test_images, 100)
                for prediction in endpoint.invoke(csv_text(images))["predictions"]
            ]
    actual, predicted = digits.test_labels == 0, np.array(labels) == 1
    confusion = Confusion(
        found=int(np.sum(actual & predicted)),
        false=int(np.sum(~actual & predicted)),
        missed=int(np.sum(actual & ~predicted)),
        rejected=int(np.sum(~actual & ~predicted)),
    )
    _print(confusion, compare=digits.name == "MNIST")
    return confusion


def _print(confusion: Confusion, compare: bool) -> None:
    print("\n                      predicted 0    predicted another digit")
    print(f"    is a 0            {confusion.found:11,}    {confusion.missed:11,}")
    print(f"    is another digit  {confusion.false:11,}    {confusion.rejected:11,}\n")
    print(f"    {confusion}")
    if compare:
        print(f"    {PUBLISHED}, as AWS published for its own service")
