"""The records of a data set whose parts lie on many workers, as one `Records`.

Each pass sends its work to every part, and merges what comes back in the order of the parts. Positions are global:
the first pass that needs them is preceded by one that counts the records of each unit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from itertools import accumulate
from typing import Any, Final, Protocol

from eigenline.algorithms.batch import Batch
from eigenline.algorithms.errors import RecordsError, Stopped
from eigenline.algorithms.records import Counting, PassProgress, State, Work, sample_of
from eigenline.cluster.parts import Found, Pass, Placed, Shape

_BLOCK_BYTES: Final = 4_000_000  # as that of `RecordsHere`


class Engine(Protocol):
    """What runs a pass beside the parts, and brings back what they found."""

    def head(self, part: int, block_bytes: int) -> Found:
        """Return what `Part.head` of one part returns."""

    def total(self, wanted: Pass) -> Found:
        """Return what `Part.total` of all parts return, joined in their order.

        Raises
        ------
        UserError
            Where a worker is lost.
        """


class RecordsOnWorkers:
    """Records in parts; see `algorithms.records.Records`.

    Parameters
    ----------
    engine
        Runs the passes.
    first_units
        Each part's first unit; parts are in the order of their first batches.
    stopping
        True once the job was asked to stop.
    observe
        Called after each pass.
    block_bytes
        Size of a block.
    shape
        Of all batches, where it is known from another channel.

    Attributes
    ----------
    count
        Number of records; None before the first complete pass.
    observe, block_bytes
        As given.
    passes
        Begun so far; set it where earlier passes were made elsewhere.
    """

    def __init__(
        self,
        engine: Engine,
        first_units: Sequence[int],
        *,
        stopping: Callable[[], bool] = lambda: False,
        observe: Callable[[PassProgress], None] = lambda progress: None,
        block_bytes: int = _BLOCK_BYTES,
        shape: Shape | None = None,
    ) -> None:
        self.count: int | None = None
        self.passes = 0
        self._engine = engine
        self._first_units = first_units
        self._stopping = stopping
        self.observe = observe
        self.block_bytes = block_bytes
        self._shape = shape
        self._head: Batch | None = None
        self._firsts: dict[int, int] | None = None
        self._keep = True

    def head(self) -> Batch | None:
        """Return the first block of records; see `Records`."""
        if self._head is None:
            first: Placed | None = None
            for part, unit in enumerate(self._first_units):
                if first is not None and first.unit <= unit:
                    break
                found = self._engine.head(part, self.block_bytes)
                self._check(found)
                if found.state is not None and (first is None or found.state[:2] < first[:2]):
                    first = found.state
            if first is None:
                return None
            self._head = deepcopy(first.batch)  # at an aligned address
            self._shape = self._shape or Shape(self._head.feature_dim, self._head.column_names)
        return self._head

    def total(self, work: Work[State], *, exact: bool = True, block_bytes: int | None = None) -> State:
        """Make one pass and return its sum; see `Records`."""
        if self.head() is None:
            self.count = 0
            return work.begin()
        if exact and self._firsts is None:
            self._pass(Counting(), None, self.block_bytes, keep=True)
            if not isinstance(work, Counting):
                self.passes -= 1  # it is the first half of the first one
        firsts = self._firsts if exact else None
        try:
            state: State = self._pass(work, firsts, block_bytes or self.block_bytes, keep=self._keep)
        except RecordsError:
            if exact:
                raise
            return self.total(work, block_bytes=block_bytes)  # whose error names the record by its true number
        return state

    def sample(self, count: int) -> Batch:
        """Return about `count` records; see `Records`."""
        return sample_of(self, count)

    def release(self) -> None:
        """Keep no records; see `Records`."""
        self._keep = False

    def _pass(self, work: Work[Any], firsts: dict[int, int] | None, block_bytes: int, *, keep: bool) -> Any:
        self.passes += 1
        found = self._engine.total(Pass(work, firsts, self._shape, block_bytes, keep))
        self._check(found)
        self.count = found.records
        units = sorted(found.counts)
        firsts_of_units = accumulate((found.counts[unit] for unit in units), initial=0)
        self._firsts = dict(zip(units, firsts_of_units, strict=False))
        progress = PassProgress(self.passes, found.records, found.blocks, found.num_bytes, found.feature_dim)
        self.observe(progress)
        return found.state

    def _check(self, found: Found) -> None:
        if found.error is not None:
            raise found.error
        if found.stopped or self._stopping():
            raise Stopped(found.state if found.records else None)
