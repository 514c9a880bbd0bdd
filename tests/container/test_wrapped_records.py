"""Objects and attributes that SageMaker wrapped in recordIO frames."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from eigenline import write_recordio
from eigenline.algorithms.errors import DataError
from eigenline.container.channels import PipeChannel
from eigenline.container.configuration import ChannelDescription
from tests.container.channel_data import CSV_TEXT, LABELS, ROWS, feed, labels_of, never, pipe_channel, rows_of


def frame(content: bytes) -> bytes:
    return struct.pack("<II", 0xCED7230A, len(content)) + content + b"\0" * (-len(content) % 4)


def test_csv_objects_in_frames_are_lines_again_with_or_without_final_newlines(folder: Path) -> None:
    lines = CSV_TEXT.splitlines()
    framed = frame(lines[0]) + frame(lines[1] + b"\n") + frame(lines[2] + b"\n" + lines[3])
    feed(folder / "train_0", [framed[:3], framed[3:30], framed[30:]])
    np.testing.assert_array_equal(rows_of(iter(pipe_channel(folder, wrapped=True))), ROWS)


@pytest.mark.parametrize("twice", [False, True], ids=["bare records", "whole recordIO objects"])
def test_recordio_in_frames_is_read_once_or_twice_framed(folder: Path, twice: bool) -> None:
    whole = write_recordio(ROWS, LABELS)
    half = write_recordio(ROWS[:2], LABELS[:2])
    data = frame(half) + frame(write_recordio(ROWS[2:], LABELS[2:])) if twice else whole
    feed(folder / "train_0", [data[:5], data[5:]])
    channel = PipeChannel(ChannelDescription("train", mode="Pipe", wrapped=True), folder, "required", never, 5)
    np.testing.assert_array_equal(rows_of(iter(channel)), ROWS)


# --- augmented manifests: a frame an attribute ------------------------------------------------------------------

MANIFEST = [
    {"source": "a", "label": int(label), "features": ",".join(map(str, row)), "list": row.tolist()}
    for row, label in zip(ROWS, LABELS, strict=True)
]


def streamed(names: list[str]) -> bytes:
    """What SageMaker sends for a manifest and `AttributeNames`: each value in a frame, in that order."""
    values = [line[name] for line in MANIFEST for name in names]
    return b"".join(frame((v if isinstance(v, str) else json.dumps(v)).encode()) for v in values)


@pytest.mark.parametrize("features", ["features", "list"])
def test_attributes_of_a_manifest_become_lines_of_csv(folder: Path, features: str) -> None:
    data = streamed(["label", features])
    feed(folder / "train_0", [data[:30], data[30:]])
    channel = pipe_channel(folder, wrapped=True)
    batches = list(channel)
    np.testing.assert_array_equal(rows_of(iter(batches)), ROWS)
    assert labels_of(iter(batches)) == LABELS.tolist()


def test_three_attributes_make_a_record(folder: Path) -> None:
    data = b"".join(
        frame(b"%d" % label) + frame(b"%g,%g" % (a, b)) + frame(b"%g" % c)
        for (a, b, c), label in zip(ROWS, LABELS, strict=True)
    )
    feed(folder / "train_0", [data])
    np.testing.assert_array_equal(rows_of(iter(pipe_channel(folder, wrapped=True))), ROWS)


@pytest.mark.parametrize("label_first", [False, True])
def test_a_protobuf_record_and_its_label_are_joined(folder: Path, label_first: bool) -> None:
    """``["features-ref", "label"]``: the objects are bare records without a label."""
    whole = write_recordio(ROWS)
    size = len(whole) // len(ROWS)
    parts = []
    for number, label in enumerate(LABELS):
        framed = whole[number * size : (number + 1) * size]
        pair = [framed, frame(b"%d" % label)]
        parts += pair[::-1] if label_first else pair
    feed(folder / "train_0", parts)
    channel = PipeChannel(ChannelDescription("train", mode="Pipe", wrapped=True), folder, "required", never, 5)
    batches = list(channel)
    np.testing.assert_array_equal(rows_of(iter(batches)), ROWS)
    assert labels_of(iter(batches)) == LABELS.tolist()


def test_a_manifest_that_ends_within_a_record_is_an_error(folder: Path) -> None:
    data = streamed(["label", "features"])
    feed(folder / "train_0", [data + frame(b"1")])
    with pytest.raises(DataError, match="record 5: it has 1 of its 2 attributes"):
        list(pipe_channel(folder, wrapped=True))


def test_a_writer_that_dies_within_an_attribute_is_an_error(folder: Path) -> None:
    data = streamed(["label", "features"])
    feed(folder / "train_0", [data[:-5]])
    with pytest.raises(DataError, match=r"frame 8 ends \d bytes early"):
        list(pipe_channel(folder, wrapped=True))
