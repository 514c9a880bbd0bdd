"""What a job is told: every JSON file of input/config, complete, sparse, absent and wrong."""

import contextlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eigenline.algorithms.errors import HyperparameterError, UserError
from eigenline.container.algorithm_choice import choose_algorithm
from eigenline.container.configuration import (
    DEFAULT_CONTENT_TYPE,
    ChannelDescription,
    Hosts,
    read_configuration,
    read_hosts,
)
from eigenline.container.folders import Folders, claim_tree, writable_folder


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    folders = Folders(tmp_path)
    folders.configuration.mkdir(parents=True)
    folders.data.mkdir()
    return folders


def write(folders: Folders, name: str, document: object) -> None:
    (folders.configuration / name).write_text(json.dumps(document))


def test_the_root_is_opt_ml_unless_the_environment_names_another() -> None:
    assert Folders.from_environment({}).root == Path("/opt/ml")
    assert Folders.from_environment({"SAGEMAKER_BASE_DIR": "/elsewhere"}).model == Path("/elsewhere/model")


def test_a_job_of_the_service_with_every_field(folders: Folders) -> None:
    write(folders, "hyperparameters.json", {"num_components": "10"})
    write(
        folders,
        "inputdataconfig.json",
        {
            "train": {
                "ContentType": "text/csv;label_size=0",
                "TrainingInputMode": "Pipe",
                "S3DistributionType": "ShardedByS3Key",
                "RecordWrapperType": "RecordIO",
            },
            "test": {"TrainingInputMode": "FastFile", "S3DistributionType": "FullyReplicated"},
        },
    )
    write(
        folders,
        "resourceconfig.json",
        {
            "current_host": "algo-2",
            "hosts": ["algo-1", "algo-2"],
            "network_interface_name": "eth1",
            "topology": None,
        },
    )
    configuration = read_configuration(folders)
    assert configuration.hyperparameters == {"num_components": "10"}
    assert configuration.channels == (
        ChannelDescription("train", "text/csv;label_size=0", "Pipe", sharded=True, wrapped=True),
        ChannelDescription("test", DEFAULT_CONTENT_TYPE, "FastFile"),
    )
    assert configuration.hosts == Hosts("algo-2", ("algo-1", "algo-2"), "eth1")
    assert configuration.hosts.first == "algo-1"
    assert configuration.checkpoints is None


def test_a_job_of_local_mode_that_leaves_everything_out(folders: Folders) -> None:
    write(folders, "inputdataconfig.json", {"train": {"TrainingInputMode": "File"}})
    write(folders, "resourceconfig.json", {"current_host": "algo-1-x7", "hosts": ["algo-1-x7"]})
    configuration = read_configuration(folders)
    assert configuration.channels == (ChannelDescription("train"),)
    assert configuration.hosts.first == "algo-1-x7"


def test_a_tree_made_by_hand_without_any_json(folders: Folders) -> None:
    (folders.data / "train").mkdir()
    (folders.data / "test").mkdir()
    configuration = read_configuration(folders)
    assert [channel.name for channel in configuration.channels] == ["test", "train"]
    assert configuration.hosts == Hosts()
    assert configuration.hyperparameters == {}


def test_null_fields_mean_absent_fields(folders: Folders) -> None:
    write(folders, "inputdataconfig.json", {"train": {"ContentType": None, "TrainingInputMode": None}})
    assert read_configuration(folders).channels == (ChannelDescription("train"),)


def test_values_that_the_sdk_quoted_twice_are_unquoted(folders: Folders) -> None:
    write(
        folders, "hyperparameters.json", {"algorithm_mode": '"randomized"', "feature_dim": "784", "odd": '"a"b"'}
    )
    assert read_configuration(folders).hyperparameters == {
        "algorithm_mode": "randomized",
        "feature_dim": "784",
        "odd": '"a"b"',
    }


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("hyperparameters.json", '{"a": 1,\n "b" 2}', "line 2, column 6"),
        ("hyperparameters.json", "[1]", "must hold one JSON object; got [1]"),
        ("inputdataconfig.json", '{"train": "text/csv"}', "channel 'train' must be an object; got 'text/csv'"),
        (
            "inputdataconfig.json",
            '{"train": {"TrainingInputMode": "Tube"}}',
            "one of File, FastFile, Pipe; got 'Tube'",
        ),
        ("inputdataconfig.json", '{"train": {"ContentType": 7}}', "ContentType must be a text; got 7"),
        ("resourceconfig.json", '{"current_host": "a", "hosts": ["b"]}', "'a' is not one of hosts"),
        ("resourceconfig.json", '{"hosts": "algo-1"}', "expected"),
        ("checkpointconfig.json", '{"LocalPath": 3}', "LocalPath must be the path of a folder; got 3"),
        ("checkpointconfig.json", '{"LocalPath": "/a\\u0000b"}', "LocalPath must be the path of a folder"),
        ("hyperparameters.json", "[" * 100_000, "nested too deeply"),
        ("hyperparameters.json", '{"seed": ' + "7" * 5_000 + "}", "a number that is too long"),
        ("hyperparameters.json", '{"seed": "\\ud800"}', "half of a surrogate pair"),
        ("hyperparameters.json", " " * (1 << 24) + "{}", "is longer than 16 MiB"),
        ("inputdataconfig.json", '{"../train": {}}', "the channel name '../train' is not one"),
        ("inputdataconfig.json", '{"..": {}}', "the channel name '..' is not one"),
        ("inputdataconfig.json", '{"' + "a" * 65 + '": {}}', "is not one"),
        ("resourceconfig.json", '{"current_host": "a/b", "hosts": ["a/b"]}', "the host name 'a/b' is not one"),
        ("resourceconfig.json", '{"hosts": ["algo-1", ""]}', "the host name '' is not one"),
    ],
)
def test_a_wrong_file_is_named_with_the_place_in_it(folders: Folders, name: str, text: str, expected: str) -> None:
    (folders.configuration / name).write_text(text)
    with pytest.raises(UserError) as caught:
        read_configuration(folders)
    assert name in str(caught.value)
    assert expected in str(caught.value)


def test_bytes_that_are_no_text_are_named(folders: Folders) -> None:
    (folders.configuration / "resourceconfig.json").write_bytes(b'{"current_host": "\xff"}')
    with pytest.raises(UserError, match="not UTF-8 text: byte 18"):
        read_hosts(folders)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_named_and_not_waited_for(folders: Folders, make: Callable[[Path], None]) -> None:
    make(folders.configuration / "hyperparameters.json")
    with pytest.raises(UserError, match=r"hyperparameters.json is not a file"):
        read_configuration(folders)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["ContentType", "TrainingInputMode", "RecordWrapperType", "current_host", "hosts", "LocalPath", "train"]


@pytest.mark.parametrize(
    "name", ["hyperparameters.json", "inputdataconfig.json", "resourceconfig.json", "checkpointconfig.json"]
)
@given(content=st.binary(max_size=60) | st.dictionaries(st.sampled_from(FIELDS), json_values).map(json.dumps))
def test_any_file_is_a_configuration_or_a_user_error(
    tmp_path_factory: pytest.TempPathFactory, name: str, content: bytes | str
) -> None:
    folders = Folders(tmp_path_factory.mktemp("any"))
    folders.configuration.mkdir(parents=True)
    path = folders.configuration / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with contextlib.suppress(UserError):
        configuration = read_configuration(folders)
        json.dumps(dict(configuration.hyperparameters), ensure_ascii=False).encode()  # all of it can be logged
        assert Path(f"model_{configuration.hosts.first}").name == f"model_{configuration.hosts.first}"


def test_a_byte_order_mark_is_no_error(folders: Folders) -> None:
    (folders.configuration / "hyperparameters.json").write_bytes(b'\xef\xbb\xbf{"num_components": "3"}')
    assert read_configuration(folders).hyperparameters == {"num_components": "3"}


def test_checkpoints_are_kept_where_the_folder_is_there_or_named(folders: Folders, tmp_path: Path) -> None:
    folders.checkpoints.mkdir()
    assert read_configuration(folders).checkpoints == folders.checkpoints
    write(folders, "checkpointconfig.json", {"LocalPath": str(tmp_path / "mine")})
    assert read_configuration(folders).checkpoints == tmp_path / "mine"


@pytest.mark.parametrize(
    ("given", "environment", "expected"),
    [
        ({"predictor_type": "regressor"}, {}, "linear-learner"),
        ({"num_components": "3"}, {}, "pca"),
        ({}, {"ALGORITHM": "pca"}, "pca"),
        ({"num_components": "3"}, {"ALGORITHM": "Linear_Learner"}, "linear-learner"),
        ({"num_components": "3", "predictor_type": "regressor"}, {"ALGORITHM": "pca"}, "pca"),
    ],
)
def test_the_hyperparameters_tell_the_algorithm_and_the_environment_overrides(
    given: dict[str, object], environment: dict[str, str], expected: str
) -> None:
    assert choose_algorithm(given, environment) == expected


@pytest.mark.parametrize(
    ("given", "environment", "expected"),
    [
        ({}, {}, "No algorithm was named.*no hyperparameters were given at all"),
        ({"feature_dim": "3"}, {}, "given were only 'feature_dim'"),
        ({"num_components": "3", "predictor_type": "regressor"}, {}, "both given"),
        ({}, {"ALGORITHM": "xgboost"}, "one of 'pca', 'linear-learner'; got 'xgboost'"),
    ],
)
def test_an_unclear_choice_is_refused(
    given: dict[str, object], environment: dict[str, str], expected: str
) -> None:
    with pytest.raises(HyperparameterError, match=expected):
        choose_algorithm(given, environment)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/model cannot be written: Not a directory"):
        writable_folder(tmp_path / "file" / "model")


def test_asking_whether_a_folder_is_writable_leaves_nothing_in_it(tmp_path: Path) -> None:
    assert list(writable_folder(tmp_path / "a" / "b").iterdir()) == []


def test_a_tree_is_claimed_by_one_job_until_its_descriptor_is_closed(folders: Folders) -> None:
    before = sorted(folders.root.rglob("*"))
    held = claim_tree(folders)
    with pytest.raises(UserError, match="Another training job is at work in"):
        claim_tree(folders, timeout_seconds=0)
    threading.Timer(0.2, os.close, [held]).start()
    os.close(claim_tree(folders))  # a job that was killed just now may take a moment to be gone
    assert sorted(folders.root.rglob("*")) == before


def test_a_tree_that_is_not_there_is_named_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no folder .*typo"):
        claim_tree(Folders(tmp_path / "typo"))
    with pytest.raises(UserError, match=r"holds no training job: there is no folder .*input"):
        claim_tree(Folders(tmp_path))
    assert list(tmp_path.iterdir()) == []
