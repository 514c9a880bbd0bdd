"""Which records the models of a path are compared on: the validation channel, folds, a hold-out, or none apart."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

FEWEST_ROWS: Final = 60  # below this, no record can be spared
SMALL_ROWS: Final = 5000  # below this, five folds instead of four
WIDE: Final = 20_000  # with more features, the columns of several folds cost more than they are worth
HELD_OUT_FOLDS: Final = 10


class SplitKind(Enum):
    """Where the records that models are compared on come from."""

    VALIDATION_CHANNEL = "validation"
    FOLDS = "folds"
    HOLD_OUT = "hold-out"
    TRAINING = "training"


@dataclass(frozen=True)
class ValidationSplit:
    """The records that models are compared on.

    Attributes
    ----------
    kind
        Where they come from.
    folds
        How many parts a hash of the position deals the training records into; 0 for none.
    left_out
        The parts that are left out in turn, one column of parameters each; (-1,) leaves out none.
    """

    kind: SplitKind
    folds: int = 0
    left_out: tuple[int, ...] = (-1,)

    def __str__(self) -> str:
        return {
            SplitKind.VALIDATION_CHANNEL: "validation",
            SplitKind.FOLDS: f"{ {4: 'four', 5: 'five'}.get(self.folds, self.folds) }-fold cross-validation",
            SplitKind.HOLD_OUT: f"an internal hold-out, one in {self.folds} of the training records",
            SplitKind.TRAINING: "train (its training loss)",
        }[self.kind]


def choose_split(*, rows: int, feature_dim: int, outputs: int, validation: bool) -> ValidationSplit:
    """Take the validation channel, or spare some training records, as their number allows.

    Notes
    -----
    Chosen: below 60 records all are needed for training. Cross-validation scores every record, so luck decides
    least; of wide models and of many classes, whose columns are many already, a tenth of the records is held out.
    """
    if validation:
        return ValidationSplit(SplitKind.VALIDATION_CHANNEL)
    if rows < FEWEST_ROWS:
        return ValidationSplit(SplitKind.TRAINING)
    if rows < SMALL_ROWS and feature_dim <= WIDE:
        return ValidationSplit(SplitKind.FOLDS, 5, (0, 1, 2, 3, 4))
    if outputs == 1 and feature_dim <= WIDE:
        return ValidationSplit(SplitKind.FOLDS, 4, (0, 1, 2, 3))
    return ValidationSplit(SplitKind.HOLD_OUT, HELD_OUT_FOLDS, (0,))
