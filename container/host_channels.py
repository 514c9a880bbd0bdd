"""The channels of a job with several hosts: who reads which files, or all of them on the host that leads."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from eigenline.algorithms.errors import DataError, Stopped, excerpt
from eigenline.cluster.hosts import Leader
from eigenline.cluster.records_on_workers import RecordsOnWorkers
from eigenline.container.channel_files import WHOLE_BYTES
from eigenline.container.channels import Channel, FileChannel, PipeChannel, check_given
from eigenline.container.columns import ChannelReader, Columns, Labels
from eigenline.container.configuration import ChannelDescription
from eigenline.container.folders import Folders
from eigenline.container.host_share import ClassesOf, DataFile, Fingerprints, Inventory, OpenPart, Piece, Share
from eigenline.container.job_log import JobLog
from eigenline.container.stopping import Stopping

# Chosen: of so few bytes a pass takes less time on one host than a round between several.
FEW_BYTES: Final = 256_000_000
_PIECE_BYTES: Final = 32_000_000
_MOST_UNEVEN: Final = 1.2  # of a host's even share, where whole files are dealt out


@dataclass(frozen=True)
class Located:
    """A file, and the host that has it; the name of none where all have it."""

    file: DataFile
    host: str = ""


@dataclass(frozen=True, eq=False)
class HostChannels:
    """Where the data of a job with several hosts are.

    Attributes
    ----------
    leader
        The connection to all hosts.
    descriptions
        The channels.
    files
        Of each channel of files, in the order in which one host would read them.
    labels, columns, log, stopping
        Of the job, on this host.
    """

    leader: Leader
    descriptions: Sequence[ChannelDescription]
    files: Mapping[str, Sequence[Located]]
    labels: Labels
    columns: Columns
    log: JobLog
    stopping: Callable[[], bool]

    @classmethod
    def find(
        cls,
        leader: Leader,
        descriptions: Sequence[ChannelDescription],
        folder: Path,
        labels: Labels,
        columns: Columns,
        log: JobLog,
        stopping: Callable[[], bool],
    ) -> HostChannels:
        """Ask all hosts for their files.

        Raises
        ------
        DataError
            For a channel that is missing or empty, or that should be the same on all hosts and is not.
        """
        check_given([description.name for description in descriptions], folder)
        for description in descriptions:
            ChannelReader(description, labels, columns)  # which refuses content types, and notes the target's name
        of_files = [description for description in descriptions if description.mode != "Pipe"]
        sharded = frozenset(description.name for description in of_files if description.sharded)
        task = Inventory(of_files, sharded)
        found = {name: leader.on(name, task) for name in leader.addresses} if of_files else {}
        files = {
            one.name: _located(one, {host: channels[one.name] for host, channels in found.items()})
            for one in of_files
        }
        return cls(leader, descriptions, files, labels, columns, log, stopping)

    @property
    def num_bytes(self) -> float:
        """Of all channels; infinite where one comes through a pipe."""
        if len(self.files) < len(self.descriptions):
            return float("inf")
        return float(sum(one.file.num_bytes for files in self.files.values() for one in files))

    def gathered(self, folders: Folders, stopping: Stopping, reason: str) -> dict[str, Channel]:
        """Return the channels as this host reads them alone, for which it fetches the files of others.

        Parameters
        ----------
        reason
            Why one host trains, for errors.

        Raises
        ------
        DataError
            Where a channel cannot be brought here.
        """
        channels: dict[str, Channel] = {}
        place: Path | None = None
        for description in self.descriptions:
            name, options = description.name, {"columns": self.columns, "log": self.log}
            if description.mode == "Pipe":
                if description.sharded:
                    raise DataError(
                        f"{reason}, but the channel {name!r} comes to each host in part, through a pipe "
                        "(ShardedByS3Key). Use FullyReplicated, or the File mode."
                    )
                channels[name] = PipeChannel(description, folders.data, self.labels, stopping, **options)  # type: ignore[arg-type]
                continue
            here = folders.data / name
            if any(one.host for one in self.files[name]):
                place = place or self._room(reason)
                paths = [self._fetched(name, one, here, place) for one in self.files[name]]
            else:
                paths = [here / one.file.path for one in self.files[name]]
            channels[name] = FileChannel(description, paths, self.labels, stopping, **options)  # type: ignore[arg-type]
        return channels

    def distributed(self, *, on_threads: bool) -> dict[str, RecordsOnWorkers]:
        """Return the channels as records that all hosts read."""
        shares = {one.name: self._shares(one, on_threads) for one in self.descriptions}
        texts: Iterable[frozenset[str]] = (
            self.leader.on(host, ClassesOf(share)) for host, share in shares["train"] if share.files
        )
        self.columns.name_classes(sorted(frozenset().union(*texts)))
        if self.columns.classes is not None:
            names = ", ".join(map(excerpt, self.columns.classes[:100]))
            self.log.info(f"Labels are texts, numbered in their order: {names}.")
        channels: dict[str, RecordsOnWorkers] = {}
        for name in sorted(shares, key=lambda name: name != "train"):
            parts = [
                (host, OpenPart(replace(share, classes=self.columns.classes))) for host, share in shares[name]
            ]
            first_units = [share.files[0][0] if share.files else share.unit for _, share in shares[name]]
            records = RecordsOnWorkers(self.leader.engine(parts), first_units, stopping=self.stopping)
            channels[name] = records
            if name == "train":
                head = records.head()
                if head is None:
                    if self.stopping():
                        raise Stopped
                    raise DataError(f"Channel {name!r} is empty: its files hold no record.")
                self.columns.names = self.columns.names or head.column_names
            idle = sorted(set(self.leader.addresses) - {host for host, _ in shares[name]})
            if idle:
                self.log.info(
                    f"{', '.join(idle)} ha{'s' if len(idle) == 1 else 've'} no file of {name!r} and idle."
                )
        return channels

    def identity(self, description: ChannelDescription) -> str:
        """Return what `FileChannel.identity` or `PipeChannel.identity` of one host would return."""
        name = description.name
        if description.mode == "Pipe":
            return f"{name}: pipe of {description.content_type}"
        files = self.files[name]
        whole = sum(one.file.num_bytes for one in files) <= WHOLE_BYTES
        found: dict[Located, tuple[str, str]] = {}
        for host in sorted({one.host for one in files}):
            of_host = [one for one in files if one.host == host]
            task = Fingerprints(name, tuple(one.file.path for one in of_host), whole)
            answers = self.leader.on(host or min(self.leader.addresses), task)
            found.update(zip(of_host, answers, strict=True))
        return f"{name}: {[found[one] for one in files]} of {description.content_type}"

    def _shares(self, description: ChannelDescription, on_threads: bool) -> list[tuple[str, Share]]:
        """Return which host reads what, in the order of the first records."""
        hosts = list(self.leader.addresses)
        share = Share(
            description,
            self.labels,
            on_threads=on_threads,
            feature_dim=self.columns.feature_dim,
            num_classes=self.columns.num_classes,
        )
        by_turns = [(host, replace(share, rank=rank, of=len(hosts))) for rank, host in enumerate(hosts)]
        if description.mode == "Pipe":
            if description.sharded:
                return [(host, replace(share, unit=rank)) for rank, host in enumerate(hosts)]
            return by_turns
        files = self.files[description.name]
        numbered = [(unit, one.file.path) for unit, one in enumerate(files)]
        if any(one.host for one in files):
            owners = [one.host for one in files]
        else:
            dealt = dealt_out([one.file.num_bytes for one in files], len(hosts))
            if dealt is None:
                return [(host, replace(one, files=tuple(numbered))) for host, one in by_turns]
            owners = [hosts[owner] for owner in dealt]
        found = []
        for host in hosts:
            own = tuple(one for one, owner in zip(numbered, owners, strict=True) if owner == host)
            if own:
                found.append((host, replace(share, files=own)))
        return sorted(found, key=lambda one: one[1].files[0][0])

    def _room(self, reason: str) -> Path:
        """Return a folder with room for the files of other hosts."""
        wanted = sum(one.file.num_bytes for files in self.files.values() for one in files if one.host)
        free = shutil.disk_usage(tempfile.gettempdir()).free
        if wanted > 0.9 * free:
            raise DataError(
                f"{reason}, but the hosts' shares of the data have {wanted / 1e9:,.1f} GB together, and this host "
                f"has room for {free / 1e9:,.1f} GB. Use FullyReplicated, or larger volumes."
            )
        return Path(tempfile.mkdtemp(prefix="eigenline-"))

    def _fetched(self, channel: str, one: Located, here: Path, place: Path) -> Path:
        """Bring a file here, unless it is this host's own; the path names the host that it is of."""
        if one.host == min(self.leader.addresses):
            return here / one.file.path
        path = place / one.host / channel / one.file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for start in range(0, one.file.num_bytes, _PIECE_BYTES):
                if self.stopping():
                    raise Stopped
                size = min(_PIECE_BYTES, one.file.num_bytes - start)
                file.write(self.leader.on(one.host, Piece(channel, one.file.path, start, size)))
        return path


def dealt_out(sizes: Sequence[int], hosts: int) -> list[int] | None:
    """Return which host reads each file, the largest dealt out first; None where that would be too uneven.

    Parameters
    ----------
    sizes
        Of the files, in bytes.
    hosts
        How many there are.
    """
    loads, owners = [0] * hosts, [0] * len(sizes)
    for file in sorted(range(len(sizes)), key=lambda file: (-sizes[file], file)):
        owner = min(range(hosts), key=lambda host: (loads[host], host))
        owners[file] = owner
        loads[owner] += sizes[file]
    return owners if max(loads) <= _MOST_UNEVEN * sum(loads) / hosts else None


def _located(description: ChannelDescription, found: Mapping[str, Sequence[DataFile]]) -> list[Located]:
    """Return a channel's files in the order in which one host would read them."""
    name, first = description.name, min(found)
    same = all(files == found[first] for files in found.values())
    if same and found[first]:  # local mode shows each host all files, whatever was asked for
        return [Located(file) for file in found[first]]
    if not description.sharded:
        other = next(host for host, files in found.items() if files != found[first])
        raise DataError(
            f"Channel {name!r} is FullyReplicated, but {other} has other files than {first}: "
            f"{len(found[other])} and {len(found[first])}, or of other names or sizes. Expected the same files "
            "on every host, or ShardedByS3Key."
        )
    located = [Located(file, host) for host, files in found.items() for file in files]
    if not located:
        raise DataError(f"Channel {name!r} is empty: no host has a file with data of it. Check the S3 prefix.")
    return sorted(located, key=lambda one: (one.file.path, one.host))
