"""What the tests of this room share."""

from collections.abc import Iterator

import pytest
from distributed import Client, LocalCluster

from eigenline.algorithms.blas_threads import blas_out_of_the_way
from eigenline.cluster.dask_settings import dask_settings


@pytest.fixture(autouse=True)
def one_blas_thread() -> Iterator[None]:
    """Threads of BLAS spin between products as small as these."""
    with blas_out_of_the_way():
        yield


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A client of four worker processes."""
    options = {"n_workers": 4, "threads_per_worker": 1, "memory_limit": 0, "dashboard_address": "127.0.0.1:0"}
    with (
        dask_settings(),
        LocalCluster(processes=True, host="127.0.0.1", silence_logs=False, **options) as cluster,
        Client(cluster, timeout=300) as client,
    ):
        client.wait_for_workers(4, timeout=300)
        yield client
