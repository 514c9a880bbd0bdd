"""Limits are read from control groups as Docker and SageMaker set them; the trees are copies of real ones."""

import os
from pathlib import Path

import pytest

from eigenline.formats.machine_limits import cpu_quota, memory_limit

GIB = 1 << 30


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in {"proc/meminfo": "MemTotal:       16777216 kB\nMemFree: 1 kB\n", **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


def test_version_2_inside_a_container(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/",
            "sys/fs/cgroup/cpu.max": "50000 100000",
            "sys/fs/cgroup/memory.max": str(2 * GIB),
        },
    )
    assert cpu_quota(root) == 0.5
    assert memory_limit(root) == 2 * GIB


def test_the_tightest_group_on_the_way_up_holds(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/kubepods/pod1/container",
            "sys/fs/cgroup/kubepods/cpu.max": "max 100000",
            "sys/fs/cgroup/kubepods/pod1/cpu.max": "25000 100000",
            "sys/fs/cgroup/kubepods/pod1/container/cpu.max": "max 100000",
            "sys/fs/cgroup/kubepods/pod1/memory.max": str(GIB),
            "sys/fs/cgroup/kubepods/pod1/container/memory.max": "max",
        },
    )
    assert cpu_quota(root) == 0.25
    assert memory_limit(root) == GIB


def test_version_1_names_host_paths_that_cannot_be_seen_inside(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n0::/",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "30000",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": str(3 * GIB),
        },
    )
    assert cpu_quota(root) == pytest.approx(0.3)
    assert memory_limit(root) == 3 * GIB


def test_no_limit_means_the_machine(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "2:cpu:/\n4:memory:/",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
        },
    )
    assert cpu_quota(root) == len(os.sched_getaffinity(0))
    assert memory_limit(root) == 16 * GIB


def test_no_control_groups_at_all(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) == len(os.sched_getaffinity(0))
    assert memory_limit(tmp_path) > GIB // 4


def test_this_machine() -> None:
    assert 0 < cpu_quota() <= (os.cpu_count() or 1)
    assert memory_limit() > GIB // 4
