"""Real handwritten digits: MNIST where it is or can be fetched, else the 8 x 8 digits that scikit-learn ships."""

from __future__ import annotations

import gzip
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from examples.mnist import FILES, fetch_mnist

BESIDE_THE_CHECKOUT = Path(__file__).parents[2] / "shared" / "data" / "mnist"


@dataclass(frozen=True, eq=False)
class Digits:
    """Images of digits, a row each, and what they show.

    Pixels are float32 in [0, 1), as in the walkthroughs; the labels are the digits 0 to 9.
    """

    name: str
    side: int  # an image is side x side pixels
    train_images: NDArray[np.float32]
    train_labels: NDArray[np.uint8]
    test_images: NDArray[np.float32]
    test_labels: NDArray[np.uint8]


def load_digits() -> Digits:
    """Load MNIST: from MNIST_DIR, from beside the checkout, or fetched once; else the small digits.

    With MNIST_DIR empty, the small digits are loaded at once.
    """
    named = os.environ.get("MNIST_DIR")
    if named == "":
        return _small_digits()
    if named is None and all((BESIDE_THE_CHECKOUT / file).is_file() for file in FILES):
        return _mnist(BESIDE_THE_CHECKOUT)
    if named is None:
        folder, reason = fetch_mnist()
        if folder is not None:
            return _mnist(folder)
        print(f"{reason} These are the small digits; MNIST_DIR names a folder with MNIST's four .gz files.")
        return _small_digits()
    missing = [file for file in FILES if not (Path(named) / file).is_file()]
    if missing:
        raise SystemExit(f"MNIST_DIR is {named}, but these files are not in it: {', '.join(missing)}")
    return _mnist(Path(named))


def _mnist(folder: Path) -> Digits:
    # The walkthroughs' train_set is the first 50,000 of MNIST's 60,000 training images.
    train = slice(0, 50_000)
    train_images, train_labels, test_images, test_labels = (folder / file for file in FILES)
    return Digits(
        "MNIST",
        28,
        _pixels(train_images)[train],
        _idx(train_labels)[train],
        _pixels(test_images),
        _idx(test_labels),
    )


def _pixels(path: Path) -> NDArray[np.float32]:
    images = _idx(path)
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(256)


def _idx(path: Path) -> NDArray[np.uint8]:
    """Read an idx file: two zero bytes, type, number of dimensions, the dimensions (big endian), the data."""
    content = gzip.decompress(path.read_bytes())
    dimensions = np.frombuffer(content, ">u4", count=content[3], offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(dimensions)


def _small_digits() -> Digits:
    from sklearn.datasets import load_digits as load_small_digits

    images, labels = load_small_digits(return_X_y=True)
    pixels = (images / 17).astype(np.float32)  # they count 0 to 16
    labels = labels.astype(np.uint8)
    # The writers of the last 360 are not those of the first 1,437.
    return Digits("8 x 8 digits", 8, pixels[:-360], labels[:-360], pixels[-360:], labels[-360:])
