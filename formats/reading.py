"""Channel data of any content type, from a stream or a buffer, as a pass of batches of bounded size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal, TypeAlias

from eigenline.algorithms.batch import Batch
from eigenline.algorithms.errors import DataError
from eigenline.formats.columns import in_order_of
from eigenline.formats.content_types import CSV, JSON, RECORDIO, ContentType, parse_content_type
from eigenline.formats.labels import first_other, not_a_class
from eigenline.formats.likely_causes import width_hint
from eigenline.formats.read_buffer import ReadBuffer, Source, open_read_buffer
from eigenline.formats.recordio.reader import RecordIOReader
from eigenline.formats.recordio.record import Block

Labels: TypeAlias = Literal["required", "optional", "ignored"]
_TEXT_SHARE: Final = 4  # of a block: the numbers of a text can take twice its bytes as float32
BLOCK_BYTES: Final = 32 << 20  # large enough for BLAS and system calls, small beside any machine's memory


def read_batches(
    source: Source,
    content_type: ContentType | str,
    *,
    name: str,
    labels: Labels = "optional",
    feature_dim: int | None = None,
    block_bytes: int = BLOCK_BYTES,
    processes: int = 1,
    num_classes: int | None = None,
    column_names: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    observe: Callable[[int], None] = lambda offset: None,
) -> Iterator[Batch]:
    """Read all records of a source, in order, as batches of about `block_bytes`.

    A batch stays valid after the next one was read. Streams are read once, to their end, and not closed.
    Gzip data are recognised and unpacked on the way.

    Parameters
    ----------
    source
        A binary stream (file, FIFO), or a buffer (bytes, mmap).
    content_type
        What the data are, as a channel's ``ContentType``; its parameters describe the columns of CSV.
    name
        What errors call the source.
    labels
        ``required``: every record has exactly one label. ``optional``: all have one or none has.
        ``ignored``: labels are skipped, and `Batch.labels` is None.
    feature_dim
        The number of features that every record must have, where that is known beforehand.
    block_bytes
        About how much is read at once.
    processes
        In how many processes a long CSV source is parsed, ahead of the computation: as many as there are
        CPUs to use. 1 parses in this process. They are forked for the first batch, and end with the
        last one or when the iterator is closed.
    num_classes
        Labels must be whole numbers from 0 to one less; None: any finite number.
    column_names
        The features' names in the order of the model or of an earlier source. Features that carry names are put in
        this order; those without names are taken as they are.
    classes
        Names of the classes, in the order of their numbers, where a CSV source's target holds texts. Labels are
        then the numbers.
    observe
        Receives with each batch how many (unpacked) bytes of the source were read by then.

    Raises
    ------
    DataError
        Naming source, record or line, and column, where the data are not what they claim to be.
    UnsupportedContentType
        If the content type is unknown.
    """
    kind = parse_content_type(content_type) if isinstance(content_type, str) else content_type
    if kind.media_type == CSV:
        block_bytes = max(1, block_bytes // _TEXT_SHARE)
    buffer = open_read_buffer(source, block_bytes, name=name)
    for batch in _batches(buffer, kind, name, labels, feature_dim, processes, num_classes, column_names, classes):
        observe(buffer.offset)
        yield batch


def _batches(
    buffer: ReadBuffer,
    kind: ContentType,
    name: str,
    labels: Labels,
    feature_dim: int | None,
    processes: int,
    num_classes: int | None,
    column_names: Sequence[str] | None,
    classes: Sequence[str] | None,
) -> Iterator[Batch]:
    if kind.media_type == RECORDIO:
        blocks = RecordIOReader(name, feature_dim).read(buffer)
        yield from _check(blocks, name, labels, feature_dim, num_classes)
    elif kind.media_type == CSV:
        from eigenline.formats.csv.reader import CsvReader

        reader = CsvReader(
            kind, name, labels, feature_dim, processes=processes, num_classes=num_classes, classes=classes
        )
        for batch in reader.read(buffer):
            yield batch if column_names is None else in_order_of(batch, column_names, name)
    else:
        from eigenline.formats.json.reader import read_json, read_json_lines

        if labels == "required":
            raise DataError(
                f"{name}: {kind.media_type} has no place for labels; training data with labels are "
                "recordIO-protobuf or CSV."
            )
        read = read_json if kind.media_type == JSON else read_json_lines
        yield from _check(read(buffer, name), name, labels, feature_dim, None)


def _check(
    blocks: Iterator[tuple[Block, int]],
    name: str,
    labels: Labels,
    feature_dim: int | None,
    num_classes: int | None,
) -> Iterator[Batch]:
    labelled: bool | None = None
    for block, first in blocks:
        width = int(block.features.shape[1])
        where = f"{name}, record {first}"
        if feature_dim is None:
            feature_dim = width
        elif width != feature_dim:
            raise DataError(
                f"{where}: it has {width} features, expected {feature_dim}.{width_hint(width, feature_dim)}"
            )
        if labels == "required" and block.labels is None:
            raise DataError(f"{where}: it has no label; training needs one under label['values'].")
        if labels == "ignored":
            yield Batch(block.features)
            continue
        if labelled is not None and labelled != (block.labels is not None):
            raise DataError(f"{where}: some records have a label and some have none.")
        labelled = block.labels is not None
        if block.labels is not None and num_classes is not None:
            place = first_other(block.labels, num_classes)
            if place is not None:
                wrong = not_a_class(block.labels[place].item(), num_classes)
                raise DataError(f"{name}, record {first + place}: {wrong}")
        yield Batch(block.features, block.labels)
