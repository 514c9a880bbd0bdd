"""Many hosts: CPU seconds of several workers against one process, and milliseconds of a round.

On one machine several hosts cannot be faster, so what is measured is what they cost: the work per core, and the
round that each pass adds. Rounds are compared with the model of docs/many_hosts.md.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import numpy as np
from distributed import Client, Future, LocalCluster

from eigenline.algorithms.batch import Batch, HeldBatches
from eigenline.algorithms.blas_threads import blas_out_of_the_way
from eigenline.algorithms.pca.scatter_product import ScatterProduct
from eigenline.algorithms.records import RecordsHere
from eigenline.cluster.dask_engine import DaskEngine
from eigenline.cluster.dask_settings import dask_settings
from eigenline.cluster.parts import Chunks, Part
from eigenline.cluster.records_on_workers import RecordsOnWorkers

ROWS, FEATURES, COLUMNS = 25_000, 784, 32
UNITS = 8
ROUNDS = 15


def chunk(unit: int) -> Batch:
    """Return the records of a unit."""
    return Batch(np.random.default_rng(unit).random((ROWS, FEATURES), np.float32))


def part_of(units: Sequence[int]) -> Part:
    """Make a part where it is used."""
    return Part(Chunks([(unit, chunk(unit)) for unit in units]))


def cpu_seconds() -> float:
    """Return the CPU time of this process so far."""
    spent = os.times()
    return spent.user + spent.system


def modelled_round(workers: int) -> float:
    """Return the milliseconds of a round that the model says: 12, and 1.2 for each worker beyond two."""
    return 12 + 1.2 * max(0, workers - 2)


def main() -> None:
    """Print a table."""
    work = ScatterProduct(np.random.default_rng(0).random((FEATURES, COLUMNS), np.float32), None, np.float32)
    small = ScatterProduct(np.ones((FEATURES, 1), np.float32), None, np.float32)
    with blas_out_of_the_way(), dask_settings():
        alone = RecordsHere(HeldBatches([chunk(unit) for unit in range(UNITS)]))
        alone.total(work)
        print(f"{UNITS * ROWS * FEATURES * 4 / 1e9:.2f} GB, {COLUMNS} columns; one pass, CPU seconds")
        print(
            f"{'workers':>8} {'one process':>12} {'workers':>9} {'ratio':>6} {'round, ms':>10} {'model, ms':>10}"
        )
        for workers in (1, 2, 4):
            measure(workers, alone, work, small)


def measure(workers: int, alone: RecordsHere, work: ScatterProduct, small: ScatterProduct) -> None:
    """Print the row of so many workers, passes of both kinds in turn."""
    options = {
        "n_workers": workers,
        "threads_per_worker": 1,
        "memory_limit": 0,
        "dashboard_address": "127.0.0.1:0",
    }
    environment = {"OPENBLAS_NUM_THREADS": "1"}
    with (
        LocalCluster(processes=True, host="127.0.0.1", env=environment, **options) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(workers)
        addresses = sorted(client.scheduler_info(n_workers=-1)["workers"])
        units = [list(range(rank, UNITS, workers)) for rank in range(workers)]
        parts: list[Future[Part]] = [
            client.submit(part_of, mine, workers=[address], pure=False)
            for mine, address in zip(units, addresses, strict=True)
        ]
        there = RecordsOnWorkers(DaskEngine(client, parts, addresses), [mine[0] for mine in units])
        there.total(work, exact=False)
        ours, theirs = [], []
        for _ in range(3):
            before = cpu_seconds()
            alone.total(work)
            ours.append(cpu_seconds() - before)
            before = cpu_seconds() + sum(client.run(cpu_seconds).values())
            there.total(work, exact=False)
            theirs.append(cpu_seconds() + sum(client.run(cpu_seconds).values()) - before)
        few: list[Future[Part]] = [
            client.submit(part_with_one_record, rank, workers=[address], pure=False)
            for rank, address in enumerate(addresses)
        ]
        tiny = RecordsOnWorkers(DaskEngine(client, few, addresses), range(workers))
        tiny.total(small, exact=False)
        rounds = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            tiny.total(small, exact=False)
            rounds.append(1e3 * (time.perf_counter() - began))
    one, several = min(ours), min(theirs)
    print(
        f"{workers:>8} {one:>12.2f} {several:>9.2f} {one / several:>6.2f} {min(rounds):>10.1f} "
        f"{modelled_round(workers):>10.1f}"
    )


def part_with_one_record(unit: int) -> Part:
    """Return a part whose pass costs nothing but the round."""
    return Part(Chunks([(unit, Batch(np.ones((1, FEATURES), np.float32)))]))


if __name__ == "__main__":
    main()
