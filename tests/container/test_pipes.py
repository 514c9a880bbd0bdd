"""FIFOs of every misfortune: late, early closed, without a writer, with one that dies."""

import gzip
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from eigenline import write_recordio
from eigenline.algorithms.errors import DataError, Stopped
from eigenline.container.channels import PipeChannel
from eigenline.container.configuration import ChannelDescription
from eigenline.container.pipes import Pipe
from eigenline.container.stopping import Stopping
from tests.container.channel_data import CSV_TEXT, LABELS, ROWS, feed, never, pipe_channel, rows_of


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


@pytest.mark.parametrize("cut", [1, 2])
def test_a_csv_writer_that_dies_within_a_line_is_an_error_that_names_the_pipe(folder: Path, cut: int) -> None:
    feed(folder / "train_0", [CSV_TEXT[:-cut]])
    with pytest.raises(DataError, match=r"train_0 ends within a line: the writer of the pipe probably died"):
        list(pipe_channel(folder))


def test_gzip_data_carry_their_own_end(folder: Path) -> None:
    """What was packed may lack its last line end: had the writer died, unpacking would notice."""
    feed(folder / "train_0", [gzip.compress(CSV_TEXT[:-1])])
    np.testing.assert_array_equal(rows_of(iter(pipe_channel(folder))), ROWS)


def test_a_writer_that_sends_nothing_leaves_an_empty_channel(folder: Path) -> None:
    feed(folder / "train_0", [])
    with pytest.raises(DataError, match="Channel 'train' is empty"):
        list(pipe_channel(folder))


def test_a_fifo_that_never_appears_or_has_no_writer_is_given_up(folder: Path) -> None:
    with pytest.raises(DataError, match="train_0 does not exist"):
        list(pipe_channel(folder, timeout_seconds=0.2))
    os.mkfifo(folder / "train_0")
    with pytest.raises(DataError, match="train_0 has no writer"):
        list(pipe_channel(folder, timeout_seconds=0.2))


def test_a_request_to_stop_ends_every_kind_of_waiting(folder: Path) -> None:
    asked = Stopping()
    threading.Timer(0.3, asked.request, ["test"]).start()
    started = time.monotonic()
    with pytest.raises(Stopped):  # no FIFO
        Pipe(folder / "train_0", asked)
    os.mkfifo(folder / "train_0")
    with pytest.raises(Stopped):  # no writer
        Pipe(folder / "train_0", asked)
    writer = os.open(folder / "train_0", os.O_RDWR)
    os.write(writer, CSV_TEXT[:10])
    with (
        Pipe(folder / "train_0", asked) as pipe,
        pytest.raises(Stopped),
    ):  # a silent writer
        pipe.read(100)
    os.close(writer)
    assert time.monotonic() - started < 5


def test_a_stopped_pass_ends_quietly_so_that_the_job_can_save_what_it_has(folder: Path) -> None:
    asked = Stopping()
    os.mkfifo(folder / "train_0")
    writer = os.open(folder / "train_0", os.O_RDWR)
    os.write(writer, CSV_TEXT)
    threading.Timer(0.3, asked.request, ["test"]).start()
    channel = pipe_channel(folder, asked)
    assert list(channel) == []
    os.close(writer)
