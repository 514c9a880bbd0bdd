"""CSV as people really write it, to the same arrays whichever parser a block takes."""

import gzip
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eigenline.algorithms.errors import DataError
from eigenline.formats.reading import read_batches
from eigenline.formats.requests import read_features


def read(text, content_type="text/csv;label_size=0", **options):
    batches = list(read_batches(text, content_type, name="train/part-0", **options))
    features = np.concatenate([b.features for b in batches])
    labels = [b.labels for b in batches if b.labels is not None]
    return features, np.concatenate(labels) if labels else None, batches[0].column_names


EXPECTED = np.array([[1, -2.5], [3e5, 0.125]], np.float32)


@pytest.mark.parametrize(
    "text",
    [
        b"1,-2.5\n300000,0.125\n",
        b"1,-2.5\n300000,0.125",
        b"1,-2.5\r\n300000,0.125\r\n",
        b"1,-2.5\n300000,0.125\n\n",
        b"1,-2.5\r\n3e5,.125\r\n\r\n",
        b"\xef\xbb\xbf1,-2.5\n300000,0.125\n",
        b'"1","-2.5"\n"300000","0.125"\n',
        b" 1 , -2.5\n\t300000,0.125 \n",
        b"+1,-2.50\n3.E+5,00.125\n",
        b"1,-2.5\n\n\n300000,0.125\n",
        b'1,"-2.5"\n3e5,1.25e-1\n',
        b'\t"1",\t"-2.5"\n\n3e5, \t"1.25e-1" \n\r\r\n',
    ],
)
def test_spellings_of_the_same_numbers(text):
    features, labels, names = read(text)
    np.testing.assert_array_equal(features, EXPECTED)
    assert features.dtype == np.float32
    assert labels is None
    assert names is None


@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 6),
    block_bytes=st.sampled_from([16, 200, 1 << 20]),
    seed=st.integers(0, 99),
)
@settings(max_examples=60)
def test_any_block_size_gives_the_same_rows(rows, columns, block_bytes, seed):
    values = np.random.default_rng(seed).standard_normal((rows, columns + 1)).astype(np.float32)
    text = "\n".join(",".join(map(repr, row)) for row in values.astype(float).tolist()).encode()
    for source in (text, io.BytesIO(text + b"\n")):
        features, labels, _ = read(source, "text/csv", block_bytes=block_bytes)
        np.testing.assert_array_equal(features, values[:, 1:])
        np.testing.assert_array_equal(labels, values[:, 0])


numbers = st.floats(-3e38, 3e38, allow_subnormal=False).map(repr) | st.integers(-(10**25), 10**25).map(str)


@given(st.lists(st.lists(numbers, min_size=3, max_size=3), min_size=1, max_size=5), st.booleans())
@settings(max_examples=200)
def test_numbers_are_read_as_python_reads_them(cells, quoted):
    # Quotes send the text to the slower parsers; all of them must agree to the last bit.
    form = '"%s"' if quoted else "%s"
    text = "\n".join(",".join(form % cell for cell in row) for row in cells).encode()
    features, _, _ = read(text)
    expected = np.array([[float(cell) for cell in row] for row in cells]).astype(np.float32)
    np.testing.assert_array_equal(features, expected)


def test_blocks_longer_than_what_the_parser_takes_at_once(rng):
    values = rng.integers(0, 256, (3000, 120))
    text = "\n".join(",".join(map(str, row)) for row in values.tolist()).encode()
    assert len(text) > 1 << 20
    np.testing.assert_array_equal(read(text)[0], values)
    odd = text.replace(b"\n", b"\r\n", 100) + b"\n" + b",".join([b".5"] * 120)
    np.testing.assert_array_equal(read(odd)[0], np.vstack([values, np.full(120, 0.5)]))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("as_stream", [False, True])
def test_gzip_is_recognised(packed, as_stream):
    text = b"1,-2.5\n300000,0.125\n"
    data = gzip.compress(text) if packed else text
    features, _, _ = read(io.BytesIO(data) if as_stream else data, block_bytes=4)
    np.testing.assert_array_equal(features, EXPECTED)


@pytest.mark.parametrize("content_type", ["text/csv", "text/csv;header=present", "csv;label_size=1"])
def test_column_names_travel_with_the_batch(content_type):
    features, labels, names = read(b'churned,age,"account length"\n1,2,3\n0,5,6\n', content_type)
    assert names == ("age", "account length")
    np.testing.assert_array_equal(features, [[2, 3], [5, 6]])
    np.testing.assert_array_equal(labels, [1, 0])


def test_the_header_parameter_decides():
    assert read(b"1,2\n3,4\n", "csv;label_size=0;header=present")[2] == ("1", "2")
    with pytest.raises(DataError, match="line 1, column 1: expected a number, got 'a'"):
        read(b"a,b\n3,4\n", "csv;label_size=0;header=absent")


@pytest.mark.parametrize("line", [b"a,1", b"a,", b"nan,x", b"NA,NA", b"1;2;3", b"1:2,3:4", b'{"a": 1}', b"-,-"])
def test_a_doubtful_first_line_is_not_taken_for_a_header(line):
    with pytest.raises(DataError, match="line 1"):
        read(line + b"\n1,2\n")


def test_a_header_that_comes_again_is_skipped():
    # A FIFO delivers the files of a channel end to end.
    features, _, names = read(b"a,b\n1,2\n" * 3)
    np.testing.assert_array_equal(features, [[1, 2]] * 3)
    assert names == ("a", "b")


@pytest.mark.parametrize("text", [b"", b"\n", b"\n\r\n\n", b"a,b\n"])
def test_no_rows(text):
    assert list(read_batches(text, "text/csv;label_size=0", name="x")) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"1,2\n3\n", "line 2: it has 1 value, expected 2. One less than expected"),
        (b"1,2\n3,4,5\n", "line 2: it has 3 values, expected 2. One more than expected: is the label still in it"),
        (b"1,2\n3,nan\n", "line 2, column 2: expected a number, got 'nan'. Missing"),
        (b"1,2\n3,\n", "line 2, column 2: expected a number, got an empty cell. Missing"),
        (b"1,2\n,4\n", "line 2, column 1: expected a number, got an empty cell"),
        (b"1,2\n-inf,4\n", "line 2, column 1: expected a number, got '-inf'"),
        (b"1,2\n3,1e39\n", "line 2, column 2: expected a number, got '1e39'. It is too large for float32"),
        (b"1,2\n3,1e400\n", "line 2, column 2: expected a number, got '1e400'. It is too large"),
        (b"1,2\n3,red\n", "line 2, column 2: expected a number, got 'red'. Text categories"),
        (b"1,2\n3,1_000\n", "line 2, column 2: expected a number, got '1_000'"),
        (b"1,2\n3,[4]\n", "line 2, column 2: expected a number, got '[4]'. This looks like JSON"),
        (b"1,2\n3,0x10\n", "line 2, column 2: expected a number, got '0x10'"),
        (b"1,2\n3;4\n", "line 2: it has 1 value, expected 2. One less than expected"),
        (
            b"1;2;3\n",
            "line 1, column 1: expected a number, got '1;2;3'. The values seem to be separated by semicolons",
        ),
        (b"1\t2\n", "separated by tabs"),
        (b"1 2:0.5 7:1\n", "expected a number, got '1 2:0.5 7:1'"),
        (b"1,2:0.5\n", "column 2: expected a number, got '2:0.5'. This looks like libsvm text"),
        (b'{"features": [1, 2]}\n', "This looks like JSON, but the content type says CSV"),
        (b"\x0a\x23\xd7\xce\x20\0\0\0\x0a\x1e", "This is not text"),
        (b"1,2\n3,\xff\xfe\n", "This is not text"),
        (b"1,2\n\n\n3,x\n", "line 4, column 2"),
        (b'1,"2\n3",4\n', "line 1"),
        (b"1," + b"9" * 500 + b"\n", "9…'"),
        (b"1,true\n", "got 'true'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "data",
)
def test_bad_lines_are_explained(text, message):
    for block_bytes in (8, 1 << 20):
        with pytest.raises(DataError) as caught:
            read(text, block_bytes=block_bytes)
        assert message in str(caught.value)
        assert str(caught.value).startswith("train/part-0, line ")
        assert len(str(caught.value)) < 300


def test_errors_name_the_column():
    with pytest.raises(DataError, match=r"line 3, column 2 \('age'\): expected a number, got 'old'"):
        read(b"id,age\n1,2\n3,old\n")


def test_a_bad_cell_far_into_a_file_is_named(rng):
    lines = [b"1,2,3"] * 200_000
    lines[150_000] = b"1,oops,3"
    with pytest.raises(DataError, match="line 150001, column 2"):
        read(b"\n".join(lines), block_bytes=1 << 18)
    lines[150_000] = b"1,2,3,4"
    lines[150_001] = b"1,2"  # together as many values as two whole lines have
    with pytest.raises(DataError, match="line 150001: it has 4 values, expected 3"):
        read(b"\n".join(lines))


def test_a_value_equal_to_the_parsers_own_marker():
    text = b"9e-303,1\n2,9e-303\n"
    np.testing.assert_array_equal(read(text)[0], [[0, 1], [2, 0]])
    with pytest.raises(DataError, match="line 2: it has 1 value, expected 3"):
        read(b"1,9e-303,2\n3\n")
    # With its line ends counted as values, the text below makes two rows of three that end in the marker.
    with pytest.raises(DataError, match="line 2: it has 3 values, expected 1"):
        read_features(b"1\n9e-303,5,6\n", "text/csv")


@pytest.mark.parametrize(
    ("content_type", "labels", "message"),
    [
        ("csv;label_size=0", "required", "label_size=0, but training needs exactly one"),
        ("csv;label_size=2", "required", "label_size=2, but training needs exactly one"),
        ("csv;label_size=2", "optional", "label_size=2"),
    ],
)
def test_label_sizes_that_no_model_takes(content_type, labels, message):
    with pytest.raises(DataError, match=message):
        read(b"1,2,3\n", content_type, labels=labels)


def test_labels_are_skipped_where_they_are_ignored():
    features, labels, _ = read(b"1,2,3\n4,5,6\n", "csv;label_size=2", labels="ignored")
    np.testing.assert_array_equal(features, [[3], [6]])
    assert labels is None
    with pytest.raises(DataError, match="it has 1 value, of which the first 1 are labels"):
        read(b"1\n2\n", "csv")


@given(
    st.binary(max_size=120) | st.text(alphabet='0123456789.,-+eE"\n\r na[]{}:;_x', max_size=120).map(str.encode)
)
@settings(max_examples=600)
def test_any_bytes_give_rows_or_a_data_error(text):
    try:
        batches = list(read_batches(text, "text/csv;label_size=0", name="x", block_bytes=32))
    except DataError:
        return
    assert all(np.isfinite(batch.features).all() for batch in batches)
    assert sum(map(len, batches)) <= text.count(b"\n") + 1


def test_a_header_longer_than_the_window():
    text = b"a long name,another one\n1,2\n"
    features, _, names = read(text, "csv;label_size=0;header=present", block_bytes=4)
    np.testing.assert_array_equal(features, [[1, 2]])
    assert names == ("a long name", "another one")


@pytest.mark.parametrize("line", [b'"0"\r,4\n', b'4,"0"\r,4\n', b'"0" \r,4'])
def test_a_carriage_return_behind_a_quoted_cell_is_refused_in_every_block(line):
    for text in (line, b"1,4\n" + line):
        with pytest.raises(DataError):
            read_features(text, "text/csv")
    np.testing.assert_array_equal(read_features(b'"0","4"\r\n1,"5"\r', "text/csv"), [[0, 4], [1, 5]])


HALFWAY = 3.4028235677973366e38  # between the largest float32 and the next power of two: it rounds to infinity


@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize("form", ["{}", '"{}"', "{}\n.5"], ids=["plain", "quoted", "strict"])
def test_the_first_double_that_rounds_to_infinity(sign, form):
    below = np.nextafter(HALFWAY, 0).item()
    [row, *_] = read_features(form.format(f"{sign}{below!r}").encode(), "text/csv")
    assert row == float(sign + "1") * np.finfo(np.float32).max
    with pytest.raises(DataError, match=r"line 1, column 1: .* too large for float32"):
        read_features(form.format(f"{sign}{HALFWAY!r}").encode(), "text/csv")
