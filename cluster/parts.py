"""What one worker holds of a data set, and what one pass over it adds up there.

A data set is a sequence of units (files, or chunks of an array), and a batch's place is its unit and how many
records of the unit come before it. Places do not depend on the workers, nor do blocks, cut within a batch.
So it changes no bit of a sum who holds which batches.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, field, replace
from itertools import chain
from sys import getsizeof
from typing import Any, Final, NamedTuple, Protocol

from eigenline.algorithms.batch import Batch
from eigenline.algorithms.blas_threads import blas_out_of_the_way
from eigenline.algorithms.errors import Stopped, UserError
from eigenline.algorithms.records import Work, add_up, cut

# Positions that only grow in the order of the records: no unit has so many.
_UNIT: Final = 1 << 40


class Placed(NamedTuple):
    """A batch and its place.

    Attributes
    ----------
    unit
        The file or chunk that it is of, counted from 0 in the order of the records of all workers.
    offset
        Records of the unit that come before it.
    batch
        At least one record.
    """

    unit: int
    offset: int
    batch: Batch


@dataclass(frozen=True)
class Shape:
    """What the first batch of a data set has, and all others must have.

    Attributes
    ----------
    feature_dim, column_names
        As those of `Batch`.
    """

    feature_dim: int
    column_names: tuple[str, ...] | None


class Source(Protocol):
    """Where the records of a part come from."""

    def read(self, shape: Shape | None) -> Iterator[Placed]:
        """Yield the batches of one pass, by growing places.

        Parameters
        ----------
        shape
            That batches must have, columns with names in this order; None where this part has the first batch.

        Raises
        ------
        DataError
            For records that cannot be read, or have another shape.
        """


class Chunks:
    """Batches in memory, each a unit of its own.

    Parameters
    ----------
    chunks
        The units' numbers, growing, and their records.
    """

    def __init__(self, chunks: Sequence[tuple[int, Batch]]) -> None:
        self._chunks = [(unit, batch.contiguous()) for unit, batch in chunks]

    def __sizeof__(self) -> int:
        """Bytes that Dask weighs against those of a pass, when it chooses where that runs."""
        return object.__sizeof__(self) + sum(batch.num_bytes for _, batch in self._chunks)

    def read(self, shape: Shape | None) -> Iterator[Placed]:
        """Yield the batches; see `Source`."""
        return (Placed(unit, 0, batch) for unit, batch in self._chunks if len(batch))


@dataclass(frozen=True, eq=False)
class Pass:
    """What a worker is sent for one pass.

    Attributes
    ----------
    work
        What is added up.
    firsts
        Position of each unit's first record; None where positions need only grow.
    shape
        Of all batches.
    block_bytes
        Size of a block.
    keep
        Whether later passes follow, for which records that fit are held in memory.
    """

    work: Work[Any]
    firsts: Mapping[int, int] | None
    shape: Shape | None
    block_bytes: int
    keep: bool


@dataclass(frozen=True, eq=False)
class Found:
    """What one pass added up over one part, or over some of them.

    Attributes
    ----------
    state
        The work's sum; meaningless where there is an `error`.
    counts
        Records of each unit, as far as this part knows: of a unit in several parts, the largest number is right.
    records, blocks, num_bytes, feature_dim
        As those of `PassProgress`.
    stopped
        Whether the job was asked to stop, so that the sum is not complete.
    error
        What was wrong with the records.
    """

    state: Any
    counts: dict[int, int] = field(default_factory=dict)
    records: int = 0
    blocks: int = 0
    num_bytes: int = 0
    feature_dim: int = 0
    stopped: bool = False
    error: UserError | None = None


def joined(work: Work[Any], found: Sequence[Found]) -> Found:
    """Return what several parts found, in their order; `found` has at least one."""
    whole = found[0]
    if len(found) > 1 and whole.error is None:
        # What came over a wire cannot be written to, and may lie at odd addresses.
        whole = replace(whole, state=deepcopy(whole.state), counts=dict(whole.counts))
    for part in found[1:]:
        if whole.error is not None:
            break
        if part.error is not None:
            whole = part
            break
        counts = whole.counts
        for unit, count in part.counts.items():
            counts[unit] = max(count, counts.get(unit, 0))
        whole = Found(
            work.merge(whole.state, part.state),
            counts,
            whole.records + part.records,
            whole.blocks + part.blocks,
            whole.num_bytes + part.num_bytes,
            max(whole.feature_dim, part.feature_dim),
            whole.stopped or part.stopped,
        )
    return whole


def _never() -> bool:
    return False


class Part:
    """The records of one worker.

    Parameters
    ----------
    source
        Where they come from.
    name
        What errors call the worker; empty for no name.
    threads
        Blocks that are worked on at a time; with more than one, BLAS has no threads of its own.
    limit_bytes
        Records are held in memory from the first complete pass on, where they fit.
    stopping
        True once this worker's job was asked to stop.
    """

    def __init__(
        self,
        source: Source,
        *,
        name: str = "",
        threads: int = 1,
        limit_bytes: float = float("inf"),
        stopping: Callable[[], bool] = _never,
    ) -> None:
        self.name = name
        self._source = source
        self._threads = threads
        self._limit_bytes = limit_bytes
        self._stopping = stopping
        self._held: list[Placed] | None = None
        self._begun: tuple[Placed, Iterator[Placed]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What travels is where the records come from, and not what is held of them."""
        return {**self.__dict__, "_held": None, "_begun": None}

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + getsizeof(self._source)

    def head(self, block_bytes: int) -> Found:
        """Return the first block with its place, None without records; the next pass begins with it.

        It is the `state` of what is returned.
        """
        try:
            if self._begun is None:
                source = self._source.read(None)
                first = next(source, None)
                if first is None:
                    return Found(None, stopped=self._stopping())  # a source that was stopped ends early
                self._begun = (first, source)
        except Stopped:
            return Found(None, stopped=True)
        except UserError as error:
            return Found(None, error=self._named(error))
        placed = self._begun[0]
        return Found(placed._replace(batch=next(iter(cut(placed.batch, block_bytes)))))

    def total(self, wanted: Pass) -> Found:
        """Make one pass; what goes wrong with the records is part of the result."""
        # Products of arrays at odd addresses, where they come to lie after a journey, round differently.
        work = deepcopy(wanted.work)
        tally = _Tally()
        if not wanted.keep:
            self._limit_bytes, self._held = -1, None
        blocks = self._blocks(wanted, tally)
        stopped = False
        try:
            with blas_out_of_the_way() if self._threads > 1 else nullcontext():
                state = add_up(work, blocks, self._threads)
        except Stopped as stop:
            state, stopped = stop.partial, True
        except UserError as error:
            return Found(None, error=self._named(error))
        finally:
            blocks.close()
        return Found(
            state, tally.counts, tally.records, tally.blocks, tally.num_bytes, tally.feature_dim, stopped=stopped
        )

    def _named(self, error: UserError) -> UserError:
        return type(error)(f"{self.name}: {error}") if self.name else error

    def _blocks(self, wanted: Pass, tally: _Tally) -> Generator[tuple[int, Batch], None, None]:
        for unit, offset, batch in self._placed(wanted.shape):
            first = offset + (unit * _UNIT if wanted.firsts is None else wanted.firsts[unit])
            for block in cut(batch, wanted.block_bytes):
                if self._stopping():
                    raise Stopped
                yield first, block
                first += len(block)
                tally.add(block)
            tally.counts[unit] = offset + len(batch)
        if self._stopping():  # a source that was stopped ends early, and its pass is not complete
            raise Stopped

    def _placed(self, shape: Shape | None) -> Iterator[Placed]:
        """Yield all batches, and hold them from the first complete pass on, where they fit."""
        if self._held is not None:
            yield from self._held
            return
        if self._begun is None:
            source = self._source.read(shape)
        else:
            source = chain(self._begun[:1], self._begun[1])
            self._begun = None
        kept: list[Placed] | None = []
        num_bytes = 0
        for placed in source:
            num_bytes += placed.batch.num_bytes
            if num_bytes > self._limit_bytes:
                kept = None
            if kept is not None:
                placed = placed._replace(batch=placed.batch.contiguous())
                kept.append(placed)
            yield placed
        if kept is not None and not self._stopping():
            self._held = kept
        elif kept is None:
            self._limit_bytes = -1  # it did not fit once, so no later pass keeps anything


@dataclass(eq=False)
class _Tally:
    """What a pass has read so far."""

    counts: dict[int, int] = field(default_factory=dict)
    records: int = 0
    blocks: int = 0
    num_bytes: int = 0
    feature_dim: int = 0

    def add(self, block: Batch) -> None:
        self.records += len(block)
        self.blocks += 1
        self.num_bytes += block.num_bytes
        self.feature_dim = block.feature_dim
