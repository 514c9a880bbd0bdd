"""A job on several hosts: the first by name leads it, the others work for it, all end together.

Dask is imported here only where there are several hosts: a job on one pays nothing for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from eigenline.algorithms.records import Records
from eigenline.container.channels import Channel
from eigenline.container.columns import Columns, Labels
from eigenline.container.configuration import ChannelDescription, Hosts
from eigenline.container.folders import Folders
from eigenline.container.job_log import JobLog
from eigenline.container.stopping import Stopping

if TYPE_CHECKING:
    from eigenline.cluster.hosts import Host, Leader
    from eigenline.container.host_channels import HostChannels

_ASKED = "the request of the host that leads"


def follow(hosts: Hosts, folders: Folders, log: JobLog, stopping: Stopping) -> None:
    """Work for the first host until the job has ended.

    Raises
    ------
    HostLost
        Where the first host cannot be reached, is gone, or says that the job failed.
    """
    from eigenline.cluster.hosts import follow
    from eigenline.container.host_share import HostHere

    log.info(f"{hosts.first} leads and writes the model; this host ({hosts.current}) works for it.")
    follow(_host(hosts), HostHere(folders, stopping, log), stopping, partial(stopping.request, _ASKED), log.info)
    log.info(f"{hosts.first} is done.")


def leading(hosts: Hosts, folders: Folders, log: JobLog, stopping: Stopping) -> Leading | None:
    """Begin to lead; None where this host is the only one.

    Raises
    ------
    HostLost
        Where the ports between hosts cannot be opened.
    """
    if len(hosts.names) == 1:
        return None
    from eigenline.cluster.hosts import SCHEDULER_PORT, Leader
    from eigenline.container.host_share import HostHere

    log.info(f"{len(hosts.names)} hosts: {hosts.first} leads, port {SCHEDULER_PORT}.")
    request = partial(stopping.request, _ASKED)
    leader = Leader(_host(hosts), HostHere(folders, stopping, log), stopping, request)
    return Leading(leader, folders, log, stopping)


class Leading:
    """The first host's end of a job on several hosts."""

    def __init__(self, leader: Leader, folders: Folders, log: JobLog, stopping: Stopping) -> None:
        self._leader = leader
        self._folders = folders
        self._log = log
        self._stopping = stopping
        self._found: HostChannels | None = None

    def asked_to_stop(self) -> bool:
        """Return whether a stop was requested; looked at between blocks, so that a lost host is noticed there.

        Raises
        ------
        HostLost
            Where a host is gone.
        """
        self._leader.check()
        return self._stopping()

    def open_channels(
        self, descriptions: Sequence[ChannelDescription], labels: Labels, columns: Columns, one_host_because: str
    ) -> Mapping[str, Channel]:
        """Find the channels of all hosts; return them where this one trains alone, nothing where all do.

        Raises
        ------
        DataError
            For a channel that is missing, empty or not what it should be on every host.
        HostLost
            Where a host does not come.
        """
        from eigenline.container.host_channels import FEW_BYTES, HostChannels

        folder, log = self._folders.data, self._log
        found = HostChannels.find(self._leader, descriptions, folder, labels, columns, log, self.asked_to_stop)
        self._found = found
        count = sum(len(files) for files in found.files.values())
        size = "" if found.num_bytes == float("inf") else f", {found.num_bytes / 1e6:,.1f} MB in {count} files"
        if one_host_because:
            log.info(f"{one_host_because[0].upper()}{one_host_because[1:]}: {log.host} trains alone{size}.")
            return found.gathered(self._folders, self._stopping, one_host_because)
        if found.num_bytes <= FEW_BYTES:
            log.info(f"Few data{size}: {log.host} trains alone, which is sooner done than asking the others.")
            return found.gathered(self._folders, self._stopping, "Few data train on one host")
        log.info(f"All hosts train{size}.")
        return {}

    def records(self, *, on_threads: bool) -> Mapping[str, Records]:
        """Return the channels as records that all hosts read."""
        assert self._found is not None
        return self._found.distributed(on_threads=on_threads)

    def identities(self, descriptions: Sequence[ChannelDescription]) -> list[Callable[[], str]]:
        """Return what computes each channel's identity, the same for any number of hosts."""
        assert self._found is not None
        return [partial(self._found.identity, description) for description in descriptions]

    def end(self, failure: str = "") -> None:
        """Tell the other hosts that the job succeeded, or why not."""
        self._leader.end(failure)


def _host(hosts: Hosts) -> Host:
    from eigenline.cluster.hosts import Host

    return Host(hosts.current, hosts.names, hosts.interface)
