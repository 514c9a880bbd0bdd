"""The request to stop: a flag, and an exception only out of the reading of a block."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from eigenline import write_recordio
from eigenline.algorithms.errors import Stopped
from eigenline.container.channels import open_channels
from eigenline.container.configuration import ChannelDescription
from eigenline.container.stopping import Stopping


@pytest.fixture
def stopping() -> Iterator[Stopping]:
    """A request that SIGTERM and SIGINT make."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    asked = Stopping()
    asked.install()
    yield asked
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_sets_the_flag_and_disturbs_nothing(stopping: Stopping) -> None:
    assert not stopping()
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
    assert stopping()
    assert stopping.signal_name == "SIGINT"  # the first one


def test_a_signal_breaks_off_the_block_that_allows_it(stopping: Stopping) -> None:
    reached = []

    def read() -> None:
        with stopping.breaking_off():
            os.kill(os.getpid(), signal.SIGTERM)
            reached.append(sum(range(1000)))

    with pytest.raises(Stopped):
        read()
    assert reached == []
    with pytest.raises(Stopped), stopping.breaking_off():  # asked already
        reached.append(1)
    assert reached == []
    os.kill(os.getpid(), signal.SIGTERM)  # outside of such a block nothing is raised


def test_in_another_thread_nothing_is_broken_off(stopping: Stopping) -> None:
    entered, leave = threading.Event(), threading.Event()

    def wait() -> None:
        with stopping.breaking_off():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=wait)
    thread.start()
    entered.wait(10)
    os.kill(os.getpid(), signal.SIGTERM)
    leave.set()
    thread.join(10)
    assert stopping()


@pytest.mark.parametrize("content_type", ["text/csv", "application/x-recordio-protobuf"])
def test_a_pass_over_files_ends_at_the_next_block(tmp_path: Path, content_type: str) -> None:
    """Of 100 files one block is read after the request, not 99."""
    (tmp_path / "train").mkdir()
    content = b"1,2,3\n" if content_type == "text/csv" else write_recordio(np.ones((1, 2)), np.ones(1))
    for number in range(100):
        (tmp_path / "train" / f"{number:03}").write_bytes(content)
    stopping = Stopping()
    channel = open_channels([ChannelDescription("train", content_type)], tmp_path, "required", stopping)["train"]
    seen = 0
    for seen, _ in enumerate(channel, 1):
        if seen == 3:
            stopping.request("test")
    assert seen == 3
    assert list(channel) == []
