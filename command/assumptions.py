"""What is assumed where a person did not say it: the label's column and its kind, and which columns count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from eigenline.algorithms.errors import DataError, UserError, excerpt
from eigenline.command.data_summary import MOST_VALUES, ColumnSummary, DataSummary, names_of
from eigenline.command.tables.chunk import Table
from eigenline.formats.preparation import MISSING_CATEGORY, Input, Preparation, text_cause

BINARY, MULTICLASS, REGRESSOR = "binary_classifier", "multiclass_classifier", "regressor"
_USUAL_NAMES: Final = ("target", "label", "y", "class", "outcome")
_MOST_CATEGORIES: Final = 100
_MOST_NUMBERED_CLASSES: Final = 20
_MOST_PROBLEMS: Final = 8


@dataclass(frozen=True)
class Wishes:
    """What a person said about the columns.

    Attributes
    ----------
    target
        The label's name, its number from 1, ``first`` or ``last``; None where there is none.
    ignored
        Names of columns that are left out.
    predictor_type
        None to be found out.
    fill_mean
        Whether gaps in numbers are filled with the column's mean.
    one_hot
        Whether texts become features, one a category.
    positive
        The class that counts as positive; None takes the second in order.
    pca
        Whether there is nothing to predict.
    """

    target: str | None = None
    ignored: tuple[str, ...] = ()
    predictor_type: str | None = None
    fill_mean: bool = False
    one_hot: bool = False
    positive: str | None = None
    pca: bool = False


@dataclass(frozen=True)
class Assumed:
    """How the columns will be used, and the sentences that say so."""

    preparation: Preparation
    predictor_type: str | None
    notes: tuple[str, ...]


def find_target(table: Table, wishes: Wishes) -> int | None:
    """Return the label's column.

    Raises
    ------
    UserError
        If no column is so called, or none was named and the file keeps no labels of its own.
    """
    names = names_of(table)
    if wishes.target is None:
        if wishes.pca or table.has_labels:
            return None
        shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        usual = [name for name in names if name.lower() in _USUAL_NAMES]
        likely = f" Probably: --target {usual[0]}" if usual else ""
        raise UserError(
            f"Which column is to be predicted? Say --target NAME (or --pca K, to predict nothing).{likely} "
            f"The columns of {table.name} are: {shown}."
        )
    if wishes.target in names:
        return names.index(wishes.target)
    if table.names is None or wishes.target in ("first", "last"):
        if wishes.target in ("first", "last"):
            return 0 if wishes.target == "first" else table.width - 1
        if wishes.target.isascii() and wishes.target.isdigit() and 1 <= int(wishes.target[:9]) <= table.width:
            return int(wishes.target) - 1
    raise UserError(f"{table.name} has no column {excerpt(wishes.target)}.{_choices(names, wishes.target, table)}")


def _choices(names: Sequence[str], wanted: str, table: Table) -> str:
    import difflib

    near = [name for name in names if name.lower() == wanted.lower()]
    near = near or difflib.get_close_matches(wanted, names, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    if table.names is None:
        hint += " It has no line of names: columns are called column_1, column_2, ..., first or last."
    return f"{hint} Its columns are: {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}."


def assume(table: Table, summary: DataSummary, target: int | None, wishes: Wishes) -> Assumed:
    """Decide how the columns are used.

    Raises
    ------
    UserError
        Saying what to do about texts, gaps, and labels that cannot be predicted.
    """
    names = names_of(table)
    unknown = [name for name in wishes.ignored if name not in names]
    if unknown:
        raise UserError(
            f"{table.name} has no column {excerpt(unknown[0])} to ignore.{_choices(names, unknown[0], table)}"
        )
    notes: list[str] = []
    predictor_type, classes = None, None
    if not wishes.pca:
        label = summary.labels if target is None else summary.columns[target]
        assert label is not None
        predictor_type, classes, sentence = _label(table, label, wishes)
        notes.append(sentence)
    inputs = []
    if summary.sparse or (table.has_labels and not any(column.numbers for column in summary.columns)):
        inputs = [Input(name, number) for number, name in enumerate(names)]
    else:
        left_out = set(wishes.ignored) | {"(index)"}
        problems = []
        for number, column in enumerate(summary.columns):
            if number != target and column.name not in left_out:
                try:
                    inputs += _input(number, column, wishes, notes)
                except DataError as error:
                    problems.append(str(error))
        if problems:
            more = [f"... and {len(problems) - _MOST_PROBLEMS} more columns."] * (len(problems) > _MOST_PROBLEMS)
            raise DataError("\n".join(problems[:_MOST_PROBLEMS] + more))
    if not inputs:
        raise DataError(f"{table.name} has no column left to learn from.")
    preparation = Preparation(
        tuple(inputs),
        table.names is not None,
        table.width,
        None if target is None else names[target],
        target,
        classes,
    )
    return Assumed(preparation, predictor_type, tuple(notes))


def _input(number: int, column: ColumnSummary, wishes: Wishes, notes: list[str]) -> list[Input]:
    name = excerpt(column.name)
    if column.texts:
        place, cell = column.first_text
        mostly_numbers = column.numbers > column.texts or column.uncounted > 0
        if not wishes.one_hot or mostly_numbers:
            kind = "is a number elsewhere but" if mostly_numbers else "is"
            raise DataError(
                f"{place}, column {name}: the cell {kind} the text {excerpt(cell)}; features are numbers."
                f"{text_cause(cell)}"
            )
        if column.many or len(column.values) > _MOST_CATEGORIES:
            many = f"more than {MOST_VALUES}" if column.many else str(len(column.values))
            raise DataError(
                f"Column {name} holds {many} different texts, which is more than the {_MOST_CATEGORIES} "
                "categories that "
                f"become features: is it a name, an identifier or free text? Leave it out: --ignore {column.name}."
            )
        found = sorted(
            (text or MISSING_CATEGORY for text in column.values), key=lambda text: (text == MISSING_CATEGORY, text)
        )
        notes.append(
            f"Column {name} becomes {len(found)} features, one a category: {excerpt(', '.join(found), 80)}."
        )
        return [Input(column.name, number, None, tuple(found))]
    if not column.numbers:
        notes.append(f"Column {name} is empty in every row and is left out.")
        return []
    if column.missing and not wishes.fill_mean:
        raise DataError(
            f"{column.first_missing}, column {name}: the cell is empty ({column.missing:,} such cells in the "
            "column). "
            "Say --fill mean to fill gaps with the column's mean, fill them in yourself, or leave the column out: "
            f"--ignore {column.name}."
        )
    if column.missing:
        notes.append(
            f"Column {name}: {column.missing:,} empty cells are filled with the mean of the rows that train, "
            f"{column.mean:.6g}."
        )
    if column.rising and column.whole and column.numbers > 20 and column.high - column.low == column.numbers - 1:
        notes.append(
            f"Column {name} counts the rows ({column.low:.0f} to {column.high:.0f}): is it an identifier? "
            f"--ignore {column.name} leaves it out."
        )
    elif column.low == column.high:
        notes.append(f"Column {name} is {column.low:g} in every row, so nothing can be learned from it.")
    return [Input(column.name, number, column.mean if wishes.fill_mean else None)]


def _label(table: Table, label: ColumnSummary, wishes: Wishes) -> tuple[str, tuple[str, ...] | None, str]:
    """Return predictor type, names of classes, and the sentence that says what was assumed."""
    name = excerpt(wishes.target or label.name)
    if label.missing:
        raise DataError(
            f"{label.first_missing}: the label {name} is empty ({label.missing:,} such rows). A row without a "
            "label "
            "can neither train nor measure a model: leave it out."
        )
    wanted = wishes.predictor_type
    if wanted == REGRESSOR and label.texts:
        place, cell = label.first_text
        raise DataError(
            f"{place or table.name}: the label {name} is the text {excerpt(cell or next(iter(label.values)))}; "
            "a regressor "
            f"predicts numbers.{text_cause(cell) if cell else ''}"
        )
    count = len(label.values)
    if not label.many and count == 1:
        raise DataError(
            f"The label {name} is {excerpt(next(iter(label.values)))} in every row of {table.name}: there is "
            "nothing to "
            "predict."
        )
    if label.texts and label.numbers > 20 * label.texts:
        place, cell = label.first_text
        raise DataError(
            f"{place}: the label {name} is the text {excerpt(cell)}, but a number in {label.numbers:,} other rows."
            f"{text_cause(cell)}"
        )
    guessed = wanted or _guess(label)
    if guessed == REGRESSOR:
        range_text = f"numbers from {label.low:g} to {label.high:g}"
        return REGRESSOR, None, _sentence(name, REGRESSOR, f"its values are {range_text}", wanted)
    if label.many or (count > _MOST_CATEGORIES and label.texts):
        many = f"more than {MOST_VALUES}" if label.many else f"{count}"
        raise DataError(
            f"The label {name} has {many} different values, which are too many for classes: is it the column "
            "to predict?"
        )
    classes = _ordered(label)
    if guessed == BINARY and count != 2:
        raise DataError(
            f"The label {name} has {count} different values ({excerpt(', '.join(classes), 60)}), but a "
            "binary_classifier "
            "has two classes. Say --predictor-type multiclass_classifier, or regressor."
        )
    if guessed == MULTICLASS and count == 2:
        raise DataError(f"The label {name} has two values ({', '.join(classes)}): that is a binary_classifier.")
    if wishes.positive is not None:
        if guessed != BINARY or wishes.positive not in classes:
            raise UserError(
                f"--positive {excerpt(wishes.positive)}: the values of the label {name} are "
                f"{excerpt(', '.join(classes), 100)}, and one of exactly two can be the positive one."
            )
        classes = (*(text for text in classes if text != wishes.positive), wishes.positive)
    because = f"it has the {count} values {excerpt(', '.join(classes), 80)}"
    if guessed == BINARY:
        because += f"; {classes[1]} counts as positive"
    return guessed, classes, _sentence(name, guessed, because, wanted)


def _guess(label: ColumnSummary) -> str:
    """Two values, texts, or whole numbers from 0 or 1 on without a gap are classes; others are numbers."""
    if label.many:
        return MULTICLASS if label.texts else REGRESSOR
    if len(label.values) == 2:
        return BINARY
    if label.texts:
        return MULTICLASS
    gapless = label.whole and label.low in (0, 1) and label.high - label.low == len(label.values) - 1
    return MULTICLASS if gapless and len(label.values) <= _MOST_NUMBERED_CLASSES else REGRESSOR


def _ordered(label: ColumnSummary) -> tuple[str, ...]:
    """Return classes in order: numbers by their size, texts by the alphabet (no before yes, false before true)."""
    if label.texts:
        return tuple(sorted(label.values))
    return tuple(sorted(label.values, key=float))


def _sentence(name: str, predictor_type: str, because: str, wanted: str | None) -> str:
    how = "" if wanted else f" ({because}; --predictor-type says otherwise)"
    return f"To predict: {name}, with a {predictor_type}{how}."
