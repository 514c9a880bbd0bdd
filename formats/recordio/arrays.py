"""recordIO-protobuf to arrays in one call: whole channels, and the answers of an endpoint or a batch transform."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import DenseArray, Features, concatenate
from eigenline.algorithms.errors import DataError
from eigenline.formats.content_types import RECORDIO
from eigenline.formats.read_buffer import Source
from eigenline.formats.reading import read_batches
from eigenline.formats.recordio.framing import explain, find_frames, payloads, whole_records
from eigenline.formats.recordio.record import named_numbers
from eigenline.formats.recordio.writer import label_frame

_NAME: Final = "answer"
_ALWAYS_LISTS: Final = frozenset({"projection"})


def read_recordio(source: Source) -> tuple[Features, DenseArray | None]:
    """Read features, and labels where there are any: `write_recordio` backwards.

    Parameters
    ----------
    source
        bytes, a binary file, or a memory map.

    Returns
    -------
    features
        Shape (n, feature_dim): float32 or float64, or a CSR array where the records are sparse.
    labels
        Shape (n,), or None.

    Raises
    ------
    DataError
        Naming the record that cannot be read; or if there is none.
    """
    batches = list(read_batches(source, RECORDIO, name="recordIO data"))
    if not batches:
        raise DataError("The recordIO data hold no record.")
    whole = concatenate(batches)
    return whole.features, whole.labels


def read_recordio_answer(body: bytes) -> dict[str, NDArray[np.float32]]:
    """Read predictions or projections, as an endpoint or a batch transform writes them in recordIO-protobuf.

    Parameters
    ----------
    body
        A response's bytes, or those of a batch transform's ``.out`` file.

    Returns
    -------
    Name -> float32, shape (n,), or (n, c) where a record holds c numbers: ``score`` and ``predicted_label`` of
    Linear Learner, ``projection`` of PCA (which is (n, c) even where c is 1).

    Raises
    ------
    DataError
        Naming the record that is damaged, or differs from the first one in its names or its numbers of numbers.
    """
    data = np.frombuffer(body, np.uint8)
    frames = find_frames(data, last=True)
    records = whole_records(frames)
    if frames.end != data.size or records != frames.start.size:
        raise explain(data, frames.first(records).end, records + 1, 0, _NAME)
    if not records:
        return {}
    first = named_numbers(next(payloads(data, frames)), f"{_NAME}, record 1")
    columns = _alike(data, {name: values.size for name, values in first.items()})
    if columns is None:
        rows = [
            named_numbers(payload, f"{_NAME}, record {number}")
            for number, payload in enumerate(payloads(data, frames), start=1)
        ]
        columns = {name: np.stack(_column(rows, name)) for name in first}
    return {
        name: values[:, 0] if values.shape[1] == 1 and name not in _ALWAYS_LISTS else values
        for name, values in columns.items()
    }


def _alike(data: NDArray[np.uint8], widths: dict[str, int]) -> dict[str, NDArray[np.float32]] | None:
    """Read records that are all laid out as `write_label_records` lays them out; None for others."""
    template, stops = label_frame(tuple(sorted(widths.items())))
    if data.size % template.size:
        return None
    frames = data.reshape(-1, template.size)
    constant = np.ones(template.size, np.bool_)
    columns = {}
    for name, stop in zip(sorted(widths), stops, strict=True):
        start = stop - 4 * widths[name]
        constant[start:stop] = False
        columns[name] = np.ascontiguousarray(frames[:, start:stop]).view("<f4")
    return columns if (frames[:, constant] == template[constant]).all() else None


def _column(rows: list[dict[str, NDArray[np.float32]]], name: str) -> list[NDArray[np.float32]]:
    for number, row in enumerate(rows, start=1):
        if row.keys() != rows[0].keys() or row[name].size != rows[0][name].size:
            raise DataError(
                f"{_NAME}, record {number}: it holds {_described(row)}, "
                f"but the first record {_described(rows[0])}."
            )
    return [row[name] for row in rows]


def _described(row: dict[str, NDArray[np.float32]]) -> str:
    return ", ".join(f"{values.size} of {name!r}" for name, values in sorted(row.items()))
