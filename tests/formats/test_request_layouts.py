"""A layout that is remembered from an earlier request changes no answer to a later one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from eigenline import write_recordio
from eigenline.algorithms.errors import UserError
from eigenline.formats import requests
from eigenline.formats.content_types import RECORDIO

RNG = np.random.default_rng(0)
BODIES = [
    write_recordio(RNG.normal(size=(rows, width)).astype(dtype), labels)
    for rows in (1, 2, 5)
    for width in (1, 3, 4)
    for dtype in (np.float32, np.float64)
    for labels in (None, np.arange(rows, dtype=np.float32))
]


def outcome(body: bytes) -> object:
    try:
        features = requests.read_features(body, RECORDIO)
    except UserError as error:
        return str(error)
    dense = features if isinstance(features, np.ndarray) else features.toarray()
    return dense.shape, dense.dtype, dense.tobytes()


@given(
    body=st.sampled_from(BODIES),
    place=st.integers(0, 500),
    put=st.binary(max_size=3),
    lost=st.integers(0, 3),
    earlier=st.lists(st.sampled_from(BODIES), max_size=3),
)
def test_damage_is_found_whatever_came_before(
    body: bytes, place: int, put: bytes, lost: int, earlier: list[bytes]
) -> None:
    place %= len(body)
    damaged = body[:place] + put + body[place + lost :]
    requests._layouts.clear()
    expected = outcome(damaged)
    requests._layouts.clear()
    for other in (body, *earlier):
        outcome(other)
    assert outcome(damaged) == expected
    assert outcome(body) == outcome(bytes(bytearray(body))), "wherever it lies in memory"


def test_few_layouts_are_remembered() -> None:
    for width in range(1, 200):
        requests.read_features(write_recordio(np.ones((1, width), np.float32)), RECORDIO)
        assert len(requests._layouts) <= 32
