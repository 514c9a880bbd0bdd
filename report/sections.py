"""The parts of a page, whatever they are about: sentences, pictures, grids, a table, a text to copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Picture:
    """An inline SVG and what it shows."""

    svg: str
    caption: str


@dataclass(frozen=True)
class Pixels:
    """Small pictures of one kind, as data URLs, each with its title."""

    pictures: Sequence[tuple[str, str]]
    caption: str


@dataclass(frozen=True)
class Grid:
    """A table of counts, true classes in rows and predicted ones in columns, each row coloured by its shares."""

    classes: Sequence[str]
    counts: NDArray[np.float64]
    caption: str

    @property
    def rows(self) -> list[tuple[str, list[tuple[str, int, bool]]]]:
        """Class, and of each cell its text, its share of the row in percent, and whether it is right."""
        shares = np.rint(100 * self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1)).astype(int)
        return [
            (name, [(f"{self.counts[i, j]:,.0f}", int(shares[i, j]), i == j) for j in range(len(self.classes))])
            for i, name in enumerate(self.classes)
        ]


@dataclass(frozen=True)
class Section:
    """A part of the page."""

    heading: str
    sentences: Sequence[str] = ()
    figures: Sequence[Picture] = ()
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = field(default_factory=tuple)
    copy: str = ""
    grid: Grid | None = None
    pixels: Pixels | None = None
