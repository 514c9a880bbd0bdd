"""What one of several hosts holds of a job's channels, and the tasks that the leading host runs there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

from eigenline.algorithms.blas_threads import blas_threads
from eigenline.algorithms.errors import DataError
from eigenline.cluster.hosts import here
from eigenline.cluster.parts import Part, Placed, Shape
from eigenline.container.channel_files import find_files, fingerprint
from eigenline.container.channels import FileChannel, PipeChannel, share_of_memory
from eigenline.container.columns import Columns, Labels
from eigenline.container.configuration import ChannelDescription
from eigenline.container.folders import Folders
from eigenline.container.job_log import JobLog
from eigenline.container.stopping import Stopping
from eigenline.formats.machine_limits import memory_limit

Result = TypeVar("Result")


class DataFile(NamedTuple):
    """A file of a channel: its path below the channel's folder, and its size in bytes."""

    path: str
    num_bytes: int


@dataclass
class HostHere:
    """What tasks find on their host.

    Attributes
    ----------
    folders, stopping, log
        This host's.
    columns
        What is known of the columns; shared by all channels.
    """

    folders: Folders
    stopping: Stopping
    log: JobLog
    columns: Columns = field(default_factory=Columns)


@dataclass(frozen=True)
class Share:
    """The part of a channel that one host reads.

    Attributes
    ----------
    description, labels
        The channel, and whether it must have labels.
    files
        Of a channel of files: the number of each file among those of all hosts, and its path; empty for a pipe.
    unit
        Of a pipe: its number.
    rank, of
        Of the batches this host takes those whose number, counted from 0, leaves `rank` when divided by `of`.
    on_threads
        Whether blocks share this host's CPUs, rather than products within a block.
    feature_dim, num_classes, classes
        As those of `Columns`.
    """

    description: ChannelDescription
    labels: Labels
    files: tuple[tuple[int, str], ...] = ()
    unit: int = 0
    rank: int = 0
    of: int = 1
    on_threads: bool = False
    feature_dim: int | None = None
    num_classes: int | None = None
    classes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Inventory:
    """The task that lists the files of this host's channels, in the order in which they are read.

    Attributes
    ----------
    descriptions
        The channels of files.
    may_be_empty
        Names of those of which a host may have nothing.
    """

    descriptions: Sequence[ChannelDescription]
    may_be_empty: frozenset[str]

    def __call__(self) -> dict[str, list[DataFile]]:
        """List them."""
        root = _here().folders.data
        found = {}
        for description in self.descriptions:
            name, folder = description.name, root / description.name
            empty = name in self.may_be_empty and not any(path.is_file() for path in folder.glob("**/*"))
            files = [] if empty else find_files(name, folder)
            found[name] = [DataFile(str(path.relative_to(folder)), path.stat().st_size) for path in files]
        return found


@dataclass(frozen=True)
class Piece:
    """The task that reads some bytes of a file."""

    channel: str
    path: str
    start: int
    size: int

    def __call__(self) -> bytes:
        """Read them."""
        path = _here().folders.data / self.channel / self.path
        try:
            with path.open("rb") as file:
                file.seek(self.start)
                return file.read(self.size)
        except OSError as error:
            raise DataError(f"Channel {self.channel!r}: {path} cannot be read: {error.strerror}.") from error


@dataclass(frozen=True)
class Fingerprints:
    """The task that returns name and digest of some files, for `FileChannel.identity`."""

    channel: str
    paths: tuple[str, ...]
    whole: bool

    def __call__(self) -> list[tuple[str, str]]:
        """Read them."""
        host = _here()
        found = []
        for name in self.paths:
            path = host.folders.data / self.channel / name
            try:
                with path.open("rb", buffering=0) as file:
                    found.append((path.name, fingerprint(file, self.whole, host.stopping)))
            except OSError as error:
                raise DataError(f"Channel {self.channel!r}: {path} cannot be read: {error.strerror}.") from error
        return found


@dataclass(frozen=True)
class ClassesOf:
    """The task that returns the distinct labels of a share, where they are texts."""

    share: Share

    def __call__(self) -> frozenset[str]:
        """Read them."""
        return _opened(self.share).channel.classes()


@dataclass(frozen=True)
class OpenPart:
    """The task that opens a share."""

    share: Share

    def __call__(self) -> Part:
        """Open it."""
        host, share = _here(), self.share
        limit = share_of_memory(share.description.name) * memory_limit()
        if share.files:
            size = sum(
                (host.folders.data / share.description.name / path).stat().st_size for _, path in share.files
            )
            what = f"{len(share.files)} file{'s' * (len(share.files) > 1)} ({size / 1e6:,.1f} MB) of the channel"
            turns = f", every {share.of} batches one" if share.of > 1 else ""
            host.log.info(f"This host reads {what} {share.description.name!r}{turns}.")
        return Part(
            _opened(share),
            name=f"Host {host.log.host}",
            threads=blas_threads() if share.on_threads else 1,
            limit_bytes=limit,
            stopping=host.stopping,
        )


def _opened(share: Share) -> _ShareSource:
    host = _here()
    columns, description = host.columns, share.description
    columns.feature_dim, columns.num_classes = share.feature_dim, share.num_classes
    columns.classes = share.classes
    root = host.folders.data
    units: Mapping[str, int] = {}
    channel: FileChannel | PipeChannel
    if description.mode == "Pipe":
        channel = PipeChannel(description, root, share.labels, host.stopping, columns=columns, log=host.log)
    else:
        paths = [(unit, root / description.name / name) for unit, name in share.files]
        units = {str(path): unit for unit, path in paths}
        files: list[Path] = [path for _, path in paths]
        channel = FileChannel(description, files, share.labels, host.stopping, columns, host.log)
    return _ShareSource(share, channel, units, columns)


class _ShareSource:
    """The batches of a share, with their places; see `cluster.parts.Source`."""

    def __init__(
        self, share: Share, channel: FileChannel | PipeChannel, units: Mapping[str, int], columns: Columns
    ) -> None:
        self.channel = channel
        self._share = share
        self._units = units
        self._columns = columns

    def read(self, shape: Shape | None) -> Iterator[Placed]:
        """Yield the batches; see `Source`."""
        share = self._share
        if shape is not None and self._columns.names is None:
            self._columns.names = shape.column_names
        number = offset = 0
        before = ""
        for name, batch in self.channel.blocks():
            if name != before:
                before, offset = name, 0
            if not len(batch):
                continue
            if shape is not None and batch.feature_dim != shape.feature_dim:
                raise DataError(
                    f"Channel {self.channel.name!r}: {name} has {batch.feature_dim} features, but the first "
                    f"records have {shape.feature_dim}. All files of a channel must have the same columns."
                )
            if number % share.of == share.rank:
                yield Placed(self._units.get(name, share.unit), offset, batch)
            number += 1
            offset += len(batch)


def _here() -> HostHere:
    found = here()
    assert isinstance(found, HostHere)
    return found


Task = Callable[[], Result]
