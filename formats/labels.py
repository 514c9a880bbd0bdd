"""Labels that must be classes: the first one that is none, and what is said of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def first_other(labels: NDArray[np.floating[Any]], num_classes: int) -> int | None:
    """Return the place of the first label that is no whole number from 0 to ``num_classes - 1``; None if all are.

    Parameters
    ----------
    labels
        Shape (n,).
    num_classes
        How many classes there are.
    """
    sound = (labels >= 0) & (labels < num_classes) & (labels == np.floor(labels))
    return None if sound.all() else int(np.argmin(sound))


def not_a_class(value: float, num_classes: int) -> str:
    """Return what is wrong with a label, and the likely cause, to follow the place where it stands."""
    expected = "0 or 1" if num_classes == 2 else f"a whole number from 0 to {num_classes - 1}"
    hint = ""
    if value == num_classes:
        hint = " Classes are counted from 0 here."
    elif value == -1:
        hint = " Is -1 the negative class? It is 0 here."
    elif value != int(value):
        hint = " Is this a number to be predicted? That is what a regressor does."
    return f"the label is {value:g}, expected {expected}.{hint}"
