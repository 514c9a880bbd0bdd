"""Inference request bodies of any content type to one array of features."""

from __future__ import annotations

from typing import Final

import numpy as np

from eigenline.algorithms.batch import Features
from eigenline.algorithms.errors import DataError
from eigenline.formats.columns import in_order_of
from eigenline.formats.content_types import CSV, JSON, RECORDIO, ContentType, parse_content_type
from eigenline.formats.csv.lines import PIECE_BYTES
from eigenline.formats.csv.numbers import parse_lines
from eigenline.formats.csv.reader import CsvReader
from eigenline.formats.json.named import read_named
from eigenline.formats.json.reader import parse_json, parse_json_lines
from eigenline.formats.likely_causes import counted, width_hint
from eigenline.formats.preparation import Preparation
from eigenline.formats.prepared import arranged, prepared, read_csv_cells
from eigenline.formats.read_buffer import open_read_buffer
from eigenline.formats.recordio.dense_layout import DenseLayout, find_layout
from eigenline.formats.recordio.framing import HEADER_BYTES, MAGIC_BYTES
from eigenline.formats.recordio.reader import RecordIOReader
from eigenline.formats.recordio.record import parse_record, stack_rows

_NAME: Final = "request"


def read_features(
    body: bytes,
    content_type: ContentType | str,
    feature_dim: int | None = None,
    preparation: Preparation | None = None,
) -> Features:
    """Read the records of a request.

    Parameters
    ----------
    body
        The request's body.
    content_type
        CSV has no label unless it has a ``label_size`` or a ``target``; then the label columns are skipped. Labels
        of recordIO records are skipped.
    feature_dim
        The number of features that the model takes.
    preparation
        How columns become the model's features, where the model keeps that: CSV with a header and JSON with names
        are matched by name, gaps filled and categories spread out. None takes all columns as they are.

    Returns
    -------
    Float32, shape (n, feature_dim): an array, or CSR where the request is sparse.

    Raises
    ------
    DataError
        Naming record, line or instance, and column; HTTP 400.
    UnsupportedContentType
        HTTP 415.
    """
    kind = parse_content_type(content_type) if isinstance(content_type, str) else content_type
    if not body:
        raise DataError("The request's body is empty; expected at least one record.")
    features = _read(body, kind) if preparation is None else _read_prepared(body, kind, preparation)
    rows, width = features.shape
    if not rows:
        raise DataError("The request holds no records.")
    if feature_dim is not None and width != feature_dim:
        raise DataError(
            f"Each record of the request has {counted(int(width), 'feature')}, but the model takes {feature_dim}."
            f"{width_hint(int(width), feature_dim)}"
        )
    return features


def _read(body: bytes, kind: ContentType) -> Features:
    if kind.media_type == CSV:
        return _read_csv(body, kind)
    if kind.media_type == RECORDIO:
        return _read_recordio(body)
    try:
        return _read_json(body, kind)
    except DataError:
        if read_named(body, kind.media_type, _NAME) is not None:
            raise DataError(
                f"{_NAME}: its values have names, but the model keeps none to match them with. Send them in the "
                'order of training: {"features": [...]}.'
            ) from None
        raise


def _read_prepared(body: bytes, kind: ContentType, preparation: Preparation) -> Features:
    if kind.media_type == CSV:
        if not preparation.has_categories:
            try:
                return _read_csv(body, kind, preparation)
            except DataError:
                if not preparation.changes_values:
                    raise
        return read_csv_cells(body, kind, preparation, _NAME)
    if kind.media_type == RECORDIO:
        return prepared(_read_recordio(body), preparation, _NAME)
    try:
        return prepared(_read_json(body, kind), preparation, _NAME)
    except DataError:
        named = read_named(body, kind.media_type, _NAME) if preparation.named else None
        if named is None:
            raise
    names, chunk = named
    return arranged(chunk, names, preparation, _NAME)


def _read_json(body: bytes, kind: ContentType) -> Features:
    return parse_json(body, _NAME) if kind.media_type == JSON else parse_json_lines(body, _NAME)


def _read_csv(body: bytes, kind: ContentType, preparation: Preparation | None = None) -> Features:
    if not kind.parameters and len(body) <= PIECE_BYTES:  # nearly all requests: what the reader would do, at once
        table = parse_lines(body)
        if table is not None:
            with np.errstate(over="ignore"):
                features = table.astype(np.float32, order="C")
            if np.isfinite(features).all():
                return features
    named = preparation is not None and preparation.named
    label = preparation.target if preparation is not None else None
    reader = CsvReader(kind, _NAME, "ignored", default_label_size=0, sniff_header=named, label_name=label)
    buffer = open_read_buffer(body, len(body), name=_NAME, unpack=False)
    batches = reader.read(buffer)
    if preparation is not None and named:
        names = [column.name for column in preparation.inputs]
        batches = (in_order_of(batch, names, _NAME) for batch in batches)
    blocks = [batch.features for batch in batches]
    return _stack(blocks) if blocks else np.zeros((0, 0), np.float32)


def _read_recordio(body: bytes) -> Features:
    if body[:1] == MAGIC_BYTES[:1] and body[:4] != MAGIC_BYTES:
        # Chosen: a single payload without its frame is accepted, because batch transform in the SDK's local
        # mode takes the frames off when it splits by RecordIO.
        return _float32(stack_rows([parse_record(body, _NAME)], _NAME).features)
    known = _read_as_before(body)
    if known is not None:
        return _float32(known)
    buffer = open_read_buffer(body, len(body), name=_NAME, unpack=False)
    blocks = [block.features for block, _ in RecordIOReader(_NAME).read(buffer)]
    if len(blocks) == 1 and isinstance(blocks[0], np.ndarray):
        _remember_layout(body)
    widths = {int(block.shape[1]) for block in blocks}
    if len(widths) > 1:
        raise DataError(f"The request's records have different numbers of features: {sorted(widths)}.")
    return _float32(_stack(blocks)) if blocks else np.zeros((0, 0), np.float32)


# Clients send the same layout again and again, and finding it takes longer than reading one record by it.
_MOST_LAYOUTS: Final = 32
_LARGEST_REMEMBERED: Final = 1024  # bytes around the numbers: uid and metadata may be long
_layouts: dict[bytes, tuple[DenseLayout, bytes, bytes]] = {}  # a frame's header -> layout, bytes before and behind


def _remember_layout(body: bytes) -> None:
    layout = find_layout(np.frombuffer(body, np.uint8))
    if layout is not None and layout.frame_bytes - layout.features.size <= _LARGEST_REMEMBERED:
        if len(_layouts) >= _MOST_LAYOUTS:
            _layouts.clear()
        numbers = layout.features
        behind = body[numbers.stop : layout.frame_bytes]
        _layouts[body[:HEADER_BYTES]] = (layout, body[: numbers.start], behind)


def _read_as_before(body: bytes) -> Features | None:
    """Read records of a layout that an earlier request had; None where this one has another."""
    layout, before, behind = _layouts.get(body[:HEADER_BYTES], (None, b"", b""))
    if layout is None or len(body) % layout.frame_bytes:
        return None
    if len(body) == layout.frame_bytes:
        # One record, of which all but the numbers is the same bytes as in one that has been read.
        if not (body.startswith(before) and body.endswith(behind)):
            return None
        numbers = np.frombuffer(body, layout.features.dtype, layout.feature_dim, layout.features.start)
        return numbers.copy()[np.newaxis]
    block, count = layout.read(np.frombuffer(body, np.uint8))
    return block.features if block is not None and count * layout.frame_bytes == len(body) else None


def _stack(blocks: list[Features]) -> Features:
    if len(blocks) == 1:
        return blocks[0]
    dense = [block for block in blocks if isinstance(block, np.ndarray)]
    if len(dense) == len(blocks):
        return np.concatenate(dense)
    from scipy.sparse import csr_array, vstack

    return csr_array(vstack([csr_array(block) for block in blocks], format="csr"))


def _float32(features: Features) -> Features:
    with np.errstate(over="ignore"):
        narrowed = features.astype(np.float32, copy=False)
    if isinstance(narrowed, np.ndarray):
        narrowed = np.ascontiguousarray(narrowed)
    values = narrowed if isinstance(narrowed, np.ndarray) else narrowed.data
    if not np.isfinite(values).all():
        raise DataError("The request holds values that are not finite numbers in float32.")
    return narrowed
