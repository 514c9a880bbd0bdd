"""Which files of a folder are a channel's, links included, and the fingerprint that tells other data."""

import json
import os
import socket
from pathlib import Path

import numpy as np
import pytest

from eigenline.algorithms.errors import DataError, Stopped
from eigenline.container.channel_files import find_files, fingerprint


def of(path: Path, whole: bool) -> str:
    with path.open("rb", buffering=0) as file:
        return fingerprint(file, whole)


@pytest.mark.parametrize("size", [0, 1, 100_000, 3_000_000])
def test_the_same_content_has_the_same_fingerprint(tmp_path: Path, size: int) -> None:
    content = np.random.default_rng(1).bytes(size)
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(content)
    for whole in (False, True):
        assert of(tmp_path / "a", whole) == of(tmp_path / "b", whole)


@pytest.mark.parametrize("place", [0, 1_234_567, 2_999_999])
def test_a_single_byte_tells_where_all_is_read(tmp_path: Path, place: int) -> None:
    content = bytearray(np.random.default_rng(1).bytes(3_000_000))
    (tmp_path / "a").write_bytes(content)
    content[place] ^= 1
    (tmp_path / "b").write_bytes(content)
    assert of(tmp_path / "a", whole=True) != of(tmp_path / "b", whole=True)


@pytest.mark.parametrize(("first", "last"), [(0, 1), (2_999_999, 3_000_000), (1_000_000, 1_100_000)])
def test_ends_and_any_stretch_tell_where_only_samples_are_read(tmp_path: Path, first: int, last: int) -> None:
    content = bytearray(np.random.default_rng(1).bytes(3_000_000))
    (tmp_path / "a").write_bytes(content)
    content[first:last] = bytes(byte ^ 255 for byte in content[first:last])
    (tmp_path / "b").write_bytes(content)
    assert of(tmp_path / "a", whole=False) != of(tmp_path / "b", whole=False)
    (tmp_path / "b").write_bytes(bytes(content) + b"x")
    assert of(tmp_path / "a", whole=False) != of(tmp_path / "b", whole=False)


def test_a_stop_ends_the_reading_for_a_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(3_000_000))
    for whole in (False, True):
        with (tmp_path / "a").open("rb", buffering=0) as file, pytest.raises(Stopped):
            fingerprint(file, whole, lambda: True)


@pytest.fixture
def channel(tmp_path: Path) -> Path:
    """A channel's folder, with one file, and a folder outside of it, with another."""
    for name in ("train", "outside"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.csv").write_bytes(b"1,2\n")
    return tmp_path / "train"


def names(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in find_files("train", folder)]


def test_links_to_files_and_folders_are_followed(channel: Path) -> None:
    (channel / "a.csv").symlink_to("../outside/outside.csv")
    (channel / "b").symlink_to("../outside")
    (channel / "c").symlink_to("b")  # a link to a link
    assert names(channel) == ["a.csv", "b/outside.csv", "c/outside.csv", "train.csv"]


def test_links_that_have_no_end_are_refused(channel: Path) -> None:
    (channel / "deep" / "er").mkdir(parents=True)
    (channel / "deep" / "er" / "back").symlink_to("../../../train")
    with pytest.raises(DataError, match="deep/er/back is a link to a folder that it lies in itself"):
        find_files("train", channel)
    (channel / "deep" / "er" / "back").unlink()
    (channel / "own").symlink_to("own")
    with pytest.raises(DataError, match="own cannot be read: Too many levels of symbolic links"):
        find_files("train", channel)


def test_what_is_neither_file_nor_folder_is_refused_unless_it_is_hidden(channel: Path) -> None:
    os.mkfifo(channel / "_hidden")
    (channel / ".gone").symlink_to("nowhere")
    assert names(channel) == ["train.csv"]
    (channel / "gone").symlink_to("nowhere")
    with pytest.raises(DataError, match="gone is a link to 'nowhere', which is not there"):
        find_files("train", channel)
    (channel / "gone").unlink()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(channel / "socket"))
        with pytest.raises(DataError, match="socket is neither a file nor a folder"):
            find_files("train", channel)


@pytest.mark.parametrize("name", ["../outside/outside.csv", "a\0b", "b/../../outside/outside.csv", "/etc/passwd"])
def test_a_manifest_lists_files_beside_it_only(channel: Path, name: str) -> None:
    (channel / "x.manifest").write_text(json.dumps([{"prefix": "s3://b/"}, name]))
    with pytest.raises(DataError, match="which is not a file beside it"):
        find_files("train", channel)
