"""Channels: files of every arrangement, FIFOs of every misfortune, and objects wrapped in frames."""

import contextlib
import gzip
import io
import json
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorithms.batch import Batch
from algorithms.errors import DataError
from container.channels import Channel, PipeChannel, hold_in_memory, open_channels
from container.configuration import ChannelDescription
from container.pipes import StoppedWhileWaiting, open_pipe
from container.wrapped_records import unwrap
from formats import write_recordio

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)
LABELS = np.array([0, 1, 0, 1], np.float32)
CSV_TEXT = b"0,0,1,2\n1,3,4,5\n0,6,7,8\n1,9,10,11\n"


def never() -> bool:
    return False


def train(folder: Path, description: ChannelDescription | None = None, labels: str = "required") -> Channel:
    description = description or ChannelDescription("train", "text/csv")
    return open_channels([description], folder, labels, never)["train"]  # type: ignore[arg-type]


def rows_of(batches: Iterator[Batch]) -> np.ndarray:
    return np.concatenate([np.asarray(batch.features) for batch in batches])


def labels_of(batches: Iterator[Batch]) -> list[float]:
    return [float(label) for batch in batches for label in batch.labels]  # type: ignore[union-attr]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train").mkdir()
    return tmp_path


# --- files -----------------------------------------------------------------------------------------------------


def test_several_files_at_any_depth_are_read_in_the_order_of_their_names(folder: Path) -> None:
    lines = CSV_TEXT.splitlines(keepends=True)
    (folder / "train" / "b.csv").write_bytes(lines[1])
    (folder / "train" / "a").mkdir()
    (folder / "train" / "a" / "part-0").write_bytes(lines[0])
    (folder / "train" / "c.csv.gz").write_bytes(gzip.compress(lines[2] + lines[3].rstrip()))
    channel = train(folder)
    np.testing.assert_array_equal(rows_of(iter(channel)), ROWS)
    assert labels_of(iter(channel)) == LABELS.tolist()
    assert channel.describe().startswith("3 files, 0.0 MB, text/csv")


def test_recordio_is_the_default_content_type(folder: Path) -> None:
    (folder / "train" / "matrix_0.pbr").write_bytes(write_recordio(ROWS, LABELS))
    np.testing.assert_array_equal(rows_of(iter(train(folder, ChannelDescription("train")))), ROWS)


def test_what_spark_and_hadoop_leave_beside_the_data_is_passed_over(folder: Path) -> None:
    (folder / "train" / "part-0").write_bytes(CSV_TEXT)
    for name in ("_SUCCESS", ".part-0.crc", "empty"):
        (folder / "train" / name).write_bytes(b"" if name != ".part-0.crc" else b"crc\0")
    (folder / "train" / "_temporary").mkdir()
    (folder / "train" / "_temporary" / "part-1").write_bytes(b"not,to,be,read\n")
    np.testing.assert_array_equal(rows_of(iter(train(folder))), ROWS)


def test_a_manifest_in_the_folder_decides_which_files_are_read(folder: Path) -> None:
    lines = CSV_TEXT.splitlines(keepends=True)
    for number, line in enumerate(lines):
        (folder / "train" / f"matrix_{number}").write_bytes(line)
    manifest = [{"prefix": "s3://bucket/key/"}, "matrix_2", "matrix_0"]
    (folder / "train" / ".amazon.manifest").write_text(json.dumps(manifest))
    np.testing.assert_array_equal(rows_of(iter(train(folder))), ROWS[[2, 0]])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[1, 2]", "is not a manifest"),
        ("{", "is not a manifest"),
        ('[{"prefix": "s3://b/"}, "gone"]', "lists 'gone', which is not a file beside it"),
        ('[{"prefix": "s3://b/"}, "../outside"]', "lists 'outside', which is not a file beside it"),
    ],
)
def test_a_wrong_manifest_is_refused(folder: Path, text: str, expected: str) -> None:
    (folder / "outside").write_bytes(CSV_TEXT)
    (folder / "train" / "x.manifest").write_text(text)
    with pytest.raises(DataError, match=expected):
        train(folder)


def test_a_missing_folder_an_empty_folder_and_a_missing_train_channel_are_named(folder: Path) -> None:
    with pytest.raises(DataError, match="Channel 'validation' is missing: there is no folder"):
        open_channels([ChannelDescription("validation")], folder, "required", never)
    with pytest.raises(DataError, match=r"Channel 'train' is empty: .* holds no file with data"):
        train(folder)
    (folder / "test").mkdir()
    (folder / "test" / "a").write_bytes(CSV_TEXT)
    with pytest.raises(DataError, match=r"Channel 'train' is missing.*Given were: test"):
        open_channels([ChannelDescription("test", "text/csv")], folder, "required", never)


def test_files_without_a_record_are_an_empty_channel(folder: Path) -> None:
    (folder / "train" / "a").write_bytes(b"\n\n")
    with pytest.raises(DataError, match="Channel 'train' is empty: its files hold no record"):
        list(train(folder))


def test_files_of_different_width_are_named_both(folder: Path) -> None:
    (folder / "train" / "a").write_bytes(b"0,1,2\n")
    (folder / "train" / "b").write_bytes(b"0,1,2,3\n")
    with pytest.raises(DataError, match=r"train/b has 3 features, but .*train/a has 2"):
        list(train(folder))


def test_an_unknown_content_type_names_the_channel(folder: Path) -> None:
    (folder / "train" / "a").write_bytes(CSV_TEXT)
    with pytest.raises(DataError, match=r"Channel 'train': .*image/png"):
        train(folder, ChannelDescription("train", "image/png"))


def test_aliases_of_content_types_are_understood(folder: Path) -> None:
    (folder / "train" / "a").write_bytes(CSV_TEXT)
    np.testing.assert_array_equal(rows_of(iter(train(folder, ChannelDescription("train", "CSV")))), ROWS)


def test_channels_are_read_once_and_then_held(folder: Path) -> None:
    path = folder / "train" / "a"
    path.write_bytes(CSV_TEXT)
    held = hold_in_memory({"train": train(folder)}, memory_bytes=1e6)["train"]
    first = rows_of(iter(held))
    path.unlink()
    np.testing.assert_array_equal(rows_of(iter(held)), first)


def test_channels_that_do_not_fit_are_read_again(folder: Path) -> None:
    path = folder / "train" / "a"
    path.write_bytes(CSV_TEXT)
    held = hold_in_memory({"train": train(folder)}, memory_bytes=10)["train"]
    rows_of(iter(held))
    path.unlink()
    with pytest.raises(DataError, match="cannot be read: No such file"):
        rows_of(iter(held))


# --- pipes -----------------------------------------------------------------------------------------------------


def feed(path: Path, chunks: Sequence[bytes], *, make_after: float = 0.0) -> threading.Thread:
    """Write chunks into a FIFO as SageMaker does: it appears late and is opened once."""

    def run() -> None:
        time.sleep(make_after)
        if not path.exists():
            os.mkfifo(path)
        try:
            with path.open("wb", buffering=0) as fifo:
                for chunk in chunks:
                    fifo.write(chunk)
                    time.sleep(0.01)
        except BrokenPipeError:
            pass

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def pipe_channel(
    folder: Path, stopping: Callable[[], bool] = never, patience: float = 5, **fields: object
) -> PipeChannel:
    description = ChannelDescription("train", "text/csv", "Pipe", **fields)  # type: ignore[arg-type]
    return PipeChannel(description, folder, "required", stopping, patience)


def test_each_pass_reads_the_fifo_of_its_epoch_even_when_it_appears_late(folder: Path) -> None:
    channel = pipe_channel(folder)
    for epoch in range(3):
        writer = feed(folder / f"train_{epoch}", [CSV_TEXT[:5], CSV_TEXT[5:9], CSV_TEXT[9:]], make_after=0.1)
        np.testing.assert_array_equal(rows_of(iter(channel)), ROWS)
        writer.join(5)
        assert not writer.is_alive()


def test_a_peek_costs_one_epoch_and_ends_its_writer(folder: Path) -> None:
    wide = np.zeros((1000, 25_000), np.float32)  # 100 MB: several blocks, so a pass can be given up between two
    writer = feed(folder / "train_0", [write_recordio(wide, np.zeros(len(wide), np.float32))])
    channel = PipeChannel(ChannelDescription("train", mode="Pipe"), folder, "required", never, 5)
    peek = iter(channel)
    assert len(next(peek)) < len(wide)
    peek.close()  # type: ignore[attr-defined]
    writer.join(5)
    assert not writer.is_alive()
    feed(folder / "train_1", [write_recordio(ROWS, LABELS)])
    np.testing.assert_array_equal(rows_of(iter(channel)), ROWS)


def test_gzip_and_recordio_come_through_pipes(folder: Path) -> None:
    data = gzip.compress(write_recordio(ROWS, LABELS))
    feed(folder / "train_0", [data[:7], data[7:]])
    channel = PipeChannel(ChannelDescription("train", mode="Pipe"), folder, "required", never, 5)
    np.testing.assert_array_equal(rows_of(iter(channel)), ROWS)


def test_a_writer_that_dies_within_a_record_is_an_error_that_names_the_pipe(folder: Path) -> None:
    data = write_recordio(ROWS, LABELS)
    feed(folder / "train_0", [data[: len(data) // 2 + 3]])
    channel = PipeChannel(ChannelDescription("train", mode="Pipe"), folder, "required", never, 5)
    with pytest.raises(DataError, match="train_0"):
        list(channel)


def test_a_writer_that_sends_nothing_leaves_an_empty_channel(folder: Path) -> None:
    feed(folder / "train_0", [])
    with pytest.raises(DataError, match="Channel 'train' is empty"):
        list(pipe_channel(folder))


def test_a_fifo_that_never_appears_or_has_no_writer_is_given_up(folder: Path) -> None:
    with pytest.raises(DataError, match="train_0 does not exist"):
        list(pipe_channel(folder, patience=0.2))
    os.mkfifo(folder / "train_0")
    with pytest.raises(DataError, match="train_0 has no writer"):
        list(pipe_channel(folder, patience=0.2))


def test_a_request_to_stop_ends_every_kind_of_waiting(folder: Path) -> None:
    asked = threading.Event()
    threading.Timer(0.3, asked.set).start()
    started = time.monotonic()
    with pytest.raises(StoppedWhileWaiting):  # no FIFO
        open_pipe(folder / "train_0", asked.is_set)
    os.mkfifo(folder / "train_0")
    with pytest.raises(StoppedWhileWaiting):  # no writer
        open_pipe(folder / "train_0", asked.is_set)
    writer = os.open(folder / "train_0", os.O_RDWR)
    os.write(writer, CSV_TEXT[:10])
    with (
        open_pipe(folder / "train_0", asked.is_set) as pipe,
        pytest.raises(StoppedWhileWaiting),
    ):  # a silent writer
        pipe.read(100)
    os.close(writer)
    assert time.monotonic() - started < 5


def test_a_stopped_pass_ends_quietly_so_that_the_job_can_save_what_it_has(folder: Path) -> None:
    asked = threading.Event()
    os.mkfifo(folder / "train_0")
    writer = os.open(folder / "train_0", os.O_RDWR)
    os.write(writer, CSV_TEXT)
    threading.Timer(0.3, asked.set).start()
    channel = pipe_channel(folder, asked.is_set)
    assert list(channel._read()) == []
    os.close(writer)


# --- wrapped objects -------------------------------------------------------------------------------------------


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


@given(st.lists(st.binary(max_size=40)), st.integers(1, 7))
def test_whatever_was_framed_comes_out_whole(contents: list[bytes], step: int) -> None:
    framed = b"".join(map(frame, contents))
    stream = unwrap(io.BufferedReader(io.BytesIO(framed), step), "pipe", text=True)  # type: ignore[arg-type]
    expected = b"".join(c if c.endswith(b"\n") or not c else c + b"\n" for c in contents)
    assert stream.read() == expected


@given(st.binary(max_size=60))
def test_any_bytes_are_contents_or_a_data_error(data: bytes) -> None:
    with contextlib.suppress(DataError):
        unwrap(io.BufferedReader(io.BytesIO(data)), "pipe", text=True).read()  # type: ignore[arg-type]
