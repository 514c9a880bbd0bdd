"""Columns with names: put in order across files and channels, the label found by its name."""

import csv
import gzip
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eigenline.algorithms.batch import Batch
from eigenline.algorithms.errors import DataError
from eigenline.container.channels import open_channels
from eigenline.container.columns import Columns
from eigenline.container.configuration import ChannelDescription
from tests.container.channel_data import feed, labels_of, never, rows_of

NAMES = ["age", "height", "weight"]
ROWS = np.array([[0, 1, 10, 100], [1, 2, 20, 200], [0, 3, 30, 300]], np.float32)  # the label first


def text(names: Sequence[str] | None, rows: np.ndarray) -> bytes:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    if names is not None:
        writer.writerow(names)
    writer.writerows(rows.tolist())
    return stream.getvalue().encode()


def put(folder: Path, name: str, content: bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def channels(folder: Path, *names: str, kind: str = "text/csv", labels: str = "required", columns=None):
    descriptions = [ChannelDescription(name, kind) for name in names]
    return open_channels(descriptions, folder, labels, never, columns)  # type: ignore[arg-type]


def test_files_in_another_order_of_columns_are_put_in_order(tmp_path: Path) -> None:
    put(tmp_path, "train/a.csv", text(["y", *NAMES], ROWS))
    put(tmp_path, "train/b.csv", text(["y", "weight", "age", "height"], ROWS[:, [0, 3, 1, 2]]))
    columns = Columns()
    train = channels(tmp_path, "train", columns=columns)["train"]
    np.testing.assert_array_equal(rows_of(iter(train)), np.vstack([ROWS, ROWS])[:, 1:])
    assert labels_of(iter(train)) == [0, 1, 0] * 2
    assert columns.names == tuple(NAMES)


def test_a_later_channel_is_put_into_the_order_of_train(tmp_path: Path) -> None:
    put(tmp_path, "train/a.csv", text(["y", *NAMES], ROWS))
    put(tmp_path, "test/a.csv", text(["y", *NAMES[::-1]], ROWS[:, [0, 3, 2, 1]]))
    opened = channels(tmp_path, "train", "test")
    rows_of(iter(opened["train"]))
    batches = list(opened["test"])
    np.testing.assert_array_equal(rows_of(iter(batches)), ROWS[:, 1:])
    assert batches[0].features.flags.c_contiguous  # type: ignore[union-attr]
    assert batches[0].column_names == tuple(NAMES)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["y", "age", "height", "size"], r"Missing: 'weight'\. Unknown: 'size'"),
        (["y", "age", "height", "height"], r"Missing: 'weight'\. There more than once: 'height'"),
        (["y", "age", "height"], "line 1 holds 3 column names .*, but line 2 has 4 values"),
        (["y", "age", "height", "weight", "size"], "line 1 holds 5 column names .*, but line 2 has 4 values"),
        (["Customers, 2024"], "Line 1 seems to be a title"),
    ],
)
def test_other_columns_are_an_error_that_lists_them(tmp_path: Path, names: list[str], expected: str) -> None:
    put(tmp_path, "train/a.csv", text(["y", *NAMES], ROWS))
    put(tmp_path, "train/b.csv", text(names, ROWS))
    with pytest.raises(DataError, match=expected) as caught:
        list(channels(tmp_path, "train")["train"])
    assert "b.csv" in str(caught.value)
    assert "ine 1" in str(caught.value)


def test_a_header_is_counted_in_the_first_file_too(tmp_path: Path) -> None:
    put(tmp_path, "train/a.csv", text(["y", "age", "height"], ROWS))
    with pytest.raises(DataError, match=r"a.csv: line 1 holds 3 column names .*, but line 2 has 4 values"):
        list(channels(tmp_path, "train")["train"])


def test_names_that_occur_twice_are_no_error_in_the_same_order(tmp_path: Path) -> None:
    put(tmp_path, "train/a.csv", text(["y", "x", "x", "z"], ROWS))
    put(tmp_path, "train/b.csv", text(["y", "x", "x", "z"], ROWS))
    train = channels(tmp_path, "train")["train"]
    assert len(rows_of(iter(train))) == 6
    put(tmp_path, "train/c.csv", text(["y", "z", "x", "x"], ROWS))
    with pytest.raises(DataError, match="There more than once: 'x'"):
        list(channels(tmp_path, "train")["train"])


def test_a_file_without_names_is_taken_in_order_and_reported(tmp_path: Path) -> None:
    put(tmp_path, "train/a.csv", text(["y", *NAMES], ROWS))
    put(tmp_path, "train/b.csv", text(None, ROWS))
    warnings: list[str] = []
    train = channels(tmp_path, "train", columns=Columns(warn=warnings.append))["train"]
    np.testing.assert_array_equal(rows_of(iter(train)), np.vstack([ROWS, ROWS])[:, 1:])
    assert len(warnings) == 1
    assert "b.csv has no header" in warnings[0]


@pytest.mark.parametrize("place", [0, 1, 3])
@pytest.mark.parametrize("kind", ["text/csv;target=y", 'text/csv; target="y"', "text/csv;target=y;header=present"])
def test_the_label_is_found_by_its_name(tmp_path: Path, place: int, kind: str) -> None:
    names = [*NAMES[:place], "y", *NAMES[place:]]
    rows = np.insert(ROWS[:, 1:], place, ROWS[:, 0], axis=1)
    put(tmp_path, "train/a.csv", text(names, rows))
    columns = Columns()
    train = channels(tmp_path, "train", kind=kind, columns=columns)["train"]
    np.testing.assert_array_equal(rows_of(iter(train)), ROWS[:, 1:])
    assert labels_of(iter(train)) == [0, 1, 0]
    assert columns.names == tuple(NAMES)
    assert "the label is column 'y'" in train.describe()


def test_of_pca_a_named_label_is_no_feature(tmp_path: Path) -> None:
    put(tmp_path, "train/a.csv", text([*NAMES, "y"], ROWS[:, [1, 2, 3, 0]]))
    (batch,) = channels(tmp_path, "train", kind="text/csv;target=y", labels="ignored")["train"]
    np.testing.assert_array_equal(np.asarray(batch.features), ROWS[:, 1:])
    assert batch.labels is None


def test_a_target_that_is_not_there_is_an_error_that_lists_the_columns(tmp_path: Path) -> None:
    put(tmp_path, "train/a.csv", text(["y", *NAMES], ROWS))
    with pytest.raises(
        DataError,
        match=r"no column is named 'price', which is the target; the columns are 'y', 'age', 'height', 'weight'",
    ):
        list(channels(tmp_path, "train", kind="text/csv;target=price")["train"])
    put(tmp_path, "train/a.csv", text(["y", "y", "a", "b"], ROWS))
    with pytest.raises(DataError, match="'y'"):
        list(channels(tmp_path, "train", kind="text/csv;target=y")["train"])


@pytest.mark.parametrize(
    "kind",
    [
        "text/csv;target=y;label_size=0",
        "text/csv;target=y;header=absent",
        "application/x-recordio-protobuf;target=y",
    ],
)
def test_a_target_that_contradicts_the_rest_is_refused(tmp_path: Path, kind: str) -> None:
    put(tmp_path, "train/a.csv", text(["y", *NAMES], ROWS))
    with pytest.raises(DataError, match=r"Channel 'train': .* target"):
        channels(tmp_path, "train", kind=kind)


def test_a_label_that_is_no_class_is_named_with_file_and_line(tmp_path: Path) -> None:
    put(tmp_path, "train/a.csv", text([*NAMES, "y"], ROWS[:, [1, 2, 3, 0]]))
    expected = r"a.csv, line 3, column 1 \('age'\): .*The first column is taken for the label"
    with pytest.raises(DataError, match=expected):
        list(channels(tmp_path, "train", columns=Columns(num_classes=2))["train"])


def test_a_last_column_called_as_labels_are_is_reported(tmp_path: Path) -> None:
    put(tmp_path, "train/a.csv", text(["age", "height", "weight", "target"], ROWS))
    warnings: list[str] = []
    list(channels(tmp_path, "train", columns=Columns(warn=warnings.append))["train"])
    assert len(warnings) == 1
    assert "say so: text/csv;target=target" in warnings[0]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("names", [None, ["y", *NAMES]])
def test_pca_takes_all_columns_where_they_are_as_many_as_feature_dim(
    tmp_path: Path, packed: bool, names: list[str] | None
) -> None:
    content = text(names, ROWS)
    put(tmp_path, "train/a.csv", gzip.compress(content) if packed else content)
    train = channels(tmp_path, "train", labels="ignored", columns=Columns(4))["train"]
    np.testing.assert_array_equal(rows_of(iter(train)), ROWS)
    assert "no label, because lines have feature_dim=4 values" in train.describe()
    with_label = channels(tmp_path, "train", labels="ignored", columns=Columns(3))["train"]
    np.testing.assert_array_equal(rows_of(iter(with_label)), ROWS[:, 1:])


def test_pca_refuses_such_lines_from_a_pipe(tmp_path: Path) -> None:
    feed(tmp_path / "train_0", [text(None, ROWS)])
    description = ChannelDescription("train", "text/csv", "Pipe")
    train = open_channels([description], tmp_path, "ignored", never, Columns(4))["train"]
    with pytest.raises(DataError, match="Where there is no label, say so: text/csv;label_size=0"):
        list(train)


@given(order=st.permutations(range(6)), rows=st.integers(1, 5))
def test_any_order_comes_back_as_it_was(order: list[int], rows: int) -> None:
    names = tuple(f"column {i}" for i in range(6))
    values = np.arange(6 * rows, dtype=np.float32).reshape(rows, 6)
    columns = Columns()
    columns.arranged(Batch(values, column_names=names), "a")
    batch = Batch(values[:, order], column_names=tuple(names[i] for i in order))
    np.testing.assert_array_equal(np.asarray(columns.arranged(batch, "b").features), values)
