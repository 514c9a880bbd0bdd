"""What a model folder may hold, and what is said of everything else."""

import gzip
import io
import json
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from eigenline.algorithms.errors import UserError
from eigenline.formats.artifact.model_file import write_artifact
from eigenline.formats.artifact.model_tar import write_model_tar
from eigenline.formats.preparation import Preparation
from eigenline.serve.models import ModelError, load_model

from .conftest import make_linear, make_pca, running, write_model

ROWS = np.array([[1.5, 16, 14, 23]], np.float32)


@pytest.mark.parametrize("name", ["model_algo-1", "model_algo-1-x7k2p", "model_host.internal"])
def test_an_artifact_under_any_host_name(tmp_path: Path, name: str) -> None:
    model = make_linear()
    served = load_model(write_model(tmp_path, model, name))
    assert served.algorithms == ("linear-learner",)
    assert served.linear is not None
    np.testing.assert_array_equal(served.linear.weights, model.weights)


def test_files_beside_the_artifact_are_left_alone(tmp_path: Path) -> None:
    write_model(tmp_path, make_pca())
    (tmp_path / "model_card.json").write_text("{}")
    (tmp_path / "models.csv").write_text("1")
    (tmp_path / "report.json").write_text('{"algorithm": "pca", "summary": ["Fine."]}')
    assert load_model(tmp_path).reports == {"pca": {"algorithm": "pca", "summary": ["Fine."]}}


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100_000])
def test_a_broken_report_does_not_keep_the_model_from_being_served(tmp_path: Path, text: str) -> None:
    write_model(tmp_path, make_pca())
    (tmp_path / "report.json").write_text(text)
    assert load_model(tmp_path).reports == {}


def test_a_tar_file_itself_or_in_a_folder(tmp_path: Path) -> None:
    data = write_model_tar({"model_algo-1": write_artifact(make_pca()), "report.json": b'{"summary": []}'})
    (tmp_path / "model.tar.gz").write_bytes(data)
    for place in (tmp_path, tmp_path / "model.tar.gz"):
        served = load_model(place)
        assert served.algorithms == ("pca",)
        assert served.reports == {"pca": {"summary": []}}


def test_model_tar_gz_decides_over_what_was_extracted_beside_it(tmp_path: Path) -> None:
    (tmp_path / "model.tar.gz").write_bytes(write_model_tar({"model_algo-1": write_artifact(make_pca())}))
    write_model(tmp_path, make_pca(), "model_algo-1-x7k2p")
    write_model(tmp_path, make_linear(), "model_algo-1-earlier")
    assert load_model(tmp_path).algorithms == ("pca",)


@pytest.mark.parametrize("layout", ["one folder", "subfolders", "tar files"])
def test_a_pca_and_a_linear_learner_are_a_chain(tmp_path: Path, layout: str) -> None:
    pca, linear = make_pca(4, 2), make_linear(2)
    if layout == "one folder":  # the names' order does not matter: the algorithms decide
        write_model(tmp_path, linear, "model_a")
        write_model(tmp_path, pca, "model_b")
    elif layout == "subfolders":
        write_model(tmp_path / "second", linear)
        write_model(tmp_path / "third", pca)
    else:
        (tmp_path / "a.tar.gz").write_bytes(write_model_tar({"model_algo-1": write_artifact(linear)}))
        (tmp_path / "b.tar.gz").write_bytes(write_model_tar({"model_algo-1": write_artifact(pca)}))
    served = load_model(tmp_path)
    assert served.algorithms == ("pca", "linear-learner")
    assert served.feature_dim == 4


def test_a_chain_answers_as_two_containers_of_a_pipeline_do(tmp_path: Path) -> None:
    pca, linear = make_pca(4, 2), make_linear(2)
    write_model(tmp_path / "pca", pca)
    write_model(tmp_path / "linear", linear)
    body = ",".join(map(repr, ROWS[0].tolist()))

    def invoke(folder: Path, data: bytes | str, kind: str, accept: str) -> bytes:
        body = data.encode() if isinstance(data, str) else data
        with running(str(folder), "--workers", "1") as server:
            status, answer, _ = server.call("/invocations", body, content_type=kind, accept=accept)
        assert status == 200
        return answer

    between = invoke(tmp_path / "pca", body, "text/csv", "text/csv")
    two_containers = invoke(tmp_path / "linear", between, "text/csv", "application/json")
    assert invoke(tmp_path, body, "text/csv", "application/json") == two_containers


def refused(place: Path, *words: str) -> None:
    with pytest.raises(ModelError) as caught:
        load_model(place)
    for word in words:
        assert word in str(caught.value)


def test_what_is_no_model(tmp_path: Path) -> None:
    refused(tmp_path, "holds no model", "model_algo-1")
    refused(tmp_path / "missing", "cannot be read", "No such file")
    (tmp_path / "model_algo-1").write_bytes(b"not a model")
    refused(tmp_path, "model_algo-1 cannot be served")
    (tmp_path / "model_algo-1").write_bytes(b"")
    refused(tmp_path, "model_algo-1 cannot be served")


def test_two_of_one_algorithm_and_a_chain_that_does_not_fit(tmp_path: Path) -> None:
    write_model(tmp_path, make_pca(4, 2), "model_a")
    write_model(tmp_path, make_linear(3), "model_b")
    refused(tmp_path, "2 components", "expects 3 features")
    write_model(tmp_path, make_pca(4, 2), "model_c")
    refused(tmp_path, "two pca artifacts", "model_a", "model_c")


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    outside = write_model(tmp_path / "outside", make_pca())
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model_algo-1").symlink_to(outside / "model_algo-1")
    refused(folder, "leads out of the model folder")
    (folder / "model_algo-1").unlink()
    (folder / "sub").symlink_to(outside)
    refused(folder, "leads out of the model folder")


def test_links_within_the_folder_are(tmp_path: Path) -> None:
    write_model(tmp_path, make_pca(), "artifact")
    (tmp_path / "model_algo-1").symlink_to("artifact")
    assert load_model(tmp_path).algorithms == ("pca",)


def tar_with(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def test_hostile_tar_files_are_refused_and_leave_nothing_behind(tmp_path: Path) -> None:
    escape = tarfile.TarInfo("../escaped/model_algo-1")
    link = tarfile.TarInfo("model_algo-1")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    device = tarfile.TarInfo("model_algo-1")
    device.type = tarfile.CHRTYPE
    file = tmp_path / "model.tar.gz"
    before = set(tmp_path.iterdir()) | {file}
    for data in (
        tar_with((escape, write_artifact(make_pca()))),
        tar_with((link, b"")),
        tar_with((device, b"")),
        b"\x1f\x8b" + b"\0" * 100,
        gzip.compress(b"\0" * 10_000),
        write_model_tar({"model_algo-1": write_artifact(make_pca())})[:-40],
    ):
        file.write_bytes(data)
        with pytest.raises(UserError):
            load_model(tmp_path)
        assert set(tmp_path.iterdir()) == before


def test_a_zip_bomb_in_the_artifact_is_refused_in_little_memory(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", json.dumps({"mx-mod": "mxnet_module", "version": 1}))
        archive.writestr("additional-params.json", "{}")
        archive.writestr("mx-mod-0000.params", b"\0" * 200_000_000)
    (tmp_path / "model_algo-1").write_bytes(buffer.getvalue())
    before = os.sysconf("SC_PAGE_SIZE") * int(Path("/proc/self/statm").read_text().split()[1])
    with pytest.raises(UserError):
        load_model(tmp_path)
    after = os.sysconf("SC_PAGE_SIZE") * int(Path("/proc/self/statm").read_text().split()[1])
    assert after - before < 100_000_000


COLUMNS = b'{"features": ["a", "b", "c", "d"], "target": "y", "classes": ["no", "yes"]}'


def test_the_names_that_training_kept_are_the_models_own(tmp_path: Path) -> None:
    write_model(tmp_path, make_linear())
    assert load_model(tmp_path).preparation is None
    (tmp_path / "report.json").write_text('{"feature_names": ["p", "q", "r", "s"]}')
    for with_reports in (True, False):
        found = load_model(tmp_path, with_reports=with_reports)
        assert found.preparation is not None
        assert found.preparation.feature_names == ("p", "q", "r", "s")
        assert found.classes is None
        assert bool(found.reports) == with_reports
    (tmp_path / "columns.json").write_bytes(COLUMNS)
    found = load_model(tmp_path)
    assert found.preparation is not None
    assert (found.preparation.feature_names, found.preparation.target) == (("a", "b", "c", "d"), "y")
    assert found.classes == ("no", "yes")
    (tmp_path / "preparation.json").write_bytes(Preparation.plain(4, ("e", "f", "g", "h")).to_json())
    found = load_model(tmp_path)
    assert found.preparation is not None
    assert found.preparation.feature_names == ("e", "f", "g", "h")
    (tmp_path / "preparation.json").unlink()
    data = write_model_tar({"model_algo-1": write_artifact(make_linear()), "columns.json": COLUMNS})
    (tmp_path / "model.tar.gz").write_bytes(data)
    assert load_model(tmp_path / "model.tar.gz").classes == ("no", "yes")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("columns.json", b"{", "columns.json"),
        ("columns.json", b'{"features": ["a"]}', "describes 1 features, but the model takes 4"),
        ("preparation.json", b"[]", "preparation.json cannot be read"),
        ("preparation.json", Preparation.plain(2).to_json(), "describes 2 features"),
    ],
)
def test_names_of_another_model_are_no_reason_for_wrong_answers(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    write_model(tmp_path, make_linear())
    (tmp_path / name).write_bytes(content)
    refused(tmp_path, words)


def test_in_a_chain_each_part_has_its_own_names(tmp_path: Path) -> None:
    write_model(tmp_path / "first", make_pca(4, 2))
    write_model(tmp_path / "second", make_linear(2))
    (tmp_path / "first" / "columns.json").write_text('{"features": ["a", "b", "c", "d"]}')
    (tmp_path / "second" / "columns.json").write_text('{"features": ["x", "y"], "classes": ["no", "yes"]}')
    found = load_model(tmp_path)
    assert found.preparation is not None
    assert found.preparation.feature_names == ("a", "b", "c", "d")
    assert found.classes == ("no", "yes")
