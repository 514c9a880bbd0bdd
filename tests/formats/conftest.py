"""Records as generated protobuf code writes them: the oracle of everything that reads or writes recordIO."""

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from eigenline.formats.recordio.record_pb2 import Record

Encode = Callable[..., bytes]


def frame(payload: bytes, flag: int = 0) -> bytes:
    return struct.pack("<II", 0xCED7230A, len(payload) | flag << 29) + payload + b"\0" * (-len(payload) % 4)


def payloads(
    features: np.ndarray,
    labels: Sequence[Any] | np.ndarray | None = None,
    *,
    kind: str = "float32",
    label_kind: str = "float32",
    sparse: bool = False,
    **texts: bytes,
) -> list[bytes]:
    """Serialize one record a row, values and labels as tensors of the given kinds."""
    serialized = []
    for index, row in enumerate(features):
        record = Record(**texts)
        tensor = getattr(record.features["values"], f"{kind}_tensor")
        if sparse:
            keys = np.flatnonzero(row)
            tensor.values.extend(row[keys].tolist())
            tensor.keys.extend(keys.tolist())
            tensor.shape.append(len(row))
        else:
            tensor.values.extend(row.tolist())
        if labels is not None:
            getattr(record.label["values"], f"{label_kind}_tensor").values.append(np.asarray(labels)[index].item())
        serialized.append(record.SerializeToString(deterministic=True))
    return serialized


@pytest.fixture
def encode() -> Encode:
    """Encode rows as frames, by generated code."""

    def encode_frames(*arguments: Any, **options: Any) -> bytes:
        return b"".join(map(frame, payloads(*arguments, **options)))

    return encode_frames


@pytest.fixture
def encode_payloads() -> Callable[..., list[bytes]]:
    return payloads


@pytest.fixture
def in_frame() -> Callable[..., bytes]:
    return frame
