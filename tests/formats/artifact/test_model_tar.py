"""``model.tar.gz`` is packed as SageMaker packs it, and unpacked without trusting it."""

import gzip
import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eigenline.algorithms.errors import DataError
from eigenline.formats.artifact.model_tar import read_model_tar, write_model_tar

FILES = {"model_algo-1": b"model" * 100, "report.json": b"{}", "folder/models.csv": b""}


@pytest.mark.parametrize("job", ["pca-regular", "pca-randomized"])
def test_real_archives(aws_data, job):
    data = (aws_data / job / "model.tar.gz").read_bytes()
    assert read_model_tar(data) == {"model_algo-1": (aws_data / job / "model_algo-1").read_bytes()}


def test_the_layout_is_the_service_s(aws_data):
    real = (aws_data / "pca-regular" / "model.tar.gz").read_bytes()
    with tarfile.open(fileobj=io.BytesIO(real)) as archive:
        (member,) = archive.getmembers()
    written = write_model_tar(read_model_tar(real), mtime=int(member.mtime))
    assert written[:10] == real[:10] == bytes.fromhex("1f8b08000000000000ff")
    assert len(gzip.decompress(written)) == len(gzip.decompress(real))
    with tarfile.open(fileobj=io.BytesIO(written)) as archive:
        (ours,) = archive.getmembers()
    for part in ("name", "size", "mtime", "uid", "gid", "uname", "gname", "type"):
        assert getattr(ours, part) == getattr(member, part)
    assert ours.mode == member.mode & 0o7777 == 0o644


def test_round_trip_and_equal_bytes():
    data = write_model_tar(FILES)
    assert read_model_tar(data) == FILES
    assert read_model_tar(gzip.decompress(data)) == FILES
    assert write_model_tar(FILES) == data


def packed_archive(*members, names=None):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return buffer.getvalue()


def member(name, kind=tarfile.REGTYPE, size=1, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, target
    return info


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(kind):
    with pytest.raises(DataError, match="link or a device"):
        read_model_tar(packed_archive(member("model_algo-1", kind, 0, "/etc/passwd")))


@pytest.mark.parametrize("name", ["/etc/passwd", "../model", "a/../../b", "a\\..\\b"])
def test_paths_out_of_the_archive_are_refused(name):
    with pytest.raises(DataError, match="leads out"):
        read_model_tar(packed_archive(member(name)))


def test_folders_and_leading_dots_are_left_out():
    data = packed_archive(
        member(".", tarfile.DIRTYPE, 0), member("./model_algo-1"), member("sub", tarfile.DIRTYPE, 0)
    )
    assert read_model_tar(data) == {"model_algo-1": b"x"}


def test_bombs_are_refused():
    data = packed_archive(member("model_algo-1", size=30 << 20))
    assert len(data) < 100_000
    with pytest.raises(DataError, match="unpacks to more than"):
        read_model_tar(data, limit_bytes=1 << 20)
    with pytest.raises(DataError, match="more than 1000 members"):
        read_model_tar(packed_archive(*(member(str(i), size=0) for i in range(1001))))


def test_truncated_archives_are_refused():
    data = write_model_tar({"model_algo-1": bytes(range(256)) * 20})
    for cut in range(1, len(data), 7):
        with pytest.raises(DataError, match="not a readable tar"):
            read_model_tar(data[:cut])


@given(st.binary(max_size=700), st.booleans())
@settings(max_examples=200)
def test_any_bytes_give_files_or_a_data_error(data, packed):
    try:
        files = read_model_tar(gzip.compress(data) if packed else data)
    except DataError:
        return
    assert isinstance(files, dict)
