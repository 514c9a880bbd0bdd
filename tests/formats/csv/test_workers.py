"""CSV parsed by worker processes: the same rows and errors as without them, whatever happens to the workers."""

import contextlib
import gzip
import io
import mmap
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eigenline.algorithms.errors import DataError
from eigenline.formats.csv import reader as csv_text
from eigenline.formats.reading import read_batches

BLOCK_BYTES = 4 << 20  # windows of 1 MB of text


@pytest.fixture(scope="module", autouse=True)
def _any_length_is_long():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_text, "_LONG_BYTES", 0)
        yield


def outcome(source, content_type="text/csv;label_size=0", **options):
    """Return all rows, labels and names; or the rows' error."""
    try:
        batches = list(read_batches(source, content_type, name="x.csv", **options))
    except DataError as error:
        return str(error)
    features = [row for batch in batches for row in batch.features.tolist()]
    labels = [label for batch in batches if batch.labels is not None for label in batch.labels.tolist()]
    return features, labels, {batch.column_names for batch in batches}


def lines(count, columns=50, seed=0):
    rows = np.random.default_rng(seed).integers(0, 1000, (count, columns)).tolist()
    return [",".join(map(str, row)).encode() for row in rows]


cells = st.sampled_from(
    ["0", "1", "-2.5", "3e5", ".5", "7.", '"8"', " 9 ", "1e400", "nan", "", "x", "9e-303", "[1]"]
)
plain = st.integers(0, 999).map(str)
text_lines = st.lists(plain, min_size=2, max_size=2) | st.lists(plain | cells, min_size=1, max_size=3)
texts = st.builds(
    lambda start, rows, end: (start + end.join(",".join(row) for row in rows) + end).encode(),
    st.sampled_from(["", "a,b\n", "\ufeff", "\ufeff\ufeffa,b\n", "\n"]),
    st.lists(text_lines, max_size=12) | st.lists(st.lists(plain, min_size=2, max_size=2), min_size=5, max_size=40),
    st.sampled_from(["\n", "\r\n", "\n\n", "\na,b\n"]),
)


@given(
    text=texts | st.binary(max_size=60),
    block_bytes=st.integers(1, 400),
    processes=st.integers(2, 3),
    streamed=st.booleans(),
    content_type=st.sampled_from(["text/csv;label_size=0", "text/csv", "text/csv;header=present"]),
)
@settings(max_examples=80)
def test_any_text_gives_what_one_process_gives(text, block_bytes, processes, streamed, content_type):
    def read(**options):
        source = io.BytesIO(text) if streamed else text
        return outcome(source, content_type, block_bytes=block_bytes, **options)

    assert read(processes=processes) == read()


@pytest.fixture(scope="module")
def text():
    return b"\n".join(lines(40_000)) + b"\n"


def test_pieces_come_in_order_from_every_kind_of_source(text, tmp_path):
    (tmp_path / "train.csv").write_bytes(text)
    expected = np.loadtxt(io.BytesIO(text), np.float32, delimiter=",")
    with open(tmp_path / "train.csv", "rb", buffering=0) as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        for source in (text, mapped, file, io.BytesIO(gzip.compress(text, 1))):
            batches = list(
                read_batches(source, "csv;label_size=1", name="x", block_bytes=BLOCK_BYTES, processes=2)
            )
            np.testing.assert_array_equal(np.concatenate([b.features for b in batches]), expected[:, 1:])
            np.testing.assert_array_equal(np.concatenate([b.labels for b in batches]), expected[:, 0])
            assert all(batch.features.flags.c_contiguous for batch in batches)
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    "line", [b"1,oops", b"1,2,3", b"", b"," * 49, b"1e39" + b",0" * 49, b".5" + b",0" * 49, b"1" * 17_000_000]
)
@pytest.mark.parametrize("place", [10, 39_000])
def test_an_odd_line_far_into_a_file(text, line, place):
    rows = text.split(b"\n")
    odd = b"\n".join([*rows[:place], line, *rows[place:]])
    found = outcome(odd, block_bytes=BLOCK_BYTES, processes=2)
    assert found == outcome(odd, block_bytes=BLOCK_BYTES)
    assert isinstance(found, tuple) or f"line {place + 1}" in found


def test_lines_longer_than_a_worker_takes():
    long = b",".join([b"1"] * 800_000)
    text = b"\n".join([long] * 3)
    batches = list(read_batches(text, "csv;label_size=0", name="x", block_bytes=BLOCK_BYTES, processes=2))
    assert sum(map(len, batches)) == 3
    assert all((batch.features == 1).all() for batch in batches)


def test_rows_before_a_damaged_part_come_first(text):
    packed = gzip.compress(text, 1)

    def rows_until_the_error(processes):
        rows = []
        batches = read_batches(
            packed[: len(packed) * 2 // 3], "csv", name="x", block_bytes=BLOCK_BYTES, processes=processes
        )
        with pytest.raises(DataError, match="cannot be unpacked"):
            rows.extend(len(batch) for batch in batches)
        return sum(rows)

    assert 0 < rows_until_the_error(2) == rows_until_the_error(1) < 40_000


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_rows_of_killed_workers_are_parsed_here(text, number):
    batches = read_batches(
        io.BytesIO(text * 4), "csv;label_size=0", name="x", block_bytes=BLOCK_BYTES, processes=2
    )
    rows = len(next(batches))
    os.kill(multiprocessing.active_children()[0].pid, number)
    assert rows + sum(map(len, batches)) == 160_000
    assert multiprocessing.active_children() == []


def test_short_sources_have_no_workers(text, monkeypatch):
    monkeypatch.setattr(csv_text, "_LONG_BYTES", 16 << 20)
    for source in (text, io.BytesIO(text)):
        batches = read_batches(source, "csv", name="x", block_bytes=BLOCK_BYTES, processes=2)
        next(batches)
        assert multiprocessing.active_children() == []


def test_closing_early_leaves_no_process(text):
    batches = read_batches(
        io.BytesIO(text * 4), "csv;label_size=0", name="x", block_bytes=BLOCK_BYTES, processes=2
    )
    next(batches)
    assert len(multiprocessing.active_children()) == 2
    batches.close()
    assert multiprocessing.active_children() == []


READER = """
import multiprocessing, signal, sys
from eigenline.formats.reading import read_batches
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
with open(sys.argv[1], "rb", buffering=0) as fifo:
    batches = read_batches(fifo, "csv;label_size=0", name="x", block_bytes=4 << 20, processes=2)
    rows = 0
    while not multiprocessing.active_children():
        rows += len(next(batches))
    print(*[child.pid for child in multiprocessing.active_children()], flush=True)
    rows += sum(map(len, batches))
print(rows, len(asked))
"""


@contextlib.contextmanager
def reader_of_a_fifo(tmp_path, text):
    """Yield a reading process in a group of its own, its workers' ids, and a function that ends its input."""
    fifo = tmp_path / "train_0"
    os.mkfifo(fifo)
    more = threading.Event()

    def send():
        with contextlib.suppress(BrokenPipeError), open(fifo, "wb", buffering=0) as file:
            for wait in (False, True):
                if wait:
                    more.wait(60)
                view = memoryview(text)
                while view:
                    view = view[file.write(view) :]

    sender = threading.Thread(target=send)
    sender.start()
    command = [sys.executable, "-c", READER, str(fifo)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as reader:
        try:
            yield reader, list(map(int, reader.stdout.readline().split())), more.set
        finally:
            more.set()
            reader.kill()
            sender.join()


def ends(pid):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def test_workers_end_with_their_parent(text, tmp_path):
    with reader_of_a_fifo(tmp_path, text * 5) as (reader, workers, _):
        assert len(workers) == 2
        reader.kill()
        reader.wait()
        assert all(map(ends, workers))


def test_a_request_to_stop_is_the_parents_to_hear(text, tmp_path):
    with reader_of_a_fifo(tmp_path, text * 5) as (reader, workers, finish):
        os.killpg(reader.pid, signal.SIGTERM)
        assert all(map(ends, workers))
        finish()
        assert reader.stdout.read().split() == ["400000", "1"]
