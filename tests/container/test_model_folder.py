"""Files that appear whole and together, also when the disk fills up, and checkpoints made of them."""

import os
import resource
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eigenline.container.checkpoints import FILE, FolderCheckpoints, NoCheckpoints
from eigenline.container.job_log import JobLog
from eigenline.container.model_folder import remove_partial, write_together

CONTENT = {"report.json": b"{}", "model_algo-1": b"\x01\x02"}


def test_all_files_are_written_and_nothing_else(tmp_path: Path) -> None:
    write_together(tmp_path / "model", CONTENT)
    assert {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()} == CONTENT


def test_files_of_an_earlier_job_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "model_algo-1").write_bytes(b"old and longer")
    write_together(tmp_path, CONTENT)
    assert (tmp_path / "model_algo-1").read_bytes() == b"\x01\x02"


def test_a_failure_half_way_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # the operating system refuses what is longer
    try:
        with pytest.raises(OSError, match="model_algo-1"):
            write_together(tmp_path, {"report.json": b"new", "model_algo-1": b"x" * 2000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"report.json": b"old"}


def test_what_a_killed_process_left_is_swept_away(tmp_path: Path) -> None:
    (tmp_path / ".partial-model_algo-1").write_bytes(b"half")
    remove_partial(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a/b", "../a", ".hidden", ""])
def test_only_plain_names_are_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a plain file name"):
        write_together(tmp_path, {name: b""})


def checkpoints(folder: Path, job: str = "pca", log: StringIO | None = None) -> FolderCheckpoints:
    return FolderCheckpoints(folder, job, JobLog(log or StringIO()))


def test_a_state_comes_back_with_every_name_type_and_shape(tmp_path: Path) -> None:
    state = {
        "weights": np.eye(3, dtype=np.float32),
        "epoch": np.int64(4),
        "generator": np.array([1, 2], np.uint64),
    }
    checkpoints(tmp_path).save(state)
    loaded = checkpoints(tmp_path).load()
    assert loaded is not None
    assert set(loaded) == set(state)
    for name, value in state.items():
        np.testing.assert_array_equal(loaded[name], value)
        assert loaded[name].dtype == np.asarray(value).dtype


def test_only_the_newest_state_is_kept(tmp_path: Path) -> None:
    for epoch in range(3):
        checkpoints(tmp_path).save({"epoch": np.array(epoch)})
    loaded = checkpoints(tmp_path).load()
    assert loaded is not None
    assert loaded["epoch"] == 2
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_there_is_nothing_to_load_at_first(tmp_path: Path) -> None:
    assert checkpoints(tmp_path).load() is None
    NoCheckpoints().save({"a": np.zeros(1)})
    assert NoCheckpoints().load() is None


def test_the_state_of_another_job_is_left_alone_and_reported(tmp_path: Path) -> None:
    checkpoints(tmp_path, "num_components=3").save({"epoch": np.array(1)})
    log = StringIO()
    assert checkpoints(tmp_path, "num_components=4", log).load() is None
    assert "belongs to a job with other hyperparameters or other data" in log.getvalue()
    assert "training starts from the beginning" in log.getvalue()


@pytest.mark.parametrize("keep", [0, 1, 10, 100, -1])
def test_a_damaged_state_is_reported_and_training_starts_anew(tmp_path: Path, keep: int) -> None:
    checkpoints(tmp_path).save({"epoch": np.arange(50)})
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[:keep])
    log = StringIO()
    assert checkpoints(tmp_path, log=log).load() is None
    assert "cannot be read" in log.getvalue()


@given(data=st.data())
def test_any_damage_is_noticed_or_harmless(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Whatever becomes of the file, loading it gives the state that was saved, or a line in the log."""
    folder = tmp_path_factory.mktemp("checkpoint")
    state = {"weights": np.arange(20.0), "epoch": np.array(3)}
    checkpoints(folder).save(state)
    content = bytearray((folder / FILE).read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[place] ^= data.draw(st.integers(1, 255))
    (folder / FILE).write_bytes(bytes(content))
    log = StringIO()
    loaded = checkpoints(folder, log=log).load()
    if loaded is None:
        assert "training starts from the beginning" in log.getvalue()
    else:
        for name, value in state.items():
            np.testing.assert_array_equal(loaded[name], value)


def test_compressed_arrays_are_not_unpacked(tmp_path: Path) -> None:
    """A few kilobytes could otherwise become gigabytes."""
    np.savez_compressed(tmp_path / FILE, a=np.zeros(1_000_000))
    log = StringIO()
    assert checkpoints(tmp_path, log=log).load() is None
    assert "compressed arrays" in log.getvalue()


def test_a_checkpoint_that_cannot_be_written_is_reported_once_and_training_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    log = StringIO()
    kept = checkpoints(tmp_path / "file" / "below", log=log)
    for _ in range(3):
        kept.save({"epoch": np.array(1)})
    assert log.getvalue().count("WARNING") == 1
    assert "No checkpoint can be saved in" in log.getvalue()


def test_a_kill_in_the_middle_of_saving_leaves_a_complete_state(tmp_path: Path) -> None:
    """Kill a process that saves without pause at twenty different moments; every time one whole state is there."""
    program = (
        "import sys, numpy as np\n"
        "from io import StringIO\nfrom pathlib import Path\n"
        "from eigenline.container.checkpoints import FolderCheckpoints\n"
        "from eigenline.container.job_log import JobLog\n"
        "kept = FolderCheckpoints(Path(sys.argv[1]), 'pca', JobLog(StringIO()))\n"
        "epoch = 0\n"
        "while True:\n"
        "    kept.save({'epoch': np.array(epoch), 'filled': np.full(100_000, epoch)})\n"
        "    epoch += 1\n"
        "    print(epoch, flush=True)\n"
    )
    for moment in range(20):
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        with process.stdout:
            process.stdout.readline()
            try:
                process.wait(timeout=0.002 * moment)
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
            process.wait()
        loaded = checkpoints(tmp_path).load()
        assert loaded is not None
        np.testing.assert_array_equal(loaded["filled"], loaded["epoch"])
