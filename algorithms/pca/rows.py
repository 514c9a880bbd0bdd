"""Records kept in memory while they are few: what the row-side route and repeated passes read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from algorithms.batch import Batch, Features, is_sparse
from algorithms.pca.blocks import Precision

# Beyond the batch and the model, training may hold so much of the channel, and no more.
HELD_BYTES: Final = 256 << 20


@dataclass(frozen=True, eq=False)
class HeldRows:
    """The records seen so far in the precision of the products; `parts` is None once they were too many."""

    parts: tuple[Features, ...] | None = ()
    num_bytes: int = 0

    @property
    def count(self) -> int:
        """Number of records held."""
        return sum(int(part.shape[0]) for part in self.parts or ())


def update(state: HeldRows, batch: Batch, precision: Precision, limit_bytes: int = HELD_BYTES) -> HeldRows:
    """Add a batch: without a copy where it is of the precision already."""
    if state.parts is None:
        return state
    width = batch.features.dtype.itemsize
    narrowed = (
        batch.num_bytes * precision().itemsize // width if not is_sparse(batch.features) else batch.num_bytes
    )
    num_bytes = state.num_bytes + narrowed
    if num_bytes > limit_bytes:
        return HeldRows(None, num_bytes)
    return HeldRows((*state.parts, batch.features.astype(precision, copy=False)), num_bytes)


def merge(first: HeldRows, second: HeldRows, limit_bytes: int = HELD_BYTES) -> HeldRows:
    """Hold both states' records, as long as they fit."""
    num_bytes = first.num_bytes + second.num_bytes
    if first.parts is None or second.parts is None or num_bytes > limit_bytes:
        return HeldRows(None, num_bytes)
    return HeldRows(first.parts + second.parts, num_bytes)
