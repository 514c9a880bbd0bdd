"""How far the reading of a channel is: lines every ten seconds, with a share and a time left that are true."""

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from eigenline import write_recordio
from eigenline.container.channels import open_channels
from eigenline.container.configuration import ChannelDescription
from eigenline.container.job_log import JobLog
from eigenline.container.reading_progress import ReadingProgress
from tests.container.channel_data import CSV_TEXT, feed, never


class Clock:
    """Goes on by so many seconds whenever the time is read."""

    def __init__(self, seconds: float) -> None:
        self._now = 0.0
        self._seconds = seconds

    def __call__(self) -> float:
        self._now += self._seconds
        return self._now


def lines(log: io.StringIO) -> list[str]:
    return [line.partition("] ")[2] for line in log.getvalue().splitlines()]


def test_a_line_every_ten_seconds_and_none_in_a_short_pass() -> None:
    stream, now = io.StringIO(), [0.0]
    progress = ReadingProgress("train", 1_000_000_000, JobLog(stream, clock=lambda: now[0]))
    for _ in range(2):
        progress.begin()
        for second in range(1, 26):
            now[0] += 1
            progress.update(second * 20_000_000)
    progress.begin()
    now[0] += 9
    progress.update(999_999_999)
    assert lines(stream) == [
        "Reading 'train': 200 of 1,000 MB (20 %) in 10 s; the rest of this pass takes about 40 s.",
        "Reading 'train': 400 of 1,000 MB (40 %) in 20 s; the rest of this pass takes about 30 s.",
        "Reading 'train', pass 2: 200 of 1,000 MB (20 %) in 10 s; the rest of this pass takes about 40 s.",
        "Reading 'train', pass 2: 400 of 1,000 MB (40 %) in 20 s; the rest of this pass takes about 30 s.",
    ]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("kind", ["text/csv", "application/x-recordio-protobuf"])
def test_files_count_as_far_as_they_were_read(tmp_path: Path, kind: str, pack: Callable[[bytes], bytes]) -> None:
    """Three files of one block each: with the second, the first is done."""
    (tmp_path / "train").mkdir()
    content = CSV_TEXT * 1000 if kind == "text/csv" else write_recordio(np.ones((4000, 3)), np.ones(4000))
    for name in "abc":
        (tmp_path / "train" / name).write_bytes(pack(content))
    stream = io.StringIO()
    log = JobLog(stream, clock=Clock(11))
    opened = open_channels([ChannelDescription("train", kind)], tmp_path, "required", never, log=log)
    assert len(list(opened["train"])) == 3
    found = lines(stream)
    assert len(found) == 3
    shares = [float(line.partition("(")[2].partition(" %")[0]) if "%" in line else 0.0 for line in found]
    assert shares == sorted(shares)
    assert shares[0] <= 34
    assert 33 <= shares[1] <= 67
    assert 66 <= shares[2] <= 100


def test_a_pipe_has_no_end_that_is_known(tmp_path: Path) -> None:
    feed(tmp_path / "train_0", [CSV_TEXT])
    stream = io.StringIO()
    description = ChannelDescription("train", "text/csv", "Pipe")
    log = JobLog(stream, clock=Clock(11))
    list(open_channels([description], tmp_path, "required", never, log=log)["train"])
    assert lines(stream) == ["Reading 'train': 0 MB in 11 s."]
