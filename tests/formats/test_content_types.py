"""What counts as which content type, and which answer a client accepts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eigenline.algorithms.errors import UserError
from eigenline.formats.content_types import (
    CSV,
    JSON,
    JSON_LINES,
    RECORDIO,
    NotAcceptable,
    UnsupportedContentType,
    negotiate,
    parse_content_type,
)


@pytest.mark.parametrize(
    ("header", "media_type"),
    [
        ("text/csv", CSV),
        ("csv", CSV),
        ("TEXT/CSV; charset=UTF-8", CSV),
        ('text/csv;charset="utf8"', CSV),
        ("json", JSON),
        ("application/json; charset=utf-8", JSON),
        ("application/jsonlines", JSON_LINES),
        ("application/x-ndjson", JSON_LINES),
        ("protobuf", RECORDIO),
        (" Application/X-RecordIO-Protobuf ", RECORDIO),
        ("application/x-labeled-vector-protobuf", RECORDIO),
    ],
)
def test_spellings(header, media_type):
    assert parse_content_type(header).media_type == media_type


@pytest.mark.parametrize(
    "header", ["", "text/plain", "application/octet-stream", "text/csv2", ";csv", "text/html"]
)
def test_unknown_types_are_refused_with_the_known_ones(header):
    with pytest.raises(UnsupportedContentType, match="text/csv"):
        parse_content_type(header)


def test_near_misses_get_a_hint():
    with pytest.raises(UnsupportedContentType, match="sparse data as recordIO"):
        parse_content_type("text/libsvm")
    with pytest.raises(UnsupportedContentType, match="Convert the file"):
        parse_content_type("application/x-parquet")
    with pytest.raises(UnsupportedContentType, match="only UTF-8"):
        parse_content_type("text/csv; charset=utf-16")


def test_parameters_of_csv():
    kind = parse_content_type("Text/CSV ; Label_Size = 2 ; header=Present")
    assert kind.label_size(1) == 2
    assert kind.header() is True
    assert parse_content_type("csv").label_size(1) == 1
    assert parse_content_type("csv").header() is None
    assert parse_content_type("csv;header=absent").header() is False


@pytest.mark.parametrize("value", ["-1", "1.0", "x", "", "²", "99999999999"])
def test_a_wrong_label_size_is_refused(value):
    with pytest.raises(UnsupportedContentType, match="label_size"):
        parse_content_type(f"text/csv;label_size={value}").label_size(0)


def test_a_wrong_header_parameter_is_refused():
    with pytest.raises(UnsupportedContentType, match="'present' or 'absent'"):
        parse_content_type("text/csv;header=yes").header()


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("application/json", JSON),
        ("text/csv", CSV),
        ("csv", CSV),
        ("text/*", CSV),
        ("application/*", JSON),
        ("application/x-recordio-protobuf, application/json", RECORDIO),
        ("application/json;q=0.5, text/csv", CSV),
        ("image/png, text/csv;q=0.1", CSV),
        ("*/*;q=0.1, text/csv;q=0.1", CSV),
        ("*/*, text/csv", CSV),
        ("application/*, application/json;q=0", JSON_LINES),
        ("APPLICATION/JSONLINES; Q=1", JSON_LINES),
        ("text/csv;q=nonsense", CSV),
        (" , application/json", JSON),
    ],
)
def test_negotiation(accept, chosen):
    assert negotiate(accept) == chosen


@pytest.mark.parametrize(
    "accept", ["image/png", "text/html, image/*", "text/csv;q=0", "application/octet-stream", ","]
)
def test_what_cannot_be_written_is_never_answered_in_another_form(accept):
    with pytest.raises(NotAcceptable, match="application/json"):
        negotiate(accept)


def test_the_default_may_be_another():
    assert negotiate(None, default="text/csv") == CSV
    assert negotiate("*/*", default="application/x-recordio-protobuf") == RECORDIO
    assert negotiate("application/*", default="text/csv") == JSON
    assert negotiate("text/*, */*;q=0.5", default="jsonlines") == CSV
    assert negotiate("*/*, text/*") == CSV  # the more specific range, though named last
    assert negotiate("*/*, text/*, application/x-recordio-protobuf") == RECORDIO


def test_only_what_is_offered_is_answered():
    assert negotiate("application/json, text/csv;q=0.2", offered=[CSV]) == CSV
    with pytest.raises(NotAcceptable):
        negotiate("application/json", offered=[CSV])


@given(st.text(max_size=60) | st.text(alphabet="*/;,=q.019 jsoncvtex", max_size=60))
def test_any_header_is_understood_or_refused(header):
    for understand in (negotiate, lambda text: parse_content_type(text).label_size(0)):
        try:
            understand(header)
        except UserError as error:
            assert len(str(error)) < 400  # noqa: PT017 -- the refusal is one of two right outcomes
