"""Channels of files, in every arrangement."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from eigenline import write_recordio
from eigenline.algorithms.errors import DataError
from eigenline.container.channels import Channel, hold_in_memory, open_channels
from eigenline.container.configuration import ChannelDescription
from tests.container.channel_data import CSV_TEXT, LABELS, ROWS, labels_of, never, rows_of


def train(folder: Path, description: ChannelDescription | None = None, labels: str = "required") -> Channel:
    description = description or ChannelDescription("train", "text/csv")
    return open_channels([description], folder, labels, never)["train"]  # type: ignore[arg-type]


def test_several_files_at_any_depth_are_read_in_the_order_of_their_names(folder: Path) -> None:
    lines = CSV_TEXT.splitlines(keepends=True)
    (folder / "train" / "b.csv").write_bytes(lines[1])
    (folder / "train" / "a").mkdir()
    (folder / "train" / "a" / "part-0").write_bytes(lines[0])
    (folder / "train" / "c.csv.gz").write_bytes(gzip.compress(lines[2] + lines[3].rstrip()))
    channel = train(folder)
    np.testing.assert_array_equal(rows_of(iter(channel)), ROWS)
    assert labels_of(iter(channel)) == LABELS.tolist()
    assert channel.describe().startswith("3 files, 0.0 MB, text/csv")


def test_recordio_is_the_default_content_type(folder: Path) -> None:
    (folder / "train" / "matrix_0.pbr").write_bytes(write_recordio(ROWS, LABELS))
    np.testing.assert_array_equal(rows_of(iter(train(folder, ChannelDescription("train")))), ROWS)


def test_what_spark_and_hadoop_leave_beside_the_data_is_passed_over(folder: Path) -> None:
    (folder / "train" / "part-0").write_bytes(CSV_TEXT)
    for name in ("_SUCCESS", ".part-0.crc", "empty"):
        (folder / "train" / name).write_bytes(b"" if name != ".part-0.crc" else b"crc\0")
    (folder / "train" / "_temporary").mkdir()
    (folder / "train" / "_temporary" / "part-1").write_bytes(b"not,to,be,read\n")
    np.testing.assert_array_equal(rows_of(iter(train(folder))), ROWS)


def test_a_manifest_in_the_folder_decides_which_files_are_read(folder: Path) -> None:
    lines = CSV_TEXT.splitlines(keepends=True)
    for number, line in enumerate(lines):
        (folder / "train" / f"matrix_{number}").write_bytes(line)
    manifest = [{"prefix": "s3://bucket/key/"}, "matrix_2", "matrix_0"]
    (folder / "train" / ".amazon.manifest").write_text(json.dumps(manifest))
    np.testing.assert_array_equal(rows_of(iter(train(folder))), ROWS[[2, 0]])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[1, 2]", "is not a manifest"),
        ("{", "is not a manifest"),
        ('[{"prefix": "s3://b/"}, "gone"]', "lists 'gone', which is not a file beside it"),
        ('[{"prefix": "s3://b/"}, "../outside"]', "lists 'outside', which is not a file beside it"),
    ],
)
def test_a_wrong_manifest_is_refused(folder: Path, text: str, expected: str) -> None:
    (folder / "outside").write_bytes(CSV_TEXT)
    (folder / "train" / "x.manifest").write_text(text)
    with pytest.raises(DataError, match=expected):
        train(folder)


def test_a_missing_folder_an_empty_folder_and_a_missing_train_channel_are_named(folder: Path) -> None:
    with pytest.raises(DataError, match="Channel 'validation' is missing: there is no folder"):
        open_channels([ChannelDescription("validation")], folder, "required", never)
    with pytest.raises(DataError, match=r"Channel 'train' is empty: .* holds no file with data"):
        train(folder)
    (folder / "test").mkdir()
    (folder / "test" / "a").write_bytes(CSV_TEXT)
    with pytest.raises(DataError, match=r"Channel 'train' is missing.*Given were: test"):
        open_channels([ChannelDescription("test", "text/csv")], folder, "required", never)


def test_files_without_a_record_are_an_empty_channel(folder: Path) -> None:
    (folder / "train" / "a").write_bytes(b"\n\n")
    with pytest.raises(DataError, match="Channel 'train' is empty: its files hold no record"):
        list(train(folder))


def test_files_of_different_width_are_named_both(folder: Path) -> None:
    (folder / "train" / "a").write_bytes(b"0,1,2\n")
    (folder / "train" / "b").write_bytes(b"0,1,2,3\n")
    with pytest.raises(DataError, match=r"train/b has 3 features, but .*train/a has 2"):
        list(train(folder))


def test_an_unknown_content_type_names_the_channel(folder: Path) -> None:
    (folder / "train" / "a").write_bytes(CSV_TEXT)
    with pytest.raises(DataError, match=r"Channel 'train': .*image/png"):
        train(folder, ChannelDescription("train", "image/png"))


def test_aliases_of_content_types_are_understood(folder: Path) -> None:
    (folder / "train" / "a").write_bytes(CSV_TEXT)
    np.testing.assert_array_equal(rows_of(iter(train(folder, ChannelDescription("train", "CSV")))), ROWS)


def test_channels_are_read_once_and_then_held(folder: Path) -> None:
    path = folder / "train" / "a"
    path.write_bytes(CSV_TEXT)
    held = hold_in_memory({"train": train(folder)}, memory_bytes=1e6)["train"]
    first = rows_of(iter(held))
    path.unlink()
    np.testing.assert_array_equal(rows_of(iter(held)), first)


def test_channels_that_do_not_fit_are_read_again(folder: Path) -> None:
    path = folder / "train" / "a"
    path.write_bytes(CSV_TEXT)
    held = hold_in_memory({"train": train(folder)}, memory_bytes=10)["train"]
    rows_of(iter(held))
    path.unlink()
    with pytest.raises(DataError, match="cannot be read: No such file"):
        rows_of(iter(held))
