"""Dask's settings for hosts of ours, in one place; what a user has set in Dask's own configuration stays."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import dask

# Source: distributed.yaml of Dask, whose defaults are for interactive clusters of many small tasks.
SETTINGS = {
    "distributed.scheduler.work-stealing": False,  # a part's pass runs where the part is
    "distributed.scheduler.worker-ttl": "30s",  # a host that was frozen is lost after twice that
    "distributed.worker.profile.enabled": False,  # it samples every 10 ms
    "distributed.worker.heartbeat": "1s",
    # Our own limits say what is held in memory; a worker that Dask pauses would hang the job.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.admin.tick.limit": "60s",  # products that hold the interpreter are no reason for a warning
    "distributed.comm.timeouts.connect": "60s",
    "distributed.comm.timeouts.tcp": "30s",
}


def dask_settings() -> AbstractContextManager[Any]:
    """Return a context in which Dask has these settings."""
    return dask.config.set(SETTINGS)
