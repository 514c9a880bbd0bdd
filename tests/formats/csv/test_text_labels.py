"""Labels that are texts: classes found, and class numbers in place of the texts, by arrays as line by line."""

import contextlib
import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eigenline.algorithms.errors import DataError
from eigenline.formats.content_types import parse_content_type
from eigenline.formats.csv.text_labels import number_labels, texts_of_labels
from eigenline.formats.reading import read_batches

KIND = "text/csv;target=y"


def classes_of(text: bytes, kind: str = KIND) -> set[str]:
    return set().union(*texts_of_labels(text, parse_content_type(kind), "train.csv"))


def labels_of(text: bytes, classes: list[str], **options) -> list[float]:
    batches = list(
        read_batches(text, KIND, name="train.csv", labels="required", classes=classes, num_classes=2, **options)
    )
    return np.concatenate([batch.labels for batch in batches]).tolist()


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("cells", [("yes", "no"), (" yes", '"no"'), ("y e s", "n,o"), ("naïve", "ß")])
def test_classes_are_found_and_numbered_wherever_they_stand(place, end, cells):
    names, rows = ["a", "b"], [["1.5", "2"], ["-3", "4e1"], ["0", "7"]]
    quoted = [f'"{cell}"' if "," in cell else cell for cell in cells]
    names.insert(place, "y")
    for number, row in enumerate(rows):
        row.insert(place, quoted[number % 2])
    text = end.join([",".join(names), *(",".join(row) for row in rows)]).encode()
    classes = [cell.strip(' "') for cell in cells]
    for form in (text, text + b"\n", gzip.compress(text), b"\xef\xbb\xbf" + text):
        assert classes_of(form) == set(classes)
        assert labels_of(form, classes) == [0, 1, 0]
    [batch] = read_batches(text, KIND, name="x", labels="required", classes=classes)
    np.testing.assert_allclose(batch.features, [[1.5, 2], [-3, 40], [0, 7]])


def test_numbers_are_no_texts():
    assert classes_of(b"y,a\n1,2\nyes,3\n") == set()


def test_a_label_that_is_no_class_is_named_with_its_place():
    text = b"a,y\n1,no\n2,yes\n3,maybe\n"
    with pytest.raises(
        DataError, match=r"line 4, column 2 \('y'\): the label is 'maybe', which is none of the train"
    ):
        labels_of(text, ["no", "yes"])
    with pytest.raises(DataError, match=r"line 3, column 2 \('y'\): the label is ''; a record without a label"):
        classes_of(b"a,y\n1,no\n2,\n")


def test_lines_of_another_length_are_left_to_the_reader():
    with pytest.raises(DataError, match="line 3"):
        labels_of(b"a,y\n1,no\n2\n3,yes\n", ["no", "yes"])


def test_more_classes_than_fit_into_their_names():
    names = [chr(97 + number) for number in range(12)]
    text = "a,y\n" + "".join(f"{number},{name}\n" for number, name in enumerate(names))
    batches = list(read_batches(text.encode(), KIND, name="x", labels="required", classes=names))
    assert batches[0].labels.tolist() == list(range(12))


def test_large_sources_with_several_processes():
    text = b"a,y\n" + b"1.25,yes\n2.5,no\n" * 1_200_000
    labels = labels_of(text, ["no", "yes"], processes=2)
    assert len(labels) == 2_400_000
    assert sum(labels) == 1_200_000


cell = st.text(st.characters(codec="utf-8", exclude_characters='",\n\r\0'), min_size=1, max_size=6).map(str.strip)


@given(st.lists(cell.filter(bool), min_size=1, max_size=20), st.integers(0, 2), st.booleans())
def test_arrays_and_lines_agree(labels, place, quoted):
    classes = sorted(set(labels))
    rows = []
    for number, label in enumerate(labels):
        row = [str(number), "1"]
        row.insert(place, f'"{label}"' if quoted else label)
        rows.append(",".join(row))
    names = ["a", "b"]
    names.insert(place, "y")
    done = number_labels("\n".join(rows).encode(), classes, place, names, 1, "x").decode()
    found = [line.split(",")[place].strip() for line in done.split("\n")]
    assert found == [str(classes.index(label.strip(" \t\r"))) for label in labels]


@given(st.binary(max_size=200), st.sampled_from([b"", b"y,a\n", b"y,a\nno,1\n"]))
def test_any_bytes_are_classes_or_an_error(data, beginning):
    try:
        found = classes_of(beginning + data)
    except DataError:
        return
    with contextlib.suppress(DataError):
        list(read_batches(beginning + data, KIND, name="x", labels="required", classes=sorted(found)))
