"""What is fuzzed: each target takes any bytes and may raise nothing but a `UserError`."""

import io
from collections.abc import Callable

import numpy as np

from eigenline import read_recordio_answer
from eigenline.algorithms.batch import concatenate, is_sparse
from eigenline.algorithms.errors import DataError, UserError
from eigenline.formats.answers import write_answer
from eigenline.formats.artifact.columns_file import read_column_names, write_column_names
from eigenline.formats.artifact.model_file import read_artifact, write_artifact
from eigenline.formats.artifact.model_tar import read_model_tar
from eigenline.formats.content_types import RECORDIO, negotiate, parse_content_type
from eigenline.formats.preparation import Input, Preparation
from eigenline.formats.reading import read_batches
from eigenline.formats.recordio.columns import read_columns
from eigenline.formats.recordio.framing import find_frames
from eigenline.formats.recordio.pass_through import pass_through
from eigenline.formats.recordio.record import parse_record
from eigenline.formats.recordio.wrapped import unwrap
from eigenline.formats.requests import read_features

LARGEST_COMPARED = 1 << 20


def recordio(data: bytes) -> None:
    """The fast decoders read nothing that generated code refuses, and read it alike."""
    bytes_ = np.frombuffer(data, np.uint8)
    frames = find_frames(bytes_, True)
    columns = read_columns(bytes_, frames) if frames.start.size else None
    if columns is not None:
        compare(columns.features, columns.labels, data, frames)
    for block_bytes in (1 << 20, 64):
        try:
            batches = list(read_batches(data, "protobuf", name="x", block_bytes=block_bytes))
        except DataError:
            continue
        if len(batches) == 1 and not frames.flag.any() and len(batches[0]) == frames.start.size:
            compare(batches[0].features, batches[0].labels, data, frames)


def compare(features, labels, data, frames):
    spans = zip(frames.start.tolist(), frames.stop.tolist(), strict=True)
    rows = [parse_record(data[start:stop], "x") for start, stop in spans]
    assert {row.feature_dim for row in rows} == {features.shape[1]}
    if features.shape[0] * features.shape[1] > LARGEST_COMPARED:
        return
    found = features.toarray() if is_sparse(features) else features
    for index, row in enumerate(rows):
        expected = np.zeros(row.feature_dim)
        np.add.at(expected, np.arange(row.feature_dim) if row.keys is None else row.keys, row.values)
        np.testing.assert_allclose(found[index], expected, rtol=1e-5, equal_nan=True)
        if labels is not None:
            np.testing.assert_array_equal(labels[index], row.label)


def text_csv(data: bytes) -> None:
    """Any block size gives the same rows, or an error with each."""
    outcomes = []
    for block_bytes in (1 << 20, 16):
        try:
            batches = list(read_batches(data, "text/csv;label_size=0", name="x", block_bytes=block_bytes))
            assert all(np.isfinite(batch.features).all() for batch in batches)
            outcomes.append(np.concatenate([batch.features for batch in batches]) if batches else np.zeros((0, 0)))
        except DataError:
            outcomes.append(None)
    assert (outcomes[0] is None) == (outcomes[1] is None)
    if outcomes[0] is not None:
        np.testing.assert_array_equal(*outcomes)


def named_csv(data: bytes) -> None:
    """Any block size gives the same rows and names, or an error with each; names are matched or refused."""
    kinds = ("csv", "csv;target=a", "csv;header=present", "csv;label_size=0;header=present")
    kind, text = kinds[data[0] % len(kinds)] if data else "csv", data[1:]
    outcomes = []
    for block_bytes in (1 << 20, 16):
        options = {"name": "x", "labels": "optional", "block_bytes": block_bytes, "num_classes": 3}
        try:
            batches = list(read_batches(text, kind, **options))
            assert all(np.isin(batch.labels, (0, 1, 2)).all() for batch in batches if batch.labels is not None)
            outcomes.append(
                (concatenate(batches).features if batches else None, {b.column_names for b in batches})
            )
        except UserError:
            outcomes.append((None, set()))
    np.testing.assert_array_equal(outcomes[0][0], outcomes[1][0])
    assert outcomes[0][1] == outcomes[1][1]
    [names] = outcomes[0][1] or [None]
    if names is not None and len(set(names)) == len(names):
        [batch] = list(read_batches(text, kind, name="x", column_names=names[::-1], block_bytes=1 << 20))
        np.testing.assert_array_equal(batch.features[:, ::-1], outcomes[0][0])


def wrapped(data: bytes) -> None:
    """The first byte: text or not; unwrapped in any pieces the stream is the same, or an error."""
    outcomes = []
    for step in (1 << 16, 3):
        try:
            stream = unwrap(io.BufferedReader(io.BytesIO(data[1:]), step), "x", text=bool(data[:1] > b"\x7f"))
            outcomes.append(stream.read())
        except DataError:
            outcomes.append(None)
    assert outcomes[0] == outcomes[1]


def passed(data: bytes) -> None:
    """What is read as a request's recordIO can be passed through into an answer of as many records."""
    try:
        features = read_features(data, "protobuf")
    except UserError:
        return
    answer = write_answer({"score": np.zeros(features.shape[0], np.float32)}, envelope="p", media_type=RECORDIO)
    read_recordio_answer(pass_through(data, answer))


def columns(data: bytes) -> None:
    """``columns.json``: names that can be written and read again."""
    try:
        names = read_column_names(data)
    except DataError:
        return
    assert read_column_names(write_column_names(names)) == names


def request(data: bytes) -> None:
    """The first byte chooses the content type."""
    kinds = ("csv", "json", "jsonlines", "protobuf", "csv;label_size=1", "csv;header=present")
    try:
        features = read_features(data[1:], kinds[data[0] % len(kinds)] if data else "csv")
    except UserError:
        return
    assert features.shape[0] > 0
    assert features.dtype == np.float32


PREPARATIONS = (
    Preparation.plain(2, ("a", "b"), "c"),
    Preparation((Input("a", 1, 0.5), Input("b", 0)), True, 3, "c", 2),
    Preparation((Input("a", 0), Input("b", 1, None, ("x", "(missing)"))), True, 3, "c", 2),
    Preparation((Input("a", 0), Input("b", 1, None, ("x", "(missing)"))), False, 3, None, 2),
)


def prepared(data: bytes) -> None:
    """Two bytes choose the content type and the preparation; the features are the model's."""
    kinds = ("csv", "json", "jsonlines", "protobuf", "csv;target=c", "csv;header=present")
    if len(data) < 2:
        return
    preparation = PREPARATIONS[data[1] % len(PREPARATIONS)]
    width = len(preparation.feature_names)
    try:
        features = read_features(data[2:], kinds[data[0] % len(kinds)], width, preparation)
    except UserError:
        return
    assert features.shape[0] > 0
    assert features.shape[1] == width
    assert features.dtype == np.float32
    assert np.isfinite(features if isinstance(features, np.ndarray) else features.data).all()


def answer(data: bytes) -> None:
    """Columns of one length."""
    try:
        columns = read_recordio_answer(data)
    except DataError:
        return
    assert len({len(values) for values in columns.values()}) <= 1


def artifact(data: bytes) -> None:
    """Whatever is read as a model can be written and read again."""
    try:
        model = read_artifact(data)
    except DataError:
        return
    again = write_artifact(model)
    assert write_artifact(read_artifact(again)) == again


def archive(data: bytes) -> None:
    """No path leads out of the archive."""
    try:
        files = read_model_tar(data, limit_bytes=1 << 20)
    except DataError:
        return
    assert not any(name.startswith("/") or ".." in name.split("/") for name in files)


def header(data: bytes) -> None:
    """Content-Type and Accept headers."""
    text = data.decode("latin-1")
    for understand in (negotiate, lambda value: parse_content_type(value).label_size(0)):
        try:
            understand(text)
        except UserError:
            continue


TARGETS: dict[str, Callable[[bytes], None]] = {
    "recordio": lambda data: quietly(recordio, data),
    "text_csv": lambda data: quietly(text_csv, data),
    "named_csv": lambda data: quietly(named_csv, data),
    "wrapped": lambda data: quietly(wrapped, data),
    "passed": lambda data: quietly(passed, data),
    "columns": lambda data: quietly(columns, data),
    "request": lambda data: quietly(request, data),
    "prepared": lambda data: quietly(prepared, data),
    "answer": lambda data: quietly(answer, data),
    "artifact": lambda data: quietly(artifact, data),
    "archive": lambda data: quietly(archive, data),
    "header": lambda data: quietly(header, data),
}


def quietly(target, data):
    """Run a target; overflow in sums of duplicate keys is numpy's to report, not ours."""
    with np.errstate(all="ignore"):
        target(data)
