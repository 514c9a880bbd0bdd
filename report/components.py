"""What a PCA found: shares of the variance, reconstruction error, components as bars or pictures, a biplot."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eigenline.report import figures
from eigenline.report.sections import Picture, Pixels, Section
from eigenline.report.subject import Subject, number_in, strongest_first

_MOST_ROWS: Final = 40
Floats = NDArray[np.float64]


def components(subject: Subject) -> Iterator[Section]:
    """Yield what the components explain, what they are, and their loadings."""
    pca = subject.pca
    assert pca is not None
    order = strongest_first(pca)
    vectors = pca.components[:, order].T.astype(np.float64)
    names = subject.feature_names
    ratios = _numbers(subject.report.get("explained_variance_ratio"), len(order))
    if ratios is not None:
        yield _variance(subject, ratios)
    else:
        values = pca.singular_values[order].astype(np.float64)
        shares = np.nan_to_num(values**2 / max(float(np.nansum(values**2)), 1e-300))
        drawn = [
            Picture(
                figures.scree(shares, np.cumsum(shares)), "Shares of what the kept components explain together."
            )
        ]
        text = "The artifact does not hold the total variance, so the true shares are smaller than these."
        yield Section("How much the components explain", [text], drawn)
    drawn = []
    points = _points(subject.table("projections.csv")[1:])
    if points is not None and len(vectors) > 1:
        drawn.append(Picture(figures.biplot(points, vectors[:2].T, names), "Rows and features in the first two."))
    side, pixels = math.isqrt(len(names)), None
    if side * side == len(names) and side >= 8:
        squares = [(figures.picture(vectors[k], side), f"component {k + 1}") for k in range(min(len(vectors), 12))]
        pixels = Pixels(
            squares, "The components as pictures, the strongest first; blue is positive, orange negative."
        )
    else:
        for number in range(min(len(vectors), 4)):
            drawn.append(
                Picture(
                    figures.bars(names, vectors[number], None, "loading"),
                    f"Component {number + 1}: its largest loadings.",
                )
            )
    yield Section("What the components are", (), drawn, pixels=pixels)
    rows = [(name, *(f"{value:.4g}" for value in vectors[:6, j])) for j, name in enumerate(names[:_MOST_ROWS])]
    yield Section(
        "Loadings", (), (), ("feature", *(f"component {k + 1}" for k in range(min(6, len(vectors))))), rows
    )
    table = subject.table("components.csv")
    if table:
        yield Section("To copy into a spreadsheet", copy="\n".join("\t".join(row) for row in table[:2000]))


def _variance(subject: Subject, ratios: Floats) -> Section:
    cumulative = np.cumsum(ratios)
    needed = subject.report.get("components_needed")
    sentences = []
    if isinstance(needed, dict):
        parts = [
            f"{100 * float(share):g} % need {count or f'more than {len(ratios)}'}"
            for share, count in needed.items()
        ]
        sentences.append(f"Components needed for so much of the variance: {'; '.join(parts)}.")
    drawn = [
        Picture(
            figures.scree(ratios, cumulative),
            "Each component's share of the total variance (blue), and their sum (sand).",
        )
    ]
    number = np.arange(1, len(ratios) + 1).astype(float)
    lost = np.sqrt(np.maximum(1 - cumulative, 0))
    drawn.append(
        Picture(
            figures.curve(number, [("", lost)], "components", "relative reconstruction error", unit=False),
            "What is lost when rows are put together again from so many components (1: everything).",
        )
    )
    header = ("component", "share of the variance", "together", "relative reconstruction error")
    rows = [
        (f"{k + 1}", f"{ratios[k]:.4%}", f"{cumulative[k]:.4%}", f"{lost[k]:.4f}")
        for k in range(min(len(ratios), 20))
    ]
    return Section("How much the components explain", sentences, drawn, header, rows)


def _numbers(values: Any, count: int) -> Floats | None:
    if not isinstance(values, list) or len(values) != count:
        return None
    if not all(isinstance(value, int | float) for value in values):
        return None
    return np.array(values, np.float64)


def _points(rows: Iterable[list[str]]) -> Floats | None:
    points = np.array([[number_in(cell) for cell in row] for row in rows])
    return points if points.ndim == 2 and points.shape[1] == 2 and np.isfinite(points).all() else None
