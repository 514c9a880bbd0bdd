"""From the columns of a file to the features of a model: order, gaps, categories and classes, kept with the model.

The side file ``preparation.json`` in the model's folder holds it, so that later files are treated as the first.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Features
from eigenline.algorithms.errors import DataError, excerpt
from eigenline.formats.chunk import Chunk, Columns, texts_of

FILE: Final = "preparation.json"
MISSING_CATEGORY: Final = "(missing)"


class HasColumns(Protocol):
    """A table, as far as its columns go: what errors call it, the columns' names or None, and their number."""

    name: str
    names: Columns | None
    width: int


@dataclass(frozen=True)
class Input:
    """A column that becomes a feature, or several.

    Attributes
    ----------
    name
        In the file.
    position
        In the file, from 0: used where a file has no names.
    fill
        What stands in for a missing number; None refuses it.
    categories
        Texts, each of which becomes a feature that is 1 where it stands and 0 elsewhere; None for numbers. A text
        that training did not see is 0 everywhere.
    """

    name: str
    position: int
    fill: float | None = None
    categories: tuple[str, ...] | None = None

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features that the column becomes."""
        if self.categories is None:
            return (self.name,)
        return tuple(f"{self.name}={text}" for text in self.categories)


@dataclass(frozen=True)
class Preparation:
    """How a file's columns become features and labels.

    Attributes
    ----------
    inputs
        In the order of the model's features.
    named
        Whether names are known: then later files are matched by name.
    width
        Columns of the file that trained.
    target, target_position
        The label's column; None where there is none, or the format keeps labels apart.
    classes
        Names of the classes, in the order of their numbers; None for numbers.
    """

    inputs: tuple[Input, ...]
    named: bool
    width: int
    target: str | None = None
    target_position: int | None = None
    classes: tuple[str, ...] | None = None

    @classmethod
    def plain(
        cls,
        feature_dim: int,
        names: Sequence[str] | None = None,
        target: str | None = None,
        classes: tuple[str, ...] | None = None,
    ) -> Preparation:
        """Return what a model without the side file needs: its features as they are, by name where known."""
        given = names if names is not None and len(names) == feature_dim else None
        named = given or [f"column_{number + 1}" for number in range(feature_dim)]
        inputs = tuple(Input(name, number) for number, name in enumerate(named))
        return cls(inputs, given is not None, feature_dim, target, None, classes)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the model's features."""
        return tuple(name for column in self.inputs for name in column.features)

    @property
    def changes_values(self) -> bool:
        """Whether gaps are filled or categories spread out, which a model alone does not do."""
        return any(column.fill is not None or column.categories is not None for column in self.inputs)

    @property
    def has_categories(self) -> bool:
        """Whether a column of texts is spread out over several features."""
        return any(column.categories is not None for column in self.inputs)

    def to_json(self) -> bytes:
        """Return the side file's content."""
        return (json.dumps({"version": 1, **asdict(self)}, indent=1, ensure_ascii=False) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes, name: str = FILE) -> Preparation:
        """Read a side file.

        Raises
        ------
        DataError
            If it is not one.
        """
        try:
            document = json.loads(data)
            inputs = tuple(_input(entry) for entry in document["inputs"])
            classes = document["classes"]
            if classes is not None:
                classes = _texts(classes)
            target, position = document["target"], document["target_position"]
            if not (target is None or isinstance(target, str)) or not (position is None or _is_place(position)):
                raise ValueError("target")
            if document["version"] != 1 or not inputs or not _is_place(document["width"]):
                raise ValueError("version")
            return cls(inputs, bool(document["named"]), document["width"], target, position, classes)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(f"{name} cannot be read: {excerpt(str(error), 80)}. Was it changed by hand?") from None

    def positions(self, table: HasColumns, left_out: Sequence[str] = ()) -> list[int]:
        """Return the place of every input in a table.

        Parameters
        ----------
        left_out
            Columns that are there for another reason (an identifier); they count only where names do not.

        Raises
        ------
        DataError
            Listing the names that are missing; or for another number of columns, where there are no names.
        """
        if self.named and table.names is not None:
            place = {name: number for number, name in enumerate(table.names)}
            missing = [column.name for column in self.inputs if column.name not in place]
            if missing:
                raise DataError(_missing_names(table, missing, set(self._own_names())))
            return [place[column.name] for column in self.inputs]
        names = table.names or [f"column_{number + 1}" for number in range(table.width)]
        kept = [number for number, name in enumerate(names) if name not in left_out]
        wanted = len(self.inputs)
        if len(kept) == wanted:
            return kept
        if len(kept) == self.width:
            return [kept[column.position] for column in self.inputs]
        hint = ""
        if len(kept) == wanted + 1:
            hint = " One more than expected: is the label still in it, or an identifier (--id-col, --ignore)?"
        raise DataError(f"{table.name} has {len(kept)} columns, but the model takes {wanted}.{hint}")

    def _own_names(self) -> list[str]:
        return [column.name for column in self.inputs] + ([self.target] if self.target else [])

    def features(self, chunk: Chunk, positions: Sequence[int]) -> Features:
        """Return the features of some rows, float32; sparse where the chunk is.

        Raises
        ------
        DataError
            Naming file, line and column of a gap or a text that has no place in the model.
        """
        if not isinstance(chunk.numbers, np.ndarray):
            features = chunk.numbers.astype(np.float32)
            return (
                features if list(positions) == list(range(features.shape[1])) else features[:, np.array(positions)]
            )
        if not self.changes_values and not chunk.texts:
            taken = chunk.numbers if list(positions) == list(range(chunk.numbers.shape[1])) else None
            table = chunk.numbers[:, np.array(positions)] if taken is None else taken
            with np.errstate(over="ignore"):
                narrowed = np.ascontiguousarray(table, np.float32)
            if np.isfinite(narrowed).all():
                return narrowed
        return self._features_by_column(chunk, positions)

    def _features_by_column(self, chunk: Chunk, positions: Sequence[int]) -> NDArray[np.float32]:
        columns: list[NDArray[np.float32]] = []
        for column, position in zip(self.inputs, positions, strict=True):
            if column.categories is not None:
                cells = [cell or MISSING_CATEGORY for cell in chunk.cells(position)]
                number = {text: place for place, text in enumerate(column.categories)}
                codes = np.fromiter((number.get(cell, -1) for cell in cells), np.int64, len(cells))
                columns += [(codes == place).astype(np.float32) for place in range(len(column.categories))]
                continue
            values = chunk.column(position).astype(np.float64)
            self._refuse(chunk, column, position, values)
            columns.append(np.where(np.isnan(values), column.fill or 0.0, values).astype(np.float32))
        return np.ascontiguousarray(np.stack(columns, axis=1))

    @staticmethod
    def _refuse(chunk: Chunk, column: Input, position: int, values: NDArray[np.float64]) -> None:
        gone = np.isnan(values)
        texts = chunk.texts.get(position)
        if texts is not None:
            worded = gone & np.fromiter((bool(cell) for cell in texts), np.bool_, len(texts))
            if worded.any():
                row = int(np.argmax(worded))
                raise DataError(
                    f"{chunk.place(row)}, column {excerpt(column.name)}: expected a number, got "
                    f"{excerpt(texts[row])}."
                    f"{text_cause(texts[row])}"
                )
        if column.fill is None and gone.any():
            raise DataError(
                f"{chunk.place(int(np.argmax(gone)))}, column {excerpt(column.name)}: the cell is empty, and "
                "the model "
                "was trained without a way to fill gaps. Fill it in, or train with --fill mean."
            )
        if bool((np.abs(values[~gone]) > 3.4e38).any()):
            row = int(np.argmax(np.abs(np.where(gone, 0, values)) > 3.4e38))
            raise DataError(
                f"{chunk.place(row)}, column {excerpt(column.name)}: the number is too large for float32."
            )

    def labels(self, chunk: Chunk, position: int | None) -> NDArray[np.float32]:
        """Return the labels of some rows: numbers, or the numbers of classes.

        Raises
        ------
        DataError
            Naming the row whose label is missing, or of no class that training saw.
        """
        name = excerpt(self.target or "label")
        if self.classes is None:
            values = np.asarray(chunk.labels if position is None else chunk.column(position), np.float64)
            wrong = ~np.isfinite(values)
            if wrong.any():
                row = int(np.argmax(wrong))
                got = (
                    "an empty cell" if position is None else excerpt(chunk.cells(position)[row]) or "an empty cell"
                )
                raise DataError(f"{chunk.place(row)}: the label {name} is {got}; expected a number.")
            return values.astype(np.float32)
        cells = chunk.cells(position) if position is not None else _label_texts(chunk)
        number = {text: place for place, text in enumerate(self.classes)}
        codes = np.fromiter((number.get(cell, -1) for cell in cells), np.int64, len(cells))
        if (codes < 0).any():
            row = int(np.argmax(codes < 0))
            if not cells[row]:
                raise DataError(f"{chunk.place(row)}: the label {name} is empty. Leave rows without a label out.")
            raise DataError(
                f"{chunk.place(row)}: the label {name} is {excerpt(cells[row])}; the classes are "
                f"{excerpt(', '.join(self.classes), 100)}."
            )
        return codes.astype(np.float32)


def text_cause(cell: str) -> str:
    """Name the likely cause of a text where a number is expected, and what to do."""
    bare = cell.strip()
    if bare.endswith("%"):
        return " Write percentages as numbers, without the sign."
    if bare[:1] in "$€£¥" or bare[-1:] in "$€£¥":
        return " Write amounts as numbers, without the currency."
    if bare.replace(",", "").replace(".", "").lstrip("+-").isdigit() and "," in bare:
        return " Write numbers without thousands separators, and with a decimal point."
    if bare.lower().lstrip("+-") in ("inf", "infinity"):
        return " Infinite values have no place in a linear model; leave the row out."
    if (len(bare) >= 8 and bare[:4].isdigit() and bare[4] in "-/") or bare.count("/") == 2 or bare.count(":") == 2:
        return (
            " It looks like a date or a time: turn it into numbers (days since a date, the hour), or --ignore it."
        )
    return " Text columns: --categories one-hot turns them into features, --ignore leaves them out."


def _label_texts(chunk: Chunk) -> list[str]:
    assert chunk.labels is not None
    if chunk.labels.dtype.kind in "US":
        return [str(label) for label in chunk.labels.tolist()]
    return texts_of(chunk.labels)


def _missing_names(table: HasColumns, missing: Sequence[str], wanted: set[str]) -> str:
    further = [name for name in table.names or () if name not in wanted]
    text = f"{table.name} lacks {'the column' if len(missing) == 1 else f'{len(missing)} columns'} "
    text += ", ".join(map(excerpt, missing[:8])) + (", ..." if len(missing) > 8 else "")
    text += " that the model was trained with."
    if further:
        shown = ", ".join(map(excerpt, further[:8])) + (", ..." if len(further) > 8 else "")
        text += f" It has {shown} besides: was a column renamed?"
    return text


def _input(entry: Mapping[str, Any]) -> Input:
    name, position, fill, categories = (entry[key] for key in ("name", "position", "fill", "categories"))
    if not isinstance(name, str) or not _is_place(position):
        raise ValueError("a column without name or position")
    if fill is not None and (
        isinstance(fill, bool) or not isinstance(fill, int | float) or not math.isfinite(fill)
    ):
        raise ValueError(f"the fill of {name} is not a number")
    return Input(name, position, fill, None if categories is None else _texts(categories))


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError("a list of texts is expected")
    return tuple(values)


def _is_place(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
