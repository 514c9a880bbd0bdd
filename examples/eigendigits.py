"""The PCA walkthrough: the pixels transposed, ten components, and the "eigendigits" drawn from the projections."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eigenline import write_recordio
from examples.digits import Digits
from examples.local_job import serve, train, write_job
from examples.steps import Steps, csv_text

NUM_COMPONENTS = 10


def run(digits: Digits, folder: Path, picture: Path, steps: Steps) -> float:
    """Train on one record a pixel, project every record through the endpoint, and draw the eigendigits.

    Returns the variance that the ten components hold, as a fraction of the best that any ten could.
    """
    records = np.ascontiguousarray(digits.train_images.T, dtype=np.float64)
    num_pixels, num_images = records.shape
    hyperparameters = {
        "feature_dim": str(num_images),
        "num_components": str(NUM_COMPONENTS),
        "subtract_mean": "True",
        "algorithm_mode": "randomized",
        "mini_batch_size": "200",
    }
    with steps.step(f"Write {num_pixels} pixels x {num_images:,} images as recordIO-protobuf"):
        write_job(folder, hyperparameters, {"train": write_recordio(records)})
    with steps.step("train") as step:
        step.log = train(folder)
    with ExitStack() as running:
        with steps.step("serve, until /ping answers"):
            endpoint = running.enter_context(serve(folder))
        with steps.step("Project the first record") as step:
            [answer] = endpoint.invoke(csv_text(records[:1]))["projections"]
            step.result = ", ".join(f"{value:.3f}" for value in answer["projection"][:4]) + ", ..."
        with steps.step(f"Project all {num_pixels} records in CSV requests of about 8 x {num_images:,} values"):
            projections = np.array(
                [
                    answer["projection"]
                    for rows in np.array_split(records, min(100, num_pixels))
                    for answer in endpoint.invoke(csv_text(rows))["projections"]
                ]
            )
    with steps.step("Compare with the exact solution, in float64") as step:
        captured, best, total = _captured_variance(records, projections)
        step.result = (
            f"{NUM_COMPONENTS} components hold {captured.sum() / total:.2%} of the variance, "
            f"{captured.sum() / best:.6%} of the best possible"
        )
    with steps.step(f"Draw {picture.name}"):
        draw(projections, captured / total, digits, picture)
    return float(captured.sum() / best)


def _captured_variance(
    records: NDArray[np.float64], projections: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float, float]:
    """Return the sums of squares that each projection, the best possible ten, and all of the data have."""
    centred = records - records.mean(axis=0)
    eigenvalues = np.linalg.eigvalsh(centred @ centred.T)
    captured = np.sum((projections - projections.mean(axis=0)) ** 2, axis=0)
    return captured, float(eigenvalues[-NUM_COMPONENTS:].sum()), float(eigenvalues.sum())


def draw(projections: NDArray[np.float64], ratios: NDArray[np.float64], digits: Digits, picture: Path) -> None:
    """Save one image a component: where it adds ink (red) and where it takes ink away (blue)."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, NUM_COMPONENTS // 2, figsize=(11, 5.2), layout="constrained")
    for index, axis in enumerate(axes.flat):
        image = projections[:, index].reshape(digits.side, digits.side)
        limit = np.abs(image).max()
        axis.imshow(image, cmap="RdBu_r", vmin=-limit, vmax=limit)
        axis.set_title(f"component {index + 1}\n{ratios[index]:.1%} of the variance", fontsize=10)
        axis.set_axis_off()
    figure.suptitle(f"Eigendigits of {digits.train_images.shape[0]:,} images ({digits.name})", fontsize=13)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110)
    plt.close(figure)
