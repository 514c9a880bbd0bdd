"""Pictures of a report as inline SVG, drawn by matplotlib; their ink is the page's own, for light and dark."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_INK: Final = "#010203"  # replaced by the page's colour of text
BLUE, ORANGE, GREEN, RED, GREY = "#3b82d6", "#e0892e", "#3a9d5d", "#d1495b", "#8a8f98"
_STYLE: Final[Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "eigenline",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
}
_MOST_POINTS: Final = 2000
_MOST_BARS: Final = 20


def _style() -> AbstractContextManager[None]:
    return mpl.rc_context(_STYLE)


def _axes(width: float = 4.6, height: float = 3.3) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    found = text.getvalue()
    found = found[found.index("<svg") :].replace(_INK, "currentColor")
    found = re.sub(r"<metadata>.*?</metadata>", "", found, flags=re.DOTALL)
    # Every picture of a page needs names of its own, or one clips another.
    mark = f"f{abs(hash_of(found)):x}"
    return re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{mark}-", found)


def hash_of(text: str) -> int:
    """Return a number that is the same for the same text in every run."""
    import zlib

    return zlib.crc32(text.encode())


def thinned(count: int, most: int = _MOST_POINTS) -> NDArray[np.intp]:
    """Return evenly spaced positions, at most so many."""
    return np.unique(np.linspace(0, max(count - 1, 0), min(count, most)).round().astype(np.intp))


def shown(name: str, most: int = 28) -> str:
    """Cut a long name for an axis."""
    return name if len(name) <= most else name[: most - 1] + "…"


def confusion(table: Floats, classes: Sequence[str]) -> str:
    """Draw a confusion matrix, each row coloured by its share."""
    with _style():
        count = len(table)
        side = min(1.4 + 0.55 * count, 8.5)
        figure, axes = _axes(side + 0.8, side)
        shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
        for row in range(count):
            for column in range(count):
                share = float(shares[row, column])
                colour = GREEN if row == column else RED
                axes.add_patch(Rectangle((column, row), 1, 1, facecolor=colour, alpha=0.08 + 0.72 * share, lw=0))
                if count <= 20 and table[row, column]:
                    text = f"{table[row, column]:,.0f}" + (f"\n{share:.0%}" if count <= 6 else "")
                    axes.text(
                        column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=9 if count < 9 else 6
                    )
        axes.set(xlim=(0, count), ylim=(count, 0), xlabel="predicted", ylabel="true")
        names = [shown(name, 14) for name in classes]
        small = 8 if count <= 12 else 5
        axes.set_xticks(np.arange(count) + 0.5, names, rotation=0 if count <= 4 else 60, fontsize=small)
        axes.set_yticks(np.arange(count) + 0.5, names, fontsize=small)
        axes.tick_params(length=0)
        return _svg(figure)


def curve(
    x: Floats, lines: Sequence[tuple[str, Floats]], xlabel: str, ylabel: str, diagonal: bool = False,
    mark: float | None = None, unit: bool = True,
) -> str:  # fmt: skip
    """Draw lines over a common axis; `diagonal` draws what chance or perfection gives, `mark` a vertical line."""
    with _style():
        figure, axes = _axes()
        if diagonal:
            axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--")
        for (name, y), colour in zip(lines, (BLUE, ORANGE, GREEN, RED), strict=False):
            axes.plot(x, y, color=colour, lw=1.6, label=name)
        if mark is not None:
            axes.axvline(mark, color=GREY, lw=1, ls=":")
        if unit:
            axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.set(xlabel=xlabel, ylabel=ylabel)
        if any(name for name, _ in lines):
            axes.legend(fontsize=8)
        return _svg(figure)


def calibration(predicted: Floats, observed: Floats, low: Floats, high: Floats) -> str:
    """Draw observed shares beside predicted ones, with their 95 % intervals."""
    with _style():
        figure, axes = _axes()
        axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--")
        axes.vlines(predicted, low, high, color=BLUE, lw=1.2, alpha=0.6)
        axes.plot(predicted, observed, "o-", color=BLUE, ms=4, lw=1)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="predicted probability", ylabel="observed share")
        return _svg(figure)


def scatter(x: Floats, y: Floats, xlabel: str, ylabel: str, line: str = "") -> str:
    """Draw points, at most 2,000 of them; `line` is ``diagonal`` or ``zero``."""
    with _style():
        figure, axes = _axes()
        chosen = thinned(len(x))
        axes.plot(x[chosen], y[chosen], "o", color=BLUE, ms=3, alpha=0.7, mew=0)
        if line == "diagonal":
            ends = [min(x.min(), y.min()), max(x.max(), y.max())]
            axes.plot(ends, ends, color=GREY, lw=1, ls="--")
        elif line == "zero":
            axes.axhline(0, color=GREY, lw=1, ls="--")
        axes.set(xlabel=xlabel, ylabel=ylabel)
        return _svg(figure)


def histogram(values: Floats, xlabel: str) -> str:
    """Draw how often values occur, without the outer half percent on either side."""
    with _style():
        figure, axes = _axes()
        low, high = np.quantile(values, [0.005, 0.995])
        axes.hist(values, bins=40, range=(low, high) if high > low else None, color=BLUE, alpha=0.8)
        axes.axvline(0, color=GREY, lw=1, ls="--")
        axes.set(xlabel=xlabel, ylabel="rows")
        return _svg(figure)


def bars(names: Sequence[str], values: Floats, errors: Floats | None, xlabel: str) -> str:
    """Draw the largest values as horizontal bars, with two standard errors where they are known."""
    with _style():
        chosen = np.argsort(-np.abs(values), kind="stable")[:_MOST_BARS][::-1]
        figure, axes = _axes(5.6, 1.1 + 0.24 * len(chosen))
        colours = [BLUE if value >= 0 else ORANGE for value in values[chosen]]
        places = np.arange(len(chosen))
        axes.barh(places, values[chosen], color=colours, height=0.7)
        if errors is not None:
            width = 2 * errors[chosen]
            axes.errorbar(values[chosen], places, xerr=width, fmt="none", ecolor=_INK, elinewidth=0.9, capsize=2)
        axes.axvline(0, color=_INK, lw=0.8)
        axes.set_yticks(places, [shown(names[number]) for number in chosen], fontsize=8)
        axes.set(xlabel=xlabel)
        return _svg(figure)


def models(strengths: Floats, losses: Floats, chosen: int | None, stages: Sequence[str]) -> str:
    """Draw every trained model's loss over the strength of its penalty."""
    with _style():
        figure, axes = _axes(5.6, 3.3)
        positive = strengths[strengths > 0]
        floor = positive.min() / 10 if len(positive) else 1e-8
        x = np.maximum(strengths, floor)
        for stage, colour in zip(sorted(set(stages)), (BLUE, ORANGE, GREEN, GREY), strict=False):
            own = np.array([name == stage for name in stages])
            axes.plot(x[own], losses[own], "o", color=colour, ms=5, alpha=0.7, mew=0, label=stage)
        if chosen is not None:
            axes.plot(x[chosen], losses[chosen], "o", ms=11, mfc="none", mec=_INK, mew=1.3, label="chosen")
        axes.set(xscale="log", xlabel="wd (strength of the L2 penalty)", ylabel="loss on the selection rows")
        if len(losses) > 4 and losses.min() > 0:
            top = np.quantile(losses, 0.9)
            axes.set_ylim(losses.min() * 0.9, max(top * 1.1, losses.min() * 1.2))
        axes.xaxis.set_major_formatter(
            lambda value, _: f"{value:g}"
        )  # names may hold $, so no text is mathematics
        axes.legend(fontsize=8)
        return _svg(figure)


def scree(ratios: Floats, cumulative: Floats) -> str:
    """Draw each component's share of the variance, and their running sum."""
    with _style():
        figure, axes = _axes(5.6, 3.3)
        number = np.arange(1, len(ratios) + 1)
        most = 60
        axes.bar(number[:most], ratios[:most], color=BLUE, alpha=0.85, label="each")
        axes.plot(number[:most], cumulative[:most], "o-", color=ORANGE, ms=3, lw=1.4, label="together")
        axes.set(xlabel="component, strongest first", ylabel="share of the total variance", ylim=(0, 1.03))
        axes.legend(fontsize=8)
        return _svg(figure)


def biplot(points: Floats, loadings: Floats, names: Sequence[str]) -> str:
    """Draw rows in the plane of the first two components, and the features that span it most as arrows."""
    with _style():
        figure, axes = _axes(5.6, 4.6)
        axes.plot(points[:, 0], points[:, 1], "o", color=BLUE, ms=3, alpha=0.6, mew=0)
        scaled = loadings / np.maximum(
            np.abs(loadings).max(axis=0), 1e-300
        )  # each axis of arrows has its own scale
        length = np.hypot(scaled[:, 0], scaled[:, 1])
        for number in np.argsort(-length, kind="stable")[:8]:
            if length[number] < 0.1:
                break
            x, y = scaled[number] * np.abs(points).max(axis=0) * 0.8
            arrow = {"arrowstyle": "->", "color": ORANGE, "lw": 1.3}
            axes.annotate("", (x, y), (0, 0), arrowprops=arrow).set_in_layout(False)
            name = axes.text(1.05 * x, 1.05 * y, shown(names[number], 18), fontsize=8, ha="center", va="center")
            name.set_in_layout(False)
        axes.set(xlabel="component 1", ylabel="component 2")
        axes.margins(0.12)
        return _svg(figure)


def pictures(components: Floats, side: int) -> str:
    """Draw components as square pictures: blue where they are positive, orange where negative."""
    with _style():
        count = min(len(components), 12)
        rows = -(-count // 6)
        figure = Figure(figsize=(6.2, 1.2 * rows), layout="constrained")
        for number in range(count):
            axes = figure.add_subplot(rows, 6, number + 1)
            picture = components[number].reshape(side, side)
            colours = np.zeros((side, side, 4))
            colours[..., :3] = np.where(
                picture[..., None] >= 0, mpl.colors.to_rgb(BLUE), mpl.colors.to_rgb(ORANGE)
            )
            colours[..., 3] = np.abs(picture) / max(float(np.abs(picture).max()), 1e-300)
            axes.imshow(colours, interpolation="nearest")
            axes.set_title(str(number + 1), fontsize=8, pad=2)
            axes.set_axis_off()
        return _svg(figure)
