"""MNIST is fetched from the first mirror that has it, from real HTTP servers that are good, bad and silent."""

import gzip
import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from examples import mnist
from examples.digits import load_digits
from examples.mnist import FILES, MIRRORS, cache_folder, fetch_mnist

Answer = Callable[[BaseHTTPRequestHandler, bytes], None]


def good(request: BaseHTTPRequestHandler, content: bytes) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content)


def missing(request: BaseHTTPRequestHandler, content: bytes) -> None:
    request.send_error(404)


def corrupt(request: BaseHTTPRequestHandler, content: bytes) -> None:
    good(request, gzip.compress(gzip.decompress(content)[:-1] + b"?"))


def page(request: BaseHTTPRequestHandler, content: bytes) -> None:
    good(request, b"<html>Sign in to the network</html>")


def cut(request: BaseHTTPRequestHandler, content: bytes) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content[: len(content) // 2])


def endless(request: BaseHTTPRequestHandler, content: bytes) -> None:
    request.send_response(200)
    request.end_headers()
    try:
        while True:
            request.wfile.write(content)
    except OSError:
        pass


def bomb(request: BaseHTTPRequestHandler, content: bytes) -> None:
    good(request, gzip.compress(bytes(20_000_000)))


class Silent:
    """Answer the head and then nothing, until the test is over."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def __call__(self, request: BaseHTTPRequestHandler, content: bytes) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.flush()
        self.over.wait(60)


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Four small files in MNIST's place, with MNIST's format: 60 and 10 images."""
    rng = np.random.default_rng(3)
    contents = {}
    for name in FILES:
        count = 60 if name.startswith("train") else 10
        shape = (count, 28, 28) if "images" in name else (count,)
        head = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes()
        contents[name] = head + rng.integers(0, 10, shape, np.uint8).tobytes()
    known = {name: mnist._Content(len(c), hashlib.sha256(c).hexdigest()) for name, c in contents.items()}
    monkeypatch.setattr(mnist, "FILES", known)
    return {name: gzip.compress(content) for name, content in contents.items()}


@contextmanager
def mirror(files: dict[str, bytes], answer: Answer) -> Iterator[tuple[str, list[str]]]:
    """A real server on this machine; its address, and the paths that were fetched."""
    paths = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            answer(self, files[self.path.rpartition("/")[2]])

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/mnist/", paths
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")


def use(monkeypatch: pytest.MonkeyPatch, *mirrors: str) -> None:
    monkeypatch.setenv("EIGENLINE_MNIST_MIRRORS", " ".join(mirrors))


def test_it_is_fetched_once(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    with mirror(files, good) as (address, paths):
        use(monkeypatch, address)
        assert fetch_mnist() == (cache_folder(), "")
        assert paths == [f"/mnist/{name}" for name in FILES]
        assert {path.name: path.read_bytes() for path in cache_folder().iterdir()} == files
    assert fetch_mnist() == (cache_folder(), "")  # the server is gone


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (missing, "it answered 404"),
        (corrupt, "train-images-idx3-ubyte.gz is not MNIST's: its checksum differs"),
        (page, "train-images-idx3-ubyte.gz is no gzip file"),
        (cut, "is not MNIST's"),
        (endless, "train-images-idx3-ubyte.gz is longer than MNIST's"),
        (bomb, "is not MNIST's"),
    ],
)
def test_the_next_mirror_is_tried(
    files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, answer: Answer, reason: str
) -> None:
    with mirror(files, answer) as (bad, bad_paths), mirror(files, good) as (other, _):
        use(monkeypatch, bad)
        folder, sentence = fetch_mnist()
        assert folder is None
        assert sentence.startswith("MNIST could not be fetched (127.0.0.1: ")
        assert reason in sentence
        assert not list(cache_folder().iterdir())
        assert len(bad_paths) == 1  # a mirror that fails once is left alone
        use(monkeypatch, bad, other)
        assert fetch_mnist() == (cache_folder(), "")


def test_a_silent_mirror_is_left_after_the_timeout(
    files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = Silent()
    with mirror(files, silent) as (bad, _), mirror(files, good) as (other, _):
        try:
            use(monkeypatch, bad)
            assert "silent for 0.2 s" in fetch_mnist(timeout_seconds=0.2)[1]
            use(monkeypatch, bad, other)
            assert fetch_mnist(timeout_seconds=0.2)[0] == cache_folder()
        finally:
            silent.over.set()


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:1/", "http://nosuchhost.invalid/", "no address", "ftp:///x"]
)
def test_without_a_network_the_reason_is_one_sentence(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, address)
    folder, sentence = fetch_mnist()
    assert folder is None
    assert sentence.startswith("MNIST could not be fetched (")
    assert "\n" not in sentence


def test_a_cache_that_cannot_be_written_is_named(
    files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file, no folder")
    with mirror(files, good) as (address, _):
        use(monkeypatch, address)
        assert f"MNIST cannot be kept in {cache_folder()}" in fetch_mnist()[1]


def test_what_was_fetched_is_loaded(
    files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("MNIST_DIR", raising=False)
    monkeypatch.setattr("examples.digits.BESIDE_THE_CHECKOUT", tmp_path / "nothing")
    with mirror(files, good) as (address, _):
        use(monkeypatch, address)
        digits = load_digits()
    assert digits.name == "MNIST"
    assert digits.train_images.shape == (60, 784)
    assert digits.test_labels.shape == (10,)


@pytest.mark.slow
def test_without_a_network_the_demo_takes_the_small_digits_and_says_why(tmp_path: Path) -> None:
    environment = {**os.environ, "EIGENLINE_MNIST_MIRRORS": "http://127.0.0.1:1/", "PYTHONPATH": str(tmp_path)}
    environment.pop("MNIST_DIR", None)
    # A checkout of its own, with no reference data beside it.
    for folder in ("examples", "eigenline"):
        (tmp_path / folder).symlink_to(Path(__file__).parents[2] / folder)
    program = "from pathlib import Path\nimport examples.digits as d\nd.BESIDE_THE_CHECKOUT = Path('nothing')\n"
    done = subprocess.run(
        [sys.executable, "-c", program + "from examples.demo import main\nmain()"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "MNIST could not be fetched (127.0.0.1: [Errno 111] Connection refused). These are" in done.stdout
    assert (tmp_path / "demo" / "eigendigits.png").is_file()


def test_the_mirrors_are_reached_encrypted() -> None:
    assert all(mirror.startswith("https://") for mirror in MIRRORS)
