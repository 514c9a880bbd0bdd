"""Layouts that protobuf allows and no encoder of this ecosystem writes: read as generated code reads them."""

import numpy as np
import pytest

from eigenline.algorithms.batch import is_sparse
from eigenline.formats.content_types import RECORDIO
from eigenline.formats.reading import read_batches
from eigenline.formats.recordio.record_pb2 import Record


def unpacked(field: int, wire_type: int, contents: list[bytes]) -> bytes:
    return b"".join(bytes([field << 3 | wire_type]) + content for content in contents)


def delimited(field: int, content: bytes) -> bytes:
    assert len(content) < 128
    return bytes([field << 3 | 2, len(content)]) + content


def entry(field: int, kind: int, tensor: bytes, *, swapped: bool = False, name: bytes = b"values") -> bytes:
    parts = [delimited(1, name), delimited(2, delimited(kind, tensor))]
    return delimited(field, b"".join(parts[::-1] if swapped else parts))


ROW = np.array([1.5, -2.0, 0.25], np.float32)
CONTENTS = [value.tobytes() for value in ROW]
SPARSE_TENSOR = delimited(1, ROW.tobytes()) + delimited(2, bytes([0, 1, 2])) + delimited(3, bytes([3]))


@pytest.mark.parametrize(
    "payload",
    [
        entry(1, 2, unpacked(1, 5, CONTENTS)),
        entry(1, 2, delimited(1, CONTENTS[0]) + delimited(1, CONTENTS[1] + CONTENTS[2])),
        entry(1, 2, delimited(1, ROW.tobytes()), swapped=True),
        entry(1, 2, delimited(3, bytes([3])) + delimited(1, ROW.tobytes())),
        entry(1, 2, unpacked(2, 0, [b"\0", b"\1", b"\2"]) + delimited(1, ROW.tobytes()) + unpacked(3, 0, [b"\3"])),
        entry(1, 2, delimited(3, bytes([1, 3])) + delimited(2, bytes([0, 1, 2])) + delimited(1, ROW.tobytes())),
        entry(1, 2, SPARSE_TENSOR) + delimited(3, b"uid"),
        delimited(4, b"metadata first") + entry(1, 2, delimited(1, ROW.tobytes())),
        entry(1, 2, delimited(1, ROW.tobytes())) + unpacked(9, 0, [b"\1"]) + unpacked(10, 1, [b"12345678"]),
        entry(1, 2, b"") + entry(1, 2, delimited(1, ROW.tobytes())),  # of a repeated key the last one counts
    ],
    ids=[
        "not packed",
        "packed in two pieces",
        "value before key",
        "a shape of a dense row",
        "keys not packed, before values",
        "keys and shape before values, shape of a matrix of one row",
        "uid",
        "metadata first",
        "unknown fields",
        "the same name twice",
    ],
)
def test_unusual_layouts_read_as_generated_code_reads_them(payload, in_frame):
    assert Record.FromString(payload).features["values"].float32_tensor.values == ROW.tolist()
    for copies in (1, 40, 100):
        batches = list(read_batches(in_frame(payload) * copies, RECORDIO, name="x"))
        rows = [b.features.toarray() if is_sparse(b.features) else b.features for b in batches]
        np.testing.assert_array_equal(np.concatenate(rows), np.tile(ROW, (copies, 1)))
