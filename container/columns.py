"""Columns with names: the label is found by its name, and all data are put into the order of the first."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias, cast

import numpy as np

from eigenline.algorithms.batch import Batch
from eigenline.algorithms.errors import DataError, UserError, excerpt
from eigenline.container.configuration import ChannelDescription
from eigenline.formats.content_types import CSV, ContentType, parse_content_type
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
        How many features PCA was told to expect; None for Linear Learner, which takes what it finds.
    warn
        Receives sentences about the data.

    Attributes
    ----------
    names
        The features' names in the model's order; None until data with a header were read.
    """

    def __init__(self, feature_dim: int | None = None, warn: Callable[[str], None] = lambda text: None) -> None:
        self.names: tuple[str, ...] | None = None
        self.feature_dim = feature_dim
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
            If names are missing, unknown or there twice, or are not as many as the columns.
        """
        names = batch.column_names
        if names is None:
            if self.names is not None and where not in self._unnamed:
                self._unnamed.add(where)
                self._warn(f"{where} has no header: its columns are taken to be in the order of {self._named_by}.")
            return batch
        _check_count(names, batch, where)
        if self.names is None:
            self.names, self._named_by = names, where
            return batch
        if names == self.names:
            return batch
        order = self._order(names, where)
        features = np.take(np.asarray(batch.features), order, axis=1)
        return Batch(features, batch.labels, batch.weights, self.names)

    def _order(self, names: tuple[str, ...], where: str) -> list[int]:
        assert self.names is not None
        missing = [name for name in self.names if name not in set(names)]
        unknown = [name for name in names if name not in set(self.names)]
        if missing or unknown:
            parts = [f"without {_listed(missing)}"] * bool(missing) + [f"with {_listed(unknown)}"] * bool(unknown)
            raise DataError(
                f"{where}, line 1: other columns than in {self._named_by}: {' and '.join(parts)}. All data of a "
                "job must have the same columns, in any order."
            )
        if len(set(names)) < len(names):
            raise DataError(
                f"{where}, line 1: the columns are in another order than in {self._named_by}, and some names "
                "occur twice, so they cannot be put in order."
            )
        place = {name: number for number, name in enumerate(names)}
        return [place[name] for name in self.names]

    def check_label_position(self, where: str) -> None:
        """Warn where the last feature is called what a label is called."""
        if self.names and self.names[-1].strip().lower() in _NAMES_OF_LABELS:
            self._warn(
                f"{where}: the first column is taken for the label, as SageMaker does, and "
                f"{excerpt(self.names[-1])} for a feature. If it is the label, say so: "
                f"text/csv;target={self.names[-1]}"
            )


def _check_count(names: Sequence[str], batch: Batch, where: str) -> None:
    if len(names) != batch.feature_dim:
        count = abs(len(names) - batch.feature_dim)
        more = f"{count} name{'s' * (count > 1)} {'more' if len(names) > batch.feature_dim else 'fewer'}"
        raise DataError(
            f"{where}, line 1: it has {more} than the lines below it "
            "have values. Is a name missing or one too many, or is that line a title?"
        )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(excerpt(name, 30) for name in names[:_MOST_NAMED])
    return shown + (f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else "")


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
        except UserError as error:
            raise DataError(f"Channel {description.name!r}: {error}") from error
        self._target = kind.parameters.get("target")
        if self._target is not None:
            if kind.media_type != CSV or "label_size" in kind.parameters or kind.header() is False:
                raise DataError(
                    f"Channel {description.name!r}: target names a column of text/csv with a header, so it goes "
                    "neither with another type nor with label_size or header=absent. Got "
                    f"{excerpt(description.content_type)}."
                )
            others = {name: value for name, value in kind.parameters.items() if name != "target"}
            kind = ContentType(CSV, others | {"label_size": "0", "header": "present"})
        self._kind = kind
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

    def batches(self, source: Source, name: str) -> Iterator[tuple[Batch, int]]:
        """Read a source, columns in the model's order; yield with each batch how many bytes were read by then.

        Raises
        ------
        DataError
            Naming the source, where the data are not what they claim to be.
        """
        where = f"Channel {self._channel!r}: {name}"
        labels = self._labels if self._target is None else "ignored"
        threads = max(1, int(cpu_quota()))
        read = 0

        def observe(offset: int) -> None:
            nonlocal read
            read = offset

        blocks = read_batches(source, self._kind, name=name, labels=labels, processes=threads, observe=observe)
        for batch in blocks:
            if not len(batch):
                continue
            labelled = batch if self._target is None else self._labelled(batch, where)
            if self._assumes_label and self._columns.feature_dim == labelled.feature_dim + 1:
                raise DataError(
                    f"{where}: its lines have {self._columns.feature_dim} values, of which the first is the "
                    f"label, but feature_dim is {self._columns.feature_dim}. Where there is no label, say so: "
                    "text/csv;label_size=0"
                )
            yield self._columns.arranged(labelled, where), read
            if not self._checked_label:
                self._checked_label = True
                self._columns.check_label_position(where)

    def _labelled(self, batch: Batch, where: str) -> Batch:
        names, target = batch.column_names or (), cast(str, self._target)
        _check_count(names, batch, where)
        if names.count(target) != 1:
            found = "more than one column is" if target in names else "there is no column"
            raise DataError(
                f"{where}, line 1: {found} called {excerpt(target)}; the columns are {_listed(names)}."
            )
        place = names.index(target)
        features = np.asarray(batch.features)
        return Batch(
            np.delete(features, place, axis=1),
            features[:, place].copy() if self._labels == "required" else None,
            batch.weights,
            (*names[:place], *names[place + 1 :]),
        )


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
