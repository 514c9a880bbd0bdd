"""Columns with names: the label is found by its name, and all data are put into the order of the first."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias

from eigenline.algorithms.batch import Batch
from eigenline.algorithms.errors import DataError, UserError, excerpt
from eigenline.container.configuration import ChannelDescription
from eigenline.formats.artifact.columns_file import ColumnNames, write_column_names
from eigenline.formats.columns import in_order_of
from eigenline.formats.content_types import CSV, ContentType, parse_content_type
from eigenline.formats.csv.text_labels import MOST_CLASSES, texts_of_labels
from eigenline.formats.machine_limits import cpu_quota
from eigenline.formats.read_buffer import GZIP_MAGIC, Source
from eigenline.formats.reading import read_batches

Labels: TypeAlias = Literal["required", "ignored"]
_LONGEST_LINE: Final = 16 << 20
_MOST_NAMED: Final = 8  # names that an error lists
# A last column with such a name is the label in most files that people have; SageMaker's is the first.
_NAMES_OF_LABELS: Final = frozenset({"target", "label", "labels", "class", "y", "outcome"})


class Columns:
    """The columns of all channels of a job, as the first data with a header name them.

    Parameters
    ----------
    feature_dim
        How many features PCA expects; None for Linear Learner, which takes any number.
    num_classes
        Of a classifier: labels are whole numbers from 0 to one less; None for any numbers.
    warn
        Receives sentences about the data.

    Attributes
    ----------
    names
        The features' names in the model's order; None until data with a header were read.
    target
        The label's name, where the train channel names it.
    classes
        Names of the classes, in the order of their numbers, where labels are texts.
    """

    def __init__(
        self,
        feature_dim: int | None = None,
        num_classes: int | None = None,
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.names: tuple[str, ...] | None = None
        self.target: str | None = None
        self.classes: tuple[str, ...] | None = None
        self.feature_dim = feature_dim
        self.num_classes = num_classes
        self._warn = warn
        self._named_by = "an earlier run"
        self._unnamed: set[str] = set()

    def arranged(self, batch: Batch, where: str) -> Batch:
        """Return a batch with its columns in the model's order.

        Parameters
        ----------
        batch
            Some records; without names they are taken to be in that order.
        where
            The channel and the file, for the errors.

        Raises
        ------
        DataError
            If names are missing, unknown or there twice.
        """
        if batch.column_names is None:
            if self.names is not None and where not in self._unnamed:
                self._unnamed.add(where)
                self._warn(f"{where} has no header: its columns are taken to be in the order of {self._named_by}.")
            return batch
        if self.names is None:
            self.names, self._named_by = batch.column_names, where
            return batch
        try:
            return in_order_of(batch, self.names, f"{where}, line 1")
        except DataError as error:
            raise DataError(f"{error} The model's are those of {self._named_by}.") from error

    def name_classes(self, found: Sequence[str]) -> None:
        """Number the classes in the order of their names; of two, the second is the positive one.

        Parameters
        ----------
        found
            The distinct labels of the train channel; none where labels are numbers.

        Raises
        ------
        DataError
            If there are not as many as the hyperparameters say.
        """
        if not found:
            return
        names = sorted(found)
        some = ", ".join(excerpt(name, 30) for name in names[:_MOST_NAMED])
        some += f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        if len(names) != self.num_classes:
            said = "a binary_classifier has 2" if self.num_classes == 2 else f"num_classes is {self.num_classes}"
            raise DataError(
                f"The column {excerpt(self.target)}, which is the target, has {len(names)} different texts "
                f"({some}), but {said}. Is it the column to predict?"
            )
        self.classes = tuple(names)

    def names_file(self) -> bytes | None:
        """Return the content of the artifact's ``columns.json``; None where the data had no names."""
        if self.names is None:
            return None
        return write_column_names(ColumnNames(self.names, self.target, self.classes))

    def check_label_position(self, where: str) -> None:
        """Warn where the last feature is called what a label is called."""
        if self.names and self.names[-1].strip().lower() in _NAMES_OF_LABELS:
            self._warn(
                f"{where}: the first column is taken for the label, as SageMaker does, and "
                f"{excerpt(self.names[-1])} for a feature. If it is the label, say so: "
                f"text/csv;target={self.names[-1]}"
            )


class ChannelReader:
    """Reads the sources of one channel: its content type, and where its label is.

    Parameters
    ----------
    description
        The channel, whose content type may be ``text/csv`` with ``label_size=0`` or ``target=NAME``.
    labels
        ``required`` (Linear Learner) or ``ignored`` (PCA).
    columns
        Shared by all channels of the job.

    Raises
    ------
    DataError
        If the content type is unknown or contradicts itself.
    """

    def __init__(self, description: ChannelDescription, labels: Labels, columns: Columns) -> None:
        self._channel = description.name
        self._labels: Labels = labels
        self._columns = columns
        self._stated = description.content_type
        try:
            kind = parse_content_type(description.content_type)
            self._target = kind.target()
        except UserError as error:
            raise DataError(f"Channel {description.name!r}: {error}") from error
        if self._target is not None and kind.media_type != CSV:
            raise DataError(
                f"Channel {description.name!r}: a target is a column's name, which only text/csv has; got "
                f"{excerpt(description.content_type)}."
            )
        self._kind = kind
        if description.name == "train" and self._target is not None and labels == "required":
            columns.target = self._target
        self._checked_label = self._target is not None or labels == "ignored"

    @property
    def is_csv(self) -> bool:
        """Whether the data are lines of text."""
        return self._kind.media_type == CSV

    @property
    def _assumes_label(self) -> bool:
        return self.is_csv and self._target is None and "label_size" not in self._kind.parameters

    def describe(self) -> str:
        """Return the content type and where the label is."""
        if self._target is not None:
            return f"{self._stated}; the label is column {excerpt(self._target)}"
        if self._assumes_label:
            return f"{self._stated}; the first column is the label"
        return self._stated

    def look_at(self, file: Path) -> None:
        """Find out from a first line whether the lines of a PCA channel hold no label.

        Chosen: SageMaker's ``text/csv`` has the label first. Lines of exactly `Columns.feature_dim` values have
        none, because training on one feature less than was asked for would go unnoticed.
        """
        if self._labels == "ignored" and self._assumes_label and _width(file) == self._columns.feature_dim:
            self._kind = ContentType(CSV, {**self._kind.parameters, "label_size": "0"})
            self._stated += f"; no label, because lines have feature_dim={self._columns.feature_dim} values"

    def texts_of_labels(self, source: Source, name: str) -> Iterator[frozenset[str]]:
        """Yield the distinct labels of each block; nothing where no target is named, or labels are numbers.

        Raises
        ------
        DataError
            If they are more than classes can be.
        """
        if self._target is None or self._labels == "ignored" or self._columns.num_classes is None:
            return
        found: set[str] = set()
        for some in texts_of_labels(source, self._kind, name):
            found |= some
            if len(found) > MOST_CLASSES:
                raise DataError(
                    f"Channel {self._channel!r}: {name}: the column {excerpt(self._target)}, which is the target, "
                    f"has more than {MOST_CLASSES} different texts. Is it the column to predict?"
                )
            yield some

    def batches(self, source: Source, name: str) -> Iterator[tuple[Batch, int]]:
        """Read a source, columns in the model's order; yield with each batch how many bytes were read by then.

        Raises
        ------
        DataError
            Naming the source, where the data are not what they claim to be.
        """
        where = f"Channel {self._channel!r}: {name}"
        read = 0

        def observe(offset: int) -> None:
            nonlocal read
            read = offset

        blocks = read_batches(
            source,
            self._kind,
            name=name,
            labels=self._labels,
            processes=max(1, int(cpu_quota())),
            num_classes=self._columns.num_classes if self._labels == "required" else None,
            classes=self._columns.classes,
            observe=observe,
        )
        for batch in blocks:
            if not len(batch):
                continue
            if self._assumes_label and self._columns.feature_dim == batch.feature_dim + 1:
                raise DataError(
                    f"{where}: its lines have {self._columns.feature_dim} values, of which the first is the "
                    f"label, but feature_dim is {self._columns.feature_dim}. Where there is no label, say so: "
                    "text/csv;label_size=0"
                )
            yield self._columns.arranged(batch, where), read
            if not self._checked_label:
                self._checked_label = True
                self._columns.check_label_position(where)


def _width(file: Path) -> int | None:
    """Return how many values the first line of a CSV file has; None where that cannot be known."""
    try:
        with file.open("rb") as stream:
            packed = stream.read(2) == GZIP_MAGIC
            stream.seek(0)
            line = (gzip.GzipFile(fileobj=stream) if packed else stream).readline(_LONGEST_LINE)
    except (OSError, EOFError, zlib.error):
        return None  # reading the data will say what is wrong
    return line.count(b",") + 1
