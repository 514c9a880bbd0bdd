"""Parts of a data set in this process: what is sent to them and comes back travels as bytes."""

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from eigenline.algorithms.batch import Batch
from eigenline.cluster.parts import Chunks, Found, Part, Pass, Placed, Shape, joined
from eigenline.cluster.records_on_workers import RecordsOnWorkers


class PartsHere:
    """An engine without a cluster."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = list(parts)
        self.passes = 0

    def head(self, part: int, block_bytes: int) -> Found:
        return self.travelled(self.parts[part].head(block_bytes))

    def total(self, wanted: Pass) -> Found:
        self.passes += 1
        return joined(wanted.work, [self.travelled(part.total(self.travelled(wanted))) for part in self.parts])

    @staticmethod
    def travelled(value: Any) -> Any:
        return pickle.loads(pickle.dumps(value))


@dataclass(frozen=True)
class Replicated:
    """Units that every part reads, of whose batches it takes every so many-th."""

    units: Sequence[Sequence[Batch]]
    rank: int
    parts: int

    def read(self, shape: Shape | None) -> Iterator[Placed]:
        number = 0
        for unit, batches in enumerate(self.units):
            offset = 0
            for batch in batches:
                if number % self.parts == self.rank and len(batch):
                    yield Placed(unit, offset, batch)
                number += 1
                offset += len(batch)


@dataclass(frozen=True)
class Files:
    """Some whole units."""

    units: Sequence[tuple[int, Sequence[Batch]]]

    def read(self, shape: Shape | None) -> Iterator[Placed]:
        for unit, batches in self.units:
            offset = 0
            for batch in batches:
                yield Placed(unit, offset, batch)
                offset += len(batch)


def units_of(batches: Sequence[Batch], each: Sequence[int] = (3, 1, 4)) -> list[list[Batch]]:
    """Group batches into units of uneven size."""
    units, start = [], 0
    while start < len(batches):
        size = each[len(units) % len(each)]
        units.append(list(batches[start : start + size]))
        start += size
    return units


def sources(batches: Sequence[Batch], parts: int, dealt: str) -> list[tuple[int, Any]]:
    """Deal batches out to parts: ``sharded`` by turns, ``unevenly`` in growing runs, ``replicated`` by batches."""
    units = units_of(batches)
    if dealt == "replicated":
        return [(0, Replicated(units, rank, parts)) for rank in range(parts)]
    if dealt == "chunks":
        return [
            (rank, Chunks([(unit, batch) for unit, batch in enumerate(batches) if unit % parts == rank]))
            for rank in range(parts)
        ]
    if dealt == "sharded":
        owner = [unit % parts for unit in range(len(units))]
    else:
        owner = [min(parts - 1, int(parts * (unit / len(units)) ** 2)) for unit in range(len(units))]
    dealt_out = [
        [(unit, units[unit]) for unit in range(len(units)) if owner[unit] == part] for part in range(parts)
    ]
    found = [(mine[0][0] if mine else len(units), Files(mine)) for mine in dealt_out]
    return sorted(found, key=lambda one: one[0])


def records_in_parts(
    batches: Sequence[Batch], parts: int, dealt: str, threads: int = 1, **options: Any
) -> RecordsOnWorkers:
    found = sources(batches, parts, dealt)
    engine = PartsHere([Part(source, threads=threads) for _, source in found])
    return RecordsOnWorkers(engine, [first for first, _ in found], **options)


def batches_of(features: Any, labels: Any = None, weights: Any = None, size: int = 700) -> list[Batch]:
    """Cut arrays into batches, each with memory of its own."""
    kind = np.array if isinstance(features, np.ndarray) else csr_array
    return [
        Batch(
            kind(features[start : start + size]),
            None if labels is None else labels[start : start + size].copy(),
            None if weights is None else weights[start : start + size].copy(),
        )
        for start in range(0, features.shape[0], size)
    ]
