"""Where the parallel models start: the service's own stream of random numbers, which is MXNet's on a CPU."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.linear_learner.settings import Settings

MOST_STREAMS = 1024
FEWEST_NUMBERS = 64  # of an array that one stream fills
SEED_FACTOR = 127


class MXNetRandom:
    """Random numbers in float32, array after array, as MXNet's CPU generator draws them.

    An array of N numbers is cut into ``ceil(N / 64)`` contiguous blocks, at most 1,024, and each is filled from a
    ``std::mt19937`` of its own; stream i starts with ``127 seed + i`` and goes on from array to array.

    Source: compared with MXNet 1.9.1 (a test does so where it is installed). That the service draws so reproduces
    the first-epoch losses of public jobs to 1e-6.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._streams: list[np.random.RandomState] = []  # seeded by an integer, these are std::mt19937

    def uniform(self, size: int, scale: float) -> NDArray[np.float32]:
        """Return `size` numbers in [-scale, scale): one 32-bit draw u each, ``(u / 2^32) 2 scale - scale``."""
        low, width = np.float32(-scale), np.float32(scale) - np.float32(-scale)
        parts = [_fraction(stream, count) for stream, count in self._blocks(size)]
        return np.asarray(np.concatenate(parts) * width + low)

    def normal(self, size: int, sigma: float) -> NDArray[np.float32]:
        """Return `size` normal numbers: Marsaglia's polar method, the second number of each accepted pair.

        Chosen: the standard library's method with nothing kept between two numbers, which is what MXNet 1.9.1
        computes; no public job shows what the service does.
        """
        parts = [_polar(stream, count) for stream, count in self._blocks(size)]
        return np.asarray(np.concatenate(parts) * np.float32(sigma))

    def _blocks(self, size: int) -> list[tuple[np.random.RandomState, int]]:
        streams = min(-(-size // FEWEST_NUMBERS), MOST_STREAMS)
        while len(self._streams) < streams:
            seed = (self._seed * SEED_FACTOR + len(self._streams)) % 2**32
            self._streams.append(np.random.RandomState(seed))
        block = -(-size // streams)
        starts = range(0, size, block)
        return [
            (stream, min(block, size - start))
            for stream, start in zip(self._streams[:streams], starts, strict=False)
        ]


def _fraction(stream: np.random.RandomState, count: int) -> NDArray[np.float32]:
    """Return 32-bit draws as float32 in [0, 1), as C++'s ``generate_canonical`` does."""
    drawn = stream.randint(0, 2**32, size=count, dtype=np.uint32).astype(np.float32) / np.float32(2**32)
    return np.asarray(np.minimum(drawn, np.nextafter(np.float32(1), np.float32(0))))


def _polar(stream: np.random.RandomState, count: int) -> NDArray[np.float32]:
    accepted: list[NDArray[np.float32]] = []
    found = 0
    while found < count:
        # pairs are drawn one number at a time: no more of them than numbers are still missing
        pairs = 2 * _fraction(stream, 2 * (count - found)).reshape(-1, 2) - np.float32(1)
        square = pairs[:, 0] * pairs[:, 0] + pairs[:, 1] * pairs[:, 1]
        inside = (square <= 1) & (square != 0)
        square = square[inside]
        accepted.append(pairs[inside, 1] * np.sqrt(-2 * np.log(square) / square))
        found += len(square)
    return np.concatenate(accepted)


def service_weights(settings: Settings, feature_dim: int, models: int) -> NDArray[np.float32]:
    """Return the service's initial weights, shape (feature_dim, models * outputs).

    The models' arrays are drawn in string order of their names ``0_``, ``10_``, ..., ``19_``, ``1_``, ``20_``,
    ...: the separator sorts after the digits.
    """
    outputs = settings.num_outputs
    weights = np.empty((feature_dim, models * outputs), np.float32)
    random = MXNetRandom(settings.seed)
    for model in sorted(range(models), key=lambda number: f"{number}_"):
        size = feature_dim * outputs
        if settings.init_method == "uniform":
            drawn = random.uniform(size, settings.init_scale)
        else:
            drawn = random.normal(size, settings.init_sigma)
        weights[:, model * outputs : (model + 1) * outputs] = drawn.reshape(feature_dim, outputs)
    return weights


def own_weights(settings: Settings, feature_dim: int, numbers: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return initial weights of `best`, shape (feature_dim, len(numbers) * outputs).

    Each model has its own stream of random numbers, so that it starts alike whatever is trained beside it.
    """
    parts = []
    for number in numbers:
        generator = np.random.default_rng([settings.seed, 1, int(number)])
        shape = (feature_dim, settings.num_outputs)
        if settings.init_method == "uniform":
            parts.append(generator.uniform(-settings.init_scale, settings.init_scale, shape))
        else:
            parts.append(generator.normal(0, settings.init_sigma, shape))
    return np.concatenate(parts, axis=1)
