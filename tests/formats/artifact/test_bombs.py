"""Archives that unpack to far more than they are cost megabytes at most, and never end in a MemoryError."""

import gzip
import io
import struct
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from eigenline.algorithms.errors import DataError
from eigenline.algorithms.linear_learner.model import LinearLearnerModel
from eigenline.algorithms.pca.model import PCAModel
from eigenline.formats.artifact.memory_budget import ArtifactTooLarge, unpacking_limit
from eigenline.formats.artifact.model_file import read_artifact, write_artifact
from eigenline.formats.artifact.model_tar import is_served_member, read_model_tar
from eigenline.formats.machine_limits import memory_limit

MOST_BYTES = 8 << 20
BOMB_BYTES = 64 << 20
LINEAR = LinearLearnerModel(np.ones((3, 1), np.float32), np.zeros(1, np.float32), "regressor", "squared_loss")
PCA = PCAModel(np.ones(2, np.float32), np.eye(3, 2, dtype=np.float32))


def peak_bytes(read: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        read()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def zip_with(bomb: str, compression: int = zipfile.ZIP_DEFLATED, size: int = BOMB_BYTES) -> bytes:
    """A whole artifact, in which a member is added or replaced by so many zeros."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(write_artifact(LINEAR))) as whole,
        zipfile.ZipFile(buffer, "w", compression) as archive,
    ):
        for name in whole.namelist():
            if name != bomb:
                archive.writestr(name, whole.read(name))
        with archive.open(bomb, "w", force_zip64=True) as member:
            for _ in range(size >> 20):
                member.write(bytes(1 << 20))
    return buffer.getvalue()


def tar_with(*members: tuple[tarfile.TarInfo, int]) -> bytes:
    """An artifact, and members of so many zeros."""
    packed = io.BytesIO()
    with gzip.GzipFile("", "wb", 6, packed) as file:
        content = write_artifact(PCA)
        info = tarfile.TarInfo("model_algo-1")
        info.size = len(content)
        file.write(info.tobuf() + content + bytes(-len(content) % 512))
        for info, size in members:
            info.size = size
            file.write(info.tobuf())
            for _ in range(size >> 20):
                file.write(bytes(1 << 20))
            file.write(bytes(size % (1 << 20) + -size % 512))
        file.write(bytes(1024))
    return packed.getvalue()


def test_superfluous_members_of_a_zip_are_not_unpacked() -> None:
    data = zip_with("extra.bin")
    assert len(data) < 1 << 20
    assert peak_bytes(lambda: read_artifact(data)) < MOST_BYTES


@pytest.mark.parametrize("member", ["mx-mod-0000.params", "additional-params.json"])
def test_needed_members_of_a_zip_are_looked_at_before_they_are_unpacked(member: str) -> None:
    data = zip_with(member)

    def read() -> None:
        with pytest.raises(DataError, match=r"not an MXNet array file|claims 67108864 bytes"):
            read_artifact(data)

    assert peak_bytes(read) < MOST_BYTES


def test_an_array_may_not_be_larger_than_its_member() -> None:
    # A declared shape of 4 GB in a member of 64 MB.
    claim = struct.pack("<QQQ", 0x112, 0, 1) + struct.pack("<Iii2q", 0xF993FAC9, 0, 2, 1 << 20, 1 << 10)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("additional-params.json", b"{}")
        with archive.open("mx-mod-0000.params", "w") as member:
            member.write(claim + struct.pack("<iii", 1, 0, 0))
            for _ in range(BOMB_BYTES >> 20):
                member.write(bytes(1 << 20))

    def read() -> None:
        with pytest.raises(DataError, match="4294967296 bytes should follow, but only 67108864 do"):
            read_artifact(buffer.getvalue())

    assert peak_bytes(read) < MOST_BYTES


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(compression: int) -> None:
    with pytest.raises(DataError, match="compressed in an unknown way"):
        read_artifact(zip_with("additional-params.json", compression, 0))


@pytest.mark.slow
def test_superfluous_members_of_a_tar_are_passed_over() -> None:
    data = tar_with((tarfile.TarInfo("notes.bin"), BOMB_BYTES))
    assert len(data) < 1 << 20
    found: list[dict[str, bytes]] = []
    assert peak_bytes(lambda: found.append(read_model_tar(data, wanted=is_served_member))) < MOST_BYTES
    assert found == [{"model_algo-1": write_artifact(PCA)}]


def test_a_member_beyond_the_limit_is_refused_before_it_is_read() -> None:
    data = tar_with((tarfile.TarInfo("model_algo-2"), BOMB_BYTES))

    def read() -> None:
        with pytest.raises(ArtifactTooLarge, match="unpacks to more than 33554432 bytes"):
            read_model_tar(data, limit_bytes=32 << 20)

    assert peak_bytes(read) < MOST_BYTES


@pytest.mark.parametrize(
    "kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE]
)
def test_endless_names_are_refused(kind: bytes) -> None:
    name = tarfile.TarInfo("././@LongLink")
    name.type = kind
    data = tar_with((name, BOMB_BYTES))

    def read() -> None:
        with pytest.raises(DataError, match="headers of more than 1048576 bytes"):
            read_model_tar(data)

    assert peak_bytes(read) < MOST_BYTES


def test_names_of_some_hundred_letters_are_read() -> None:
    buffer = io.BytesIO()
    names = [f"{'folder/' * 40}{number}" for number in range(900)]
    with tarfile.open(fileobj=buffer, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.pax_headers = {"comment": "x" * 200}
            archive.addfile(info)
    assert list(read_model_tar(buffer.getvalue())) == names


def test_sparse_files_are_refused() -> None:
    info = tarfile.TarInfo("model_algo-2")
    info.type = tarfile.GNUTYPE_SPARSE
    with pytest.raises(DataError, match="sparse file"):
        read_model_tar(tar_with((info, 0)))


def test_the_limit_is_a_quarter_of_the_memory() -> None:
    assert unpacking_limit() == memory_limit() // 4


NOT_ENOUGH = """
import resource, sys
from pathlib import Path
from eigenline.formats.artifact.memory_budget import ArtifactTooLarge
from eigenline.formats.artifact.model_file import read_artifact
from eigenline.formats.artifact.model_tar import read_model_tar
data = Path(sys.argv[1]).read_bytes()
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (24 << 20),) * 2)
try:
    {"tar": read_model_tar, "zip": read_artifact}[sys.argv[2]](data)
except ArtifactTooLarge as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tar", "zip"])
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux' /proc")
def test_too_little_memory_is_an_error_of_the_model(tmp_path: Path, kind: str) -> None:
    weights = struct.pack("<QQQ", 0x112, 0, 1) + struct.pack("<Iii2q", 0xF993FAC9, 0, 2, BOMB_BYTES // 4, 1)
    if kind == "tar":
        data = tar_with((tarfile.TarInfo("model_algo-2"), BOMB_BYTES))
    else:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("additional-params.json", b"{}")
            archive.writestr("mx-mod-0000.params", weights + struct.pack("<iii", 1, 0, 0) + bytes(BOMB_BYTES))
        data = buffer.getvalue()
    file = tmp_path / "data"
    file.write_bytes(data)
    done = subprocess.run([sys.executable, "-c", NOT_ENOUGH, str(file), kind], capture_output=True, text=True)
    assert "The memory of this machine does not suffice for model" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("threshold", "message"),
    [
        (b"1" + b"0" * 400, "the threshold is 1000"),
        (b"-1" + b"0" * 400, "expected a finite"),
        (b"1" * 5000, "not a JSON"),
    ],
)
def test_numbers_beyond_every_float(threshold: bytes, message: str) -> None:
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(write_artifact(LINEAR))) as whole,
        zipfile.ZipFile(buffer, "w") as archive,
    ):
        for name in whole.namelist():
            content = whole.read(name)
            if name == "additional-params.json":
                content = content.replace(b'"threshold": 0.5, "loss', b'"threshold": ' + threshold + b', "loss')
                assert threshold in content
            archive.writestr(name, content)
    with pytest.raises(DataError, match=message):
        read_artifact(buffer.getvalue())


def test_lone_surrogates_in_names_are_refused() -> None:
    for word in (b"predictor_type", b"loss_type"):
        data = write_artifact(LINEAR)
        with zipfile.ZipFile(io.BytesIO(data)) as whole:
            members = {name: whole.read(name) for name in whole.namelist()}
        additional = members["additional-params.json"]
        value = b"regressor" if word == b"predictor_type" else b"squared_loss"
        members["additional-params.json"] = additional.replace(b'"' + value + b'"', b'"\\ud800"')
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        with pytest.raises(DataError) as caught:
            read_artifact(buffer.getvalue())
        str(caught.value).encode()
