"""Several hosts over real sockets: the others wait for the first, hear how it went, and never await the dead."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from eigenline.container.hosts import FirstHostFailed, Followers, wait_for_first


def never() -> bool:
    return False


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def followers_in_threads(count: int, port: int) -> tuple[list[threading.Thread], list[str]]:
    heard: list[str] = []

    def follow() -> None:
        try:
            wait_for_first("localhost", never, port, timeout_seconds=10)
            heard.append("done")
        except FirstHostFailed as error:
            heard.append(str(error))

    threads = [threading.Thread(target=follow, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads, heard


def test_every_host_hears_that_the_first_is_done(port: int) -> None:
    threads, heard = followers_in_threads(3, port)  # they start before the first host listens
    time.sleep(0.3)
    assert Followers(3, port).send("done", timeout_seconds=10) == 3
    for thread in threads:
        thread.join(5)
    assert heard == ["done"] * 3


def test_every_host_fails_with_the_reason_of_the_first(port: int) -> None:
    followers = Followers(2, port)
    threads, heard = followers_in_threads(2, port)
    followers.send("ClientError: channel 'train' is empty", timeout_seconds=10)
    for thread in threads:
        thread.join(5)
    assert len(heard) == 2
    assert all("failed: ClientError: channel 'train' is empty" in text for text in heard)


def test_a_first_host_that_is_killed_fails_the_others_at_once(port: int) -> None:
    program = (
        "import sys, time\nfrom eigenline.container.hosts import Followers\n"
        "followers = Followers(1, int(sys.argv[1]))\ntime.sleep(60)"
    )
    first = subprocess.Popen([sys.executable, "-c", program, str(port)])
    threads, heard = followers_in_threads(1, port)
    time.sleep(1)
    assert heard == []
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    threads[0].join(10)
    assert "ended without a word" in heard[0]


def test_a_host_that_comes_late_is_waited_for_but_not_for_good(port: int) -> None:
    started = time.monotonic()
    assert Followers(1, port).send("done", timeout_seconds=0.3) == 0
    assert 0.2 < time.monotonic() - started < 5


def test_a_first_host_that_cannot_be_reached_is_named(port: int) -> None:
    with pytest.raises(FirstHostFailed, match=f"localhost.*cannot be reached on port {port}"):
        wait_for_first("localhost", never, port, timeout_seconds=0.5)


def test_a_request_to_stop_ends_the_wait(port: int) -> None:
    wait_for_first("localhost", lambda: True, port)
    followers = Followers(1, port)
    asked = threading.Event()
    threading.Timer(0.4, asked.set).start()
    wait_for_first("localhost", asked.is_set, port)
    assert followers.send("done", timeout_seconds=2) == 1


def test_one_host_alone_opens_no_port() -> None:
    assert Followers(0).send("done") == 0
