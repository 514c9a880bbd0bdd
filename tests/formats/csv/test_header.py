"""Column names: they fit the rows, they pick the label, and what a hurried person did wrong is named."""

import codecs
import io
import zipfile

import numpy as np
import pytest

from eigenline.algorithms.errors import DataError
from eigenline.formats.content_types import UnsupportedContentType
from eigenline.formats.csv import reader as csv_reader
from eigenline.formats.preparation import Preparation
from eigenline.formats.reading import read_batches
from eigenline.formats.requests import read_features

ROWS = b"1,2.5,3\n0,4.5,5\n"


def read(text, content_type="text/csv", labels="required", **options):
    [batch] = read_batches(text, content_type, name="train/part-0", labels=labels, **options)
    return batch


def failure(text, content_type="text/csv", labels="required", **options):
    with pytest.raises(DataError) as caught:
        list(read_batches(text, content_type, name="train/part-0", labels=labels, **options))
    return str(caught.value)


def workbook():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("[Content_Types].xml", "<xml/>")
    return buffer.getvalue()


WRONG = {
    "one name short": (b"label,a\n" + ROWS, ["line 1 holds 2 column names ('label', 'a'), but line 2 has 3 values",
                                            "One name is missing", "row.names=FALSE"]),
    "R's write.table": (b'"label","a","b"\n"1",1,2.5,3\n', ["holds 3 column names", "line 2 has 4 values", "R's"]),
    "one name too many": (b"label,a,b,c\n" + ROWS, ["holds 4 column names", "has 3 values", "one name too many"]),
    "a title": (b"Customers 2024 export\n" + ROWS,
                ["holds 1 column name ('Customers 2024 export')", "to be a title"]),
    "a title above names": (b"Customers 2024 export\nlabel,a,b\n" + ROWS,
                            ["a title, above the column names ('label', 'a', 'b'): leave it out"]),
    "a comment": (b"# made by hand\n" + ROWS, ["Line 1 begins with '#': comments are not understood here"]),
    "a comment with a number": (b"# made,2024\n" + ROWS, ["line 1, column 1", "Comments are not understood"]),
    "pandas' index": (b",label,a\n0,1,2.5\n", ["line 1: the first column has no name", "pandas", "index=False"]),
    "European Excel": (b"1;2,5;3,7\n0;4,5;5,1\n", ["separated by semicolons, with decimal commas", "Excel"]),
    "European Excel, names": (b"label;a;b\n1;2,5;3,7\n", ["separated by semicolons"]),
    "semicolons": (b"1;2;3\n", ["separated by semicolons; this format has commas"]),
    "labels in words": (b"yes,1,2\nno,3,4\n", ["line 1, column 1: expected a number, got 'yes'",
                                               "taken for the label", "0 and 1", "target=NAME"]),
    "labels in words below names": (b"label,a,b\nyes,1,2\n",
                                    ["line 2, column 1 ('label')", "encode classes as 0 and 1"]),
    "a word among features": (b"1,red,2\n", ["column 2: expected a number, got 'red'. Text categories"]),
    "names without a number": (b"1;a,b c,d:e\n", ["line 1, column 1"]),
    "UTF-16": ("1,2\n".encode("utf-16"), ["This is not text in UTF-8", "UTF-16", "CSV UTF-8"]),
    "UTF-16, big end first": (codecs.BOM_UTF16_BE + "1,2\n".encode("utf-16-be"), ["UTF-16"]),
    "UTF-16 without a mark": ("a,2\n".encode("utf-16-le"), ["UTF-16"]),
    "Excel workbook": (workbook(), ["zip archive, as an Excel workbook (.xlsx) is", "Save it as 'CSV UTF-8'"]),
    "old Excel workbook": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(64), ["Excel workbook (.xls)"]),
    "Parquet": (b"PAR1" + bytes(64), ["Parquet"]),
    "old Mac": (b"1,2,3\r0,4,5\r", ["carriage returns alone, as on old Macs"]),
    "old Mac with names": (b"label,a\r1,2\r0,4\r", ["carriage returns alone, as on old Macs"]),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_the_likely_cause_is_named(case):
    text, parts = WRONG[case]
    message = failure(text)
    assert message.startswith("train/part-0")
    for part in parts:
        assert part in message


@pytest.mark.parametrize("case", ["one name short", "one name too many", "a title", "a title above names"])
@pytest.mark.parametrize("block_bytes", [1 << 20, 64])
def test_a_header_that_does_not_fit_is_refused_in_any_block_and_with_any_width(case, block_bytes):
    text, _ = WRONG[case]
    assert "line 1" in failure(text, block_bytes=block_bytes)
    assert "line 1" in failure(text, block_bytes=block_bytes, feature_dim=2)
    assert "line 1" in failure(text, "text/csv;header=present", block_bytes=block_bytes)


def test_a_header_that_does_not_fit_is_refused_by_workers_too(monkeypatch):
    monkeypatch.setattr(csv_reader, "_LONG_BYTES", 0)
    text = b"label,a\n" + ROWS * 300_000
    assert "line 2 has 3 values" in failure(text, processes=2, block_bytes=4 << 20)


def test_a_header_may_stand_alone_above_blank_lines():
    batch = read(b"label,a,b\n\n" + ROWS)
    assert batch.column_names == ("a", "b")
    np.testing.assert_array_equal(batch.features, [[2.5, 3], [4.5, 5]])


@pytest.mark.parametrize("target", ["a", "b", "c"])
@pytest.mark.parametrize("block_bytes", [1 << 20, 16])
def test_the_target_picks_the_label_by_name(target, block_bytes):
    text = b"a,b,c\n1,2,.5\n4,5,6\n"
    values = np.array([[1, 2, 0.5], [4, 5, 6]], np.float32)
    place = "abc".index(target)
    batches = list(
        read_batches(text, f"csv;target={target}", name="x", labels="required", block_bytes=block_bytes)
    )
    np.testing.assert_array_equal(np.concatenate([b.labels for b in batches]), values[:, place])
    np.testing.assert_array_equal(np.concatenate([b.features for b in batches]), np.delete(values, place, 1))
    assert {b.column_names for b in batches} == {tuple(name for name in "abc" if name != target)}


def test_the_target_in_a_long_file_that_workers_parse(monkeypatch):
    monkeypatch.setattr(csv_reader, "_LONG_BYTES", 0)
    rows = np.arange(900_000).reshape(-1, 3) % 1000
    text = b"a,b,c\n" + "".join(f"{a},{b},{c}\n" for a, b, c in rows.tolist()).encode()
    batches = list(
        read_batches(text, "csv;target=b", name="x", labels="required", block_bytes=4 << 20, processes=2)
    )
    np.testing.assert_array_equal(np.concatenate([b.labels for b in batches]), rows[:, 1])
    np.testing.assert_array_equal(np.concatenate([b.features for b in batches]), rows[:, [0, 2]])


@pytest.mark.parametrize(
    ("text", "content_type", "message"),
    [
        (b"a,price\n1,2\n", "csv;target=prize",
         "no column is named 'prize', which is the target; the columns are 'a', 'price'. Did you mean 'price'?"),
        (b"a,a,b\n1,2,3\n", "csv;target=a", "2 columns are named 'a', which is the target"),
        (b"1,2,3\n", "csv;target=a", "no column is named 'a'"),
        (b"a\n1\n", "csv;target=a", "it has 1 value, of which one is the target, so no feature is left"),
    ],
)  # fmt: skip
def test_targets_that_cannot_be_found(text, content_type, message):
    assert message in failure(text, content_type)


@pytest.mark.parametrize("content_type", ["csv;target=", "csv;target=a;header=absent", "csv;target=a;label_size=2",
                                          "csv;target=a;label_size=0"])  # fmt: skip
def test_targets_that_contradict_the_content_type(content_type):
    with pytest.raises(UnsupportedContentType, match="target"):
        list(read_batches(b"a,b\n1,2\n", content_type, name="x"))


def test_a_request_may_hold_the_target_or_not():
    expected = [[1, 3], [4, 6]]
    for body in (b"a,price,b\n1,2,3\n4,5,6\n", b"a,b\n1,3\n4,6\n"):
        np.testing.assert_array_equal(read_features(body, "csv;header=present;target=price", 2), expected)


def test_numbers_as_names_are_a_row_where_they_come_again():
    for text in (b"1\n1\n ", b"1\n1\n2\n", b"1\n2\n1\n\n"):
        [batch] = list(read_batches(text, "csv;label_size=0;header=present", name="x"))
        assert sorted(batch.features[:, 0].tolist())[0] == 1


# --- columns matched by name -----------------------------------------------------------------------------


def test_columns_of_later_data_are_put_in_order():
    text = b"label,b,c,a\n1,2,3,4\n0,5,6,7\n"
    batch = read(text, column_names=("a", "b", "c"))
    np.testing.assert_array_equal(batch.features, [[4, 2, 3], [7, 5, 6]])
    assert batch.features.flags.c_contiguous
    assert batch.column_names == ("a", "b", "c")
    np.testing.assert_array_equal(batch.labels, [1, 0])
    np.testing.assert_array_equal(read(ROWS, column_names=("a", "b")).features, [[2.5, 3], [4.5, 5]])


def test_columns_of_requests_are_put_in_order():
    body = b"c,a,b\n3,1,2\n6,4,5\n"
    features = read_features(body, "csv;header=present", 3, Preparation.plain(3, ("a", "b", "c")))
    np.testing.assert_array_equal(features, [[1, 2, 3], [4, 5, 6]])
    assert features.flags.c_contiguous
    with pytest.raises(
        DataError, match=r"request: its columns are not those of the model\. Missing: 'd'\. Unknown: 'c'\."
    ):
        read_features(body, "csv;header=present", 3, Preparation.plain(3, ("a", "b", "d")))
    plain = Preparation.plain(3, ("a", "b", "d"))
    np.testing.assert_array_equal(read_features(b"1,2,3\n", "csv", 3, plain), [[1, 2, 3]])


def test_names_that_do_not_fit_are_listed():
    message = failure(b"label,a,incme\n1,2,3\n", column_names=("a", "income"))
    assert "Missing: 'income'. Unknown: 'incme'. Is 'incme' meant to be 'income'?" in message
    assert "Missing: 'b'" in failure(b"label,a\n1,2\n", column_names=("a", "b"))
    assert "Unknown: 'c'" in failure(b"label,a,b,c\n1,2,3,4\n", column_names=("a", "b"))
    assert "There more than once: 'a'" in failure(b"label,a,a\n1,2,3\n", column_names=("a", "b"))
    assert read(b"label,a,a\n1,2,3\n", column_names=("a", "a")).column_names == ("a", "a")
    many = failure(b"label,a\n1,2\n", column_names=[f"x{i}" for i in range(40)])
    assert "'x9' and 30 more. Unknown: 'a'." in many


# --- labels that must be classes -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "content_type", "num_classes", "message"),
    [
        (b"0,2\n1,3\n\n.1257,4\n", "csv", 2,
         "train/part-0, line 4, column 1: the label is 0.1257, expected 0 or 1. Is this a number to be predicted? "
         "That is what a regressor does. The first column is taken for the label; if it is another one, put it "
         "first, or name it: 'text/csv;header=present;target=NAME'."),
        (b"y,a\n1,2\n2,3\n", "csv", 2,
         "line 3, column 1 ('y'): the label is 2, expected 0 or 1. Classes are counted from 0"),
        (b"a,y\n1,1\n2,-1\n", "csv;target=y", 2,
         "line 3, column 2 ('y'): the label is -1, expected 0 or 1. Is -1 the"),
        (b"0,1\n7,1\n", "csv", 3, "line 2, column 1: the label is 7, expected a whole number from 0 to 2."),
    ],
)  # fmt: skip
def test_labels_that_are_no_class_are_named_with_file_and_line(text, content_type, num_classes, message):
    assert message in failure(text, content_type, num_classes=num_classes)
    assert message in failure(text, content_type, num_classes=num_classes, block_bytes=64)


def test_labels_that_are_no_class_in_a_long_file_that_workers_parse(monkeypatch):
    monkeypatch.setattr(csv_reader, "_LONG_BYTES", 0)
    lines = [b"1,2,3"] * 300_000
    lines[234_567] = b"5,2,3"
    message = failure(b"\n".join(lines), num_classes=2, processes=2, block_bytes=4 << 20)
    assert "line 234568, column 1: the label is 5" in message


def test_labels_of_recordio_are_named_with_their_record(encode):
    data = encode(np.ones((3, 2), np.float32), [0, 1, 2])
    assert "train/part-0, record 3: the label is 2, expected 0 or 1." in failure(data, "protobuf", num_classes=2)
    assert read(data, "protobuf", num_classes=3).labels.tolist() == [0, 1, 2]


# --- as many columns as features -------------------------------------------------------------------------


def test_as_many_columns_as_features_and_no_word_of_a_label():
    for text in (ROWS, b"a,b,c\n" + ROWS):
        batch = read(text, labels="optional", feature_dim=3)
        assert batch.labels is None
        np.testing.assert_array_equal(batch.features, [[1, 2.5, 3], [0, 4.5, 5]])
    assert read(ROWS, labels="optional", feature_dim=2).labels.tolist() == [1, 0]
    assert "expected 4" in failure(ROWS, "csv;label_size=1", labels="optional", feature_dim=3)
    assert "expected 4" in failure(ROWS, labels="required", feature_dim=3)
