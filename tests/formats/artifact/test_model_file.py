"""SageMaker's own artifacts read and written again give the same bytes; damaged ones give a `DataError`."""

import io
import json
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eigenline.algorithms.errors import DataError
from eigenline.algorithms.linear_learner.model import LinearLearnerModel
from eigenline.algorithms.pca.model import PCAModel
from eigenline.formats.artifact.memory_budget import ArtifactTooLarge
from eigenline.formats.artifact.model_file import read_artifact, write_artifact
from eigenline.formats.artifact.ndarray_dict import read_arrays, write_arrays
from eigenline.formats.artifact.zip_members import Member, read_zip, write_zip

ANNOTATED = bytes.fromhex(
    "1201000000000000 0000000000000000 0300000000000000"
    "c9fa93f9 00000000 01000000 0200000000000000 010000000000000000000000 0000003f00000040"
    "c9fa93f9 00000000 02000000 0300000000000000 0200000000000000 010000000000000000000000"
    "000000000000803f0000803f000000000000000000000000"
    "c9fa93f9 00000000 02000000 0100000000000000 0300000000000000 010000000000000000000000"
    "0000803f0000004000004040"
    "0300000000000000 010000000000000073 010000000000000076 0400000000000000 6d65616e"
)


@pytest.mark.parametrize("job", ["pca-regular", "pca-randomized", "linear-binary"])
def test_real_files_survive_the_lossless_layers(aws_data, job):
    data = (aws_data / job / "model_algo-1").read_bytes()
    if job.startswith("pca"):
        assert write_arrays(read_arrays(data)) == data
    else:
        members = read_zip(data)
        assert write_zip(members) == data
        (parameters,) = [member.content for member in members if member.name.endswith(".params")]
        assert write_arrays(read_arrays(parameters)) == parameters


@pytest.mark.parametrize("job", ["pca-regular", "pca-randomized"])
def test_real_pca_models_are_written_again_to_the_byte(aws_data, job):
    data = (aws_data / job / "model_algo-1").read_bytes()
    model = read_artifact(data)
    assert isinstance(model, PCAModel)
    assert model.components.flags.aligned
    assert write_artifact(model) == data


def test_the_real_linear_learner_model_is_written_again_to_the_byte(aws_data):
    data = (aws_data / "linear-binary" / "model_algo-1").read_bytes()
    model = read_artifact(data)
    assert isinstance(model, LinearLearnerModel)
    assert (model.feature_dim, model.num_outputs, model.loss) == (20, 1, "logistic")
    assert model.threshold == 0.5315272808074951
    # Only the clock and a counter within the service's process are not the model's.
    assert write_artifact(model, written_at=(2024, 8, 20, 20, 3, 42), graph_number=42) == data


def test_the_annotated_example_of_the_format():
    arrays = read_arrays(ANNOTATED)
    assert list(arrays) == ["s", "v", "mean"]
    np.testing.assert_array_equal(arrays["v"], [[0, 1], [1, 0], [0, 0]])
    assert write_arrays(arrays) == ANNOTATED
    assert len(ANNOTATED) == 218


def linear_models():
    rng = np.random.default_rng(1)
    weights = rng.standard_normal((5, 4)).astype(np.float32)
    yield LinearLearnerModel(
        weights[:, :1], weights[0, :1], "binary_classifier", "logistic", 0.25, {"f_beta": 1.0}
    )
    yield LinearLearnerModel(
        weights[:, :1], weights[0, :1], "binary_classifier", "hinge_loss", -0.5, {"margin": 1.0}
    )
    yield LinearLearnerModel(
        weights, weights[0], "multiclass_classifier", "softmax_loss", 0.5, {"accuracy_top_k": 3}
    )
    for loss in ("squared_loss", "absolute_loss", "quantile_loss", "huber_loss", "eps_insensitive_absolute_loss"):
        yield LinearLearnerModel(weights[:, :1], weights[0, :1], "regressor", loss, 0.5, {"quantile": 0.9})


@pytest.mark.parametrize("model", list(linear_models()), ids=lambda model: model.loss)
def test_linear_models_of_every_loss_round_trip(model):
    data = write_artifact(model)
    assert write_artifact(model) == data  # the same bytes each time
    found = read_artifact(data)
    assert isinstance(found, LinearLearnerModel)
    np.testing.assert_array_equal(found.weights, model.weights)
    np.testing.assert_array_equal(found.bias, model.bias)
    assert (found.predictor_type, found.loss, found.threshold) == (
        model.predictor_type,
        model.loss,
        model.threshold,
    )
    assert {name: found.parameters[name] for name in model.parameters} == dict(model.parameters)
    assert write_artifact(found) == data
    check_graph(data, model)


def check_graph(data, model):
    members = {member.name: member.content for member in read_zip(data)}
    assert json.loads(members["manifest.json"]) == {
        "mx-mod": "mxnet_module",
        "additional-params.json": "json",
        "version": 1,
    }
    graph = json.loads(members["mx-mod-symbol.json"])
    nodes = {node["name"]: node for node in graph["nodes"]}
    assert nodes["fc0_weight"]["attrs"]["__shape__"] == str(model.weights.shape)
    assert nodes["fc0_bias"]["attrs"]["__shape__"] == str((1, model.num_outputs))
    head = graph["nodes"][graph["heads"][0][0]]
    expected = {"logistic": "LogisticRegressionOutput", "softmax_loss": "SoftmaxOutput"}
    assert head["op"] == expected.get(model.loss, "LinearRegressionOutput")
    # Every input of a node comes before it, and the arguments are the nodes without an operator.
    for index, node in enumerate(graph["nodes"]):
        assert all(source < index for source, _, _ in node["inputs"])
    assert graph["arg_nodes"] == [i for i, node in enumerate(graph["nodes"]) if node["op"] == "null"]
    assert "out_label" in nodes
    assert "data" in nodes


def test_a_pca_model_without_mean():
    model = PCAModel(np.ones(2, np.float32), np.eye(3, 2, dtype=np.float32))
    found = read_artifact(write_artifact(model))
    assert found.mean is None
    np.testing.assert_array_equal(found.components, model.components)


def test_singular_values_may_be_nan_as_in_real_regular_models():
    model = PCAModel(np.array([np.nan, 1], np.float32), np.eye(3, 2, dtype=np.float32))
    np.testing.assert_array_equal(read_artifact(write_artifact(model)).singular_values, [np.nan, 1])


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "u1", "i4", "i1", "i8", "?", ">f4"])
def test_every_element_type(dtype):
    array = np.array([[1, 0, 1], [0, 1, 1]]).astype(dtype)
    found = read_arrays(write_arrays({"a": array, "empty": np.zeros((0, 3), dtype)}))
    np.testing.assert_array_equal(found["a"], array)
    assert found["empty"].shape == (0, 3)


def test_older_blobs_are_read():
    values = np.array([[1.5, 2.5]], "<f4")
    context = struct.pack("<iii", 1, 0, 0)
    version_1 = struct.pack("<Ii2q", 0xF993FAC8, 2, 1, 2) + context + values.tobytes()
    oldest = struct.pack("<I2I", 2, 1, 2) + context + values.tobytes()
    version_3 = struct.pack("<Iii2q", 0xF993FACA, 0, 2, 1, 2) + context + values.tobytes()
    for blob in (version_1, oldest, version_3):
        data = struct.pack("<QQQ", 0x112, 0, 1) + blob + struct.pack("<Q", 0)
        np.testing.assert_array_equal(read_arrays(data)["0"], values)


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "It is empty"),
        (b"\x1f\x8b\x08\x00", "model.tar.gz"),
        (b"hello", "neither a PCA nor a Linear Learner artifact"),
        (write_arrays({"centroids": np.ones((2, 2))}), "without s and v"),
        (write_arrays({"s": np.ones(2), "v": np.ones((3, 4))}), "2 singular values for 4 components"),
        (write_arrays({"s": np.ones(2), "v": np.full((3, 2), np.inf)}), "not finite"),
        (write_arrays({"s": np.ones(2), "v": np.ones((3, 2)), "mean": np.ones(4)}), "'mean' has 4 values"),
        (write_zip([Member("readme.txt", b"")]), "not a Linear Learner artifact"),
    ],
    ids=lambda value: value if isinstance(value, str) else "data",
)
def test_other_files_are_explained(data, cause):
    with pytest.raises(DataError, match=cause):
        read_artifact(data)


@pytest.mark.parametrize(
    ("additional", "cause"),
    [
        (b"[]", "not a JSON object"),
        (b"[" * 100_000, "not a JSON object"),
        (b'{"predictor_type": "kmeans", "loss_type": "x"}', "predictor_type is 'kmeans'"),
        (b'{"predictor_type": "regressor"}', "names no loss_type"),
        (b'{"predictor_type": "regressor", "loss_type": "squared_loss", "threshold": NaN}', "threshold"),
        (b'{"predictor_type": "multiclass_classifier", "loss_type": "softmax_loss"}', "cannot have 1 outputs"),
    ],
)
def test_wrong_parameters_are_explained(additional, cause):
    arrays = write_arrays({"arg:fc0_weight": np.ones((2, 1)), "arg:fc0_bias": np.ones((1, 1))})
    members = [Member("mx-mod-0000.params", arrays), Member("additional-params.json", additional)]
    with pytest.raises(DataError, match=cause):
        read_artifact(write_zip(members))


def test_a_zip_that_unpacks_to_far_more_than_it_is():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mx-mod-0000.params", bytes(20 << 20))
        archive.writestr("additional-params.json", b"{}")
    with pytest.raises(ArtifactTooLarge, match="claims 20971520 bytes; refused"):
        read_artifact(buffer.getvalue(), limit_bytes=1 << 20)
    with pytest.raises(DataError, match="65 members"):
        read_zip(write_zip([Member(f"{i}", b"") for i in range(65)]))


def test_lengths_allocate_nothing():
    claim = struct.pack("<QQQ", 0x112, 0, 1) + struct.pack("<Iii2q", 0xF993FAC9, 0, 2, 2**40, 2**40)
    with pytest.raises(DataError, match="claims the shape"):
        read_arrays(claim + struct.pack("<iii", 1, 0, 0))
    with pytest.raises(DataError, match="claims 9223372036854775808 arrays"):
        read_arrays(struct.pack("<QQQ", 0x112, 0, 2**63))


def artifacts():
    yield write_artifact(PCAModel(np.ones(2, np.float32), np.eye(3, 2, dtype=np.float32), np.ones(3, np.float32)))
    yield write_artifact(next(linear_models()))


@pytest.mark.parametrize("data", list(artifacts()), ids=["pca", "linear-learner"])
def test_truncation_at_every_offset(data):
    for cut in range(len(data)):
        with pytest.raises(DataError):
            read_artifact(data[:cut])


@given(
    kind=st.integers(0, 1),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4),
)
@settings(max_examples=500)
def test_changed_bytes_give_a_model_or_a_data_error(kind, changes):
    data = bytearray(list(artifacts())[kind])
    for place, value in changes:
        data[int(place * len(data))] = value
    try:
        model = read_artifact(bytes(data))
    except DataError:
        return
    assert model.feature_dim >= 1
