"""The same model through processes of Dask, whose arrays arrive at odd addresses; what is wrong arrives too."""

import os
import signal
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from distributed import Client, Future, LocalCluster

from eigenline.algorithms.batch import Batch
from eigenline.algorithms.errors import RecordsError, Stopped
from eigenline.algorithms.pca.blocks import BLOCK_BYTES
from eigenline.algorithms.pca.moments import MomentsWork
from eigenline.cluster.dask_engine import DaskEngine
from eigenline.cluster.parts import Chunks, Part
from eigenline.cluster.records_on_workers import RecordsOnWorkers
from tests.cluster import trainings

pytestmark = [pytest.mark.slow, pytest.mark.dask]


def pack(units: Sequence[int], *chunks: Batch) -> Part:
    return Part(Chunks(list(zip(units, chunks, strict=True))), name="somewhere")


def records_on(
    client: Client, batches: Sequence[Batch], parts: int, pinned: bool, **options: Any
) -> RecordsOnWorkers:
    """Send each batch to a worker, and pack what lies there."""
    addresses = sorted(client.scheduler_info(n_workers=-1)["workers"])[:parts]
    mine = [list(range(part, len(batches), parts)) for part in range(parts)]
    packed: list[Future] = []
    for address, units in zip(addresses, mine, strict=True):
        chunks = [client.scatter(batches[unit], workers=[address], hash=False) for unit in units]
        packed.append(
            client.submit(pack, units, *chunks, workers=[address], allow_other_workers=not pinned, pure=False)
        )
    engine = DaskEngine(client, packed, addresses if pinned else None)
    return RecordsOnWorkers(engine, [units[0] for units in mine], **options)


@pytest.mark.parametrize("parts", [3, 4])
@pytest.mark.parametrize("name", ["logistic, for accuracy", "sparse", "absolute", "softmax"])
def test_linear_learner_twice_in_a_row(client: Client, name: str, parts: int) -> None:
    batches = trainings.linear_learner_data(name)
    here = trainings.linear_learner_bytes(name, batches)
    for _ in range(2):
        found = trainings.linear_learner_bytes(name, records_on(client, batches, parts, pinned=True))
        trainings.assert_same_bytes(found, here)


@pytest.mark.parametrize("parts", [3, 4])
@pytest.mark.parametrize("name", trainings.PCA)
def test_pca_twice_in_a_row(client: Client, name: str, parts: int) -> None:
    batches = trainings.pca_data(name)
    here = trainings.pca_bytes(name, batches)
    for _ in range(2):
        records = records_on(client, batches, parts, pinned=False, block_bytes=BLOCK_BYTES)
        trainings.assert_same_bytes(trainings.pca_bytes(name, records), here)


def test_sums_that_are_large_travel_in_pairs(client: Client) -> None:
    batches = [Batch(np.random.default_rng(part).random((50, 500))) for part in range(9)]
    work = MomentsWork(np.zeros(500), np.float64, with_products=True)
    found = records_on(client, batches, 4, pinned=True).total(work)
    np.testing.assert_allclose(
        found.products.value, sum(batch.features.T @ batch.features for batch in batches), rtol=1e-12
    )


def test_what_is_wrong_with_a_record_names_record_and_worker(client: Client) -> None:
    batches = [Batch(np.ones((50, 5))) for _ in range(9)]
    batches[5].features[7, 2] = np.nan
    work = MomentsWork(np.zeros(5), np.float64, with_products=True)
    with pytest.raises(RecordsError, match="somewhere: The value of record 258, feature 3 is nan"):
        records_on(client, batches, 3, pinned=True).total(work)


def test_a_stop_ends_the_pass(client: Client) -> None:
    records = records_on(client, [Batch(np.ones((50, 5)))] * 4, 2, pinned=True, stopping=lambda: True)
    with pytest.raises(Stopped):
        records.total(MomentsWork(np.zeros(5), np.float64, with_products=True))


class Slowly(MomentsWork):
    """Moments that take their time, so that there is a moment to kill a worker in."""

    def update(self, state: Any, batch: Batch, first: int) -> Any:
        time.sleep(0.5)
        return super().update(state, batch, first)


def _process_id() -> int:
    return os.getpid()


def test_a_worker_that_dies_within_a_pass_changes_nothing_where_others_may_take_over() -> None:
    """The part is packed again, of chunks that are computed again, and its pass is made again."""

    def chunk(number: int) -> Batch:
        return Batch(np.random.default_rng(number).random((100, 20)))

    options: dict[str, Any] = {"n_workers": 3, "threads_per_worker": 1, "memory_limit": 0}
    with (
        LocalCluster(processes=True, dashboard_address="127.0.0.1:0", silence_logs=50, **options) as cluster,
        Client(cluster, timeout=300) as client,
    ):
        client.wait_for_workers(3, timeout=300)
        packed = []
        for part in range(3):
            units = list(range(part, 12, 3))
            chunks = [client.submit(chunk, unit, pure=False) for unit in units]
            packed.append(client.submit(pack, units, *chunks, pure=False))
        records = RecordsOnWorkers(DaskEngine(client, packed), range(3))
        work = Slowly(np.zeros(20), np.float64, with_products=True)
        expected = records.total(work)
        holder = next(iter(client.who_has(packed[:1]).values()))[0]
        process = client.run(_process_id, workers=[holder])[holder]
        killer = threading.Timer(0.7, os.kill, (process, signal.SIGKILL))
        killer.start()
        found = records.total(work)
        killer.join()
        np.testing.assert_array_equal(found.products.value, expected.products.value)
        assert found.count == expected.count == 1200
