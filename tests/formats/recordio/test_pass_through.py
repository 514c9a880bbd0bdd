"""`uid` and `metadata` of a request's records come back with the answer's, and nothing else does."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from eigenline import write_recordio
from eigenline.formats.answers import write_answer
from eigenline.formats.content_types import RECORDIO
from eigenline.formats.recordio.framing import find_frames, framed
from eigenline.formats.recordio.pass_through import pass_through
from eigenline.formats.recordio.record_pb2 import Record


def stream_of(records: list[Record]) -> bytes:
    return b"".join(framed(record.SerializeToString()) for record in records)


def records_of(data: bytes) -> list[Record]:
    frames = find_frames(np.frombuffer(data, np.uint8), last=True)
    assert frames.end == len(data)
    pairs = zip(frames.start.tolist(), frames.stop.tolist(), strict=True)
    return [Record.FromString(data[start:stop]) for start, stop in pairs]


def record(values: list[float], uid: str | None, metadata: str | None, label: bool = False) -> Record:
    made = Record()
    made.features["values"].float32_tensor.values.extend(values)
    if label:
        made.label["values"].float32_tensor.values.append(1.0)
    if uid is not None:
        made.uid = uid.encode()
    if metadata is not None:
        made.metadata = metadata.encode()
    return made


def answer_for(rows: int) -> bytes:
    return write_answer({"score": np.arange(rows, dtype=np.float32)}, envelope="predictions", media_type=RECORDIO)


passengers = st.tuples(
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=3),
    st.none() | st.text(max_size=300),
    st.none() | st.text(max_size=5),
    st.booleans(),
)


@given(st.lists(passengers, min_size=1, max_size=8))
def test_each_record_gets_back_what_was_its_own(
    rows: list[tuple[list[float], str | None, str | None, bool]],
) -> None:
    answer = answer_for(len(rows))
    passed = records_of(pass_through(stream_of([record(*row) for row in rows]), answer))
    for (_, uid, metadata, _), plain, got in zip(rows, records_of(answer), passed, strict=True):
        assert got.HasField("uid") == (uid is not None)
        assert got.HasField("metadata") == (metadata is not None)
        assert (got.uid, got.metadata) == ((uid or "").encode(), (metadata or "").encode())
        got.ClearField("uid")
        got.ClearField("metadata")
        assert got == plain


def test_answers_to_ordinary_records_stay_as_they_are() -> None:
    answer = answer_for(50)
    assert pass_through(write_recordio(np.ones((50, 9), np.float32)), answer) is answer
    assert pass_through(write_recordio(np.ones((50, 9), np.float32), np.ones(50, np.float32)), answer) is answer


def test_a_payload_without_its_frame() -> None:
    request = record([1.0], "row 7", None).SerializeToString()
    (got,) = records_of(pass_through(request, answer_for(1)))
    assert got.uid == b"row 7"


def test_one_record_among_many_of_the_same_size_has_a_uid() -> None:
    rows = [record([1.0, 2.0, 3.0], None, None) for _ in range(9)]
    short = record([1.0], "abcdef", None)  # as long as the others: eight bytes of values are those of the uid
    assert len(short.SerializeToString()) == len(rows[0].SerializeToString())
    got = records_of(pass_through(stream_of([*rows, short]), answer_for(10)))
    assert [answer.uid for answer in got] == [b""] * 9 + [b"abcdef"]
