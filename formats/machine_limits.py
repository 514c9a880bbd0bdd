"""CPU quota and memory limit of this process, from control groups of version 1 and 2.

A container's limits do not show in `os.cpu_count` and the total memory: a one-CPU container on a 64-core
host would otherwise start 64 workers, and be killed for the memory of a job that "fits" the host.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")
_sharing = 1  # containers that share this machine, this one included


def cpu_quota(root: Path = _ROOT) -> float:
    """CPUs that this process may use, at least 0.01: the smallest of quota, CPU set and what the machine has.

    Parameters
    ----------
    root
        Where ``proc`` and ``sys`` are looked for; `/` but in tests.
    """
    cpus = len(os.sched_getaffinity(0)) / _sharing
    for folder in _groups(root, "cpu"):
        cpus = min(cpus, _quota_v2(folder / "cpu.max"), _quota_v1(folder))
    return max(cpus, 0.01)


def memory_limit(root: Path = _ROOT) -> int:
    """Bytes of memory that this process's container may use; the machine's memory where there is no limit."""
    limit = _machine_memory(root) // _sharing
    for folder in _groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            text = _read(folder / name)
            if text.isdigit():  # "max" is version 2's word for no limit
                limit = min(limit, int(text))
    return limit


def share_machine(containers: int) -> None:
    """Count on an even share of the machine from now on, in this process and those that it forks.

    A container's own limits hold as they are; what has no limit is shared.

    Parameters
    ----------
    containers
        How many there are.
    """
    global _sharing
    _sharing = containers


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders whose limits hold: this process's group and every group above it.

    Within a container the paths of ``/proc/self/cgroup`` may name folders of the host that cannot be seen
    from inside; those are read as absent, and the mount itself (always yielded last) carries the limit.
    """
    mounts = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers == "":
            mount = mounts
        elif controller in controllers.split(","):
            mount = mounts / controllers if (mounts / controllers).is_dir() else mounts / controller
        else:
            continue
        group = mount / path.strip("/")
        while group != mount and mount in group.parents:
            yield group
            group = group.parent
        yield mount


def _quota_v2(file: Path) -> float:
    quota, _, period = _read(file).partition(" ")  # "200000 100000", or "max 100000"
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else float("inf")


def _quota_v1(folder: Path) -> float:
    quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else float("inf")


def _machine_memory(root: Path) -> int:
    for line in _read(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
