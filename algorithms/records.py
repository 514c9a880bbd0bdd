"""Records, wherever they are, and what one pass over them adds up.

A model is found by passes; a pass is a sum over records; everything else happens on small arrays in one place. So
the maths has no loop over records: it hands out the body of the loop, a `Work`, and a `Records` runs it, here on
threads, elsewhere on many hosts. Three rules make the result the same bytes for any number of threads and hosts:

- positions are global: `first` is a block's place among all records, whoever holds them, and whatever is drawn,
  split or sampled is drawn by a hash of the position;
- blocks are cut within a batch of the source, so they do not depend on who reads them;
- sums that grow with the records are `PairSum`, which do not depend on how their terms are grouped, and what is
  kept of the records themselves is kept `InOrder` of their positions, whoever read them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter
from typing import Any, Final, Generic, Protocol, Self, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Batch, Batches, HeldBatches, concatenate, is_sparse
from eigenline.algorithms.blas_threads import in_order
from eigenline.algorithms.errors import Stopped as Stopped

State = TypeVar("State")
Item = TypeVar("Item")

# A block's features and its products should stay in the processor's cache, and outweigh Python's overhead.
_BLOCK_BYTES: Final = 4_000_000


class Work(Protocol[State]):
    """What one pass adds up. Small, pure and picklable: it travels to where the records are.

    ``update(state, block, first)`` must equal ``merge(state, update(begin(), block, first))`` to the bit: a
    block's own sum is computed first and then added. Blocks come in any order, and any sums are merged.
    """

    def begin(self) -> State:
        """Return the sum over no record."""

    def update(self, state: State, batch: Batch, first: int) -> State:
        """Add a block whose first record stands at position `first` among all records; may change `state`."""

    def merge(self, first: State, second: State) -> State:
        """Add the sum over other records to the sum over some; may change `first`."""


@dataclass(frozen=True, slots=True)
class PassProgress:
    """How far a pass has come.

    Attributes
    ----------
    pass_number
        Passes begun so far, this one included.
    records, blocks, num_bytes
        Of this pass.
    feature_dim
        Features of a record of the last block.
    """

    pass_number: int
    records: int
    blocks: int
    num_bytes: int
    feature_dim: int


@runtime_checkable
class Records(Protocol):
    """The records of a channel, wherever they are.

    Attributes
    ----------
    count
        Number of records; None before the first complete pass.
    """

    count: int | None

    def head(self) -> Batch | None:
        """Return the first batch that has records, before the first pass; None where there are none.

        It costs no pass: the next one begins with them.

        Raises
        ------
        Stopped
            Where the job was asked to stop before any record came.
        """

    def total(self, work: Work[State], *, exact: bool = True, block_bytes: int | None = None) -> State:
        """Make one pass and return its sum.

        Parameters
        ----------
        work
            What is added up.
        exact
            False where the work needs no more of the positions than that they grow in the order of the records:
            that spares the pass which counts the records of parts that come before others.
        block_bytes
            Size of a block, where it is not the usual one.

        Raises
        ------
        Stopped
            Where the job was asked to stop before the pass was complete.
        DataError
            Where the records cannot be read.
        """

    def sample(self, count: int) -> Batch:
        """Return about `count` records in stored order, chosen by a hash of their position; all of fewer.

        Raises
        ------
        Stopped
            Where the job was asked to stop before they were found.
        """

    def release(self) -> None:
        """Keep no records for later passes: this one, or the next where none is under way, is the last."""


class RecordsHere:
    """Records that this process reads, its threads sharing the blocks of a pass.

    Parameters
    ----------
    batches
        The records; each `iter()` is one pass.
    threads
        Blocks that are worked on at a time. With one, states are updated in place; with more, each block has a
        state of its own. Neither changes a bit of the result.
    stopping
        True once the job was asked to stop; looked at before each block.
    observe
        Called after each block.
    first
        Position of the first record among all records, where these are a part of them.
    block_bytes
        Size of a block: the default suits the processor's cache; more suits works whose state is large.

    Attributes
    ----------
    passes
        Begun so far; set it where earlier passes were made elsewhere.
    """

    def __init__(
        self,
        batches: Batches,
        *,
        threads: int = 1,
        stopping: Callable[[], bool] = lambda: False,
        observe: Callable[[PassProgress], None] = lambda progress: None,
        first: int = 0,
        block_bytes: int = _BLOCK_BYTES,
    ) -> None:
        self.count: int | None = None
        self.passes = 0
        self._batches = batches
        self._threads = threads
        self._stopping = stopping
        self._observe = observe
        self._first = first
        self._block_bytes = block_bytes
        self._begun: tuple[Batch, Iterator[Batch]] | None = None

    def head(self) -> Batch | None:
        """Return the first records; see `Records`."""
        if self._begun is None:
            source = iter(self._batches)
            first = next((batch for batch in source if len(batch)), None)
            if first is None:
                if self._stopping():  # a source that was stopped ends early
                    raise Stopped
                return None
            self._begun = (first, source)
        return self._begun[0]

    def release(self) -> None:
        """Keep no records; see `Records`."""
        if isinstance(self._batches, HeldBatches):
            self._batches.release()

    def total(self, work: Work[State], *, exact: bool = True, block_bytes: int | None = None) -> State:
        """Make one pass and return its sum; see `Records`."""
        return add_up(work, self._blocks(block_bytes or self._block_bytes), self._threads)

    def sample(self, count: int) -> Batch:
        """Return about `count` records; see `Records`."""
        return sample_of(self, count)

    def _blocks(self, block_bytes: int) -> Iterator[tuple[int, Batch]]:
        """Yield each block of one pass with the position of its first record."""
        self.passes += 1
        records = blocks = num_bytes = 0
        source: Iterable[Batch] = self._batches
        if self._begun is not None:
            source = chain(self._begun[:1], self._begun[1])
            self._begun = None
        for batch in source:
            for block in cut(batch, block_bytes):
                if self._stopping():
                    raise Stopped
                yield self._first + records, block
                records += len(block)
                blocks += 1
                num_bytes += block.num_bytes
                self._observe(PassProgress(self.passes, records, blocks, num_bytes, block.feature_dim))
        if self._stopping():  # a source that was stopped ends early, and its pass is not complete
            raise Stopped
        self.count = records


def as_records(source: Batches | Records, stopping: Callable[[], bool] = lambda: False) -> Records:
    """Return records as they are, and batches as records that this process reads in one thread."""
    return source if isinstance(source, Records) else RecordsHere(source, stopping=stopping)


def add_up(work: Work[State], blocks: Iterator[tuple[int, Batch]], threads: int = 1) -> State:
    """Add up blocks, each given with the position of its first record.

    Raises
    ------
    Stopped
        Where the blocks end with it: with the sum so far.
    """
    state = work.begin()

    def alone(item: tuple[int, Batch]) -> State:
        first, block = item
        return work.update(work.begin(), block, first)

    try:
        if threads < 2:
            for first, block in blocks:
                state = work.update(state, block, first)
            return state
        for part in in_order(alone, blocks, threads):
            state = work.merge(state, part)
    except Stopped:
        raise Stopped(state) from None
    return state


def sample_of(records: Records, count: int) -> Batch:
    """Return about `count` of some records; see `Records.sample`."""
    if records.count is None:
        records.total(Counting())
    return concatenate(records.total(_Picking(count / max(1, records.count or 0))).values)


def cut(batch: Batch, block_bytes: int = _BLOCK_BYTES) -> Iterable[Batch]:
    """Cut a batch into blocks; the default suits the processor's cache."""
    if not len(batch):
        return
    size = _block_rows(batch, block_bytes)
    if size >= len(batch):
        yield batch  # rows of sparse features would be copied
        return
    for start in range(0, len(batch), size):
        yield batch.rows(start, start + size)


def uniform(positions: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """Return a number in [0, 1) for each position: the same wherever and whenever its record is read.

    Source: the finaliser of splitmix64 (Steele, Lea and Flood 2014); its output bits are uniform.

    Parameters
    ----------
    positions
        Places among all records, shape (n,), int64.
    seed
        Another seed gives independent numbers.
    """
    bits = positions.astype(np.uint64) + np.uint64((seed * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019) % 2**64)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((bits ^ (bits >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) * 2.0**-53


@dataclass(frozen=True, slots=True, eq=False)
class PairSum:
    """A sum of float64 arrays that carries the digits which rounding would drop.

    The value is ``high + low``: the rounded sum, and the sum of all roundings. Adding the same terms in other
    groups then rounds to the same float64, which is what makes a model independent of the number of hosts.

    Source: Knuth, The Art of Computer Programming 2, section 4.2.2, theorem B (two-sum).

    Attributes
    ----------
    high, low
        Arrays of one shape, float64.
    """

    high: NDArray[np.float64]
    low: NDArray[np.float64]

    @classmethod
    def zeros(cls, shape: int | tuple[int, ...]) -> Self:
        """Return the sum of nothing."""
        return cls(np.zeros(shape), np.zeros(shape))

    @property
    def value(self) -> NDArray[np.float64]:
        """The sum, rounded once."""
        return self.high + self.low

    def add(self, term: NDArray[np.floating[Any]]) -> None:
        """Add an array of the sum's shape, in place."""
        total = self.high + term
        shifted = total - self.high
        self.low[...] += (self.high - (total - shifted)) + (term - shifted)
        self.high[...] = total

    def merge(self, other: PairSum) -> None:
        """Add another sum, in place."""
        self.add(other.high)
        self.low[...] += other.low


@dataclass(frozen=True, slots=True, eq=False)
class InOrder(Generic[Item]):
    """What a pass keeps of the records, rather than adds up, in the order of the records, whoever read them.

    Attributes
    ----------
    items
        Each with the position of the block that it is of, in any order.
    """

    items: list[tuple[int, Item]] = field(default_factory=list)

    @property
    def values(self) -> list[Item]:
        """The items in the order of the records."""
        return [item for _, item in sorted(self.items, key=itemgetter(0))]

    def add(self, first: int, item: Item) -> None:
        """Keep an item of the block whose first record stands at position `first`."""
        self.items.append((first, item))

    def merge(self, other: InOrder[Item]) -> None:
        """Keep the items of other blocks too."""
        self.items.extend(other.items)


class Counting:
    """The work of a pass that only counts."""

    def begin(self) -> None:
        """Return nothing."""

    def update(self, state: None, batch: Batch, first: int) -> None:
        """Add nothing."""

    def merge(self, first: None, second: None) -> None:
        """Add nothing."""


@dataclass(frozen=True)
class _Picking:
    """The work of a pass that keeps a share of the records."""

    share: float

    def begin(self) -> InOrder[Batch]:
        """Return nothing."""
        return InOrder()

    def update(self, state: InOrder[Batch], batch: Batch, first: int) -> InOrder[Batch]:
        """Keep a copy of some records."""
        if len(part := _pick(batch, first, self.share)):
            state.add(first, part)
        return state

    def merge(self, first: InOrder[Batch], second: InOrder[Batch]) -> InOrder[Batch]:
        """Keep both."""
        first.merge(second)
        return first


_SAMPLE_SEED: Final = 0x5A3B1E


def in_sample(positions: NDArray[np.int64], share: float) -> NDArray[np.bool_]:
    """Return whether the sample of so large a share of all records has the record at each position."""
    return uniform(positions, _SAMPLE_SEED) < share


def _pick(block: Batch, first: int, share: float) -> Batch:
    """Copy the records of a block that a sample of this share has."""
    chosen = np.flatnonzero(in_sample(np.arange(first, first + len(block)), share))
    features: Any = block.features
    return Batch(
        features[chosen],
        None if block.labels is None else block.labels[chosen],
        None if block.weights is None else block.weights[chosen],
        block.column_names,
    )


def _block_rows(batch: Batch, block_bytes: int) -> int:
    """Return how many records make a block; of wide sparse ones more, as each block costs O(feature_dim)."""
    row_bytes = max(1, batch.num_bytes // len(batch))
    scale = max(1, block_bytes // _BLOCK_BYTES)
    if is_sparse(batch.features):
        return max(4096, min(64 * batch.feature_dim * scale, 16 * block_bytes) // row_bytes)
    return max(64, min(4096 * scale, block_bytes // row_bytes))
