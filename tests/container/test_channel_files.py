"""The fingerprint that tells whether a channel's files are those of a checkpoint."""

from pathlib import Path

import numpy as np
import pytest

from eigenline.container.channel_files import fingerprint


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
