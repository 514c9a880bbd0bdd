"""Pictures of a report as inline SVG, drawn by pygal; their ink is the page's own, for light and dark."""

from __future__ import annotations

import base64
import re
import struct
import sys
import zlib
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pygal
from numpy.typing import NDArray
from pygal.style import Style

# pygal adds an import hook of a kind that Python 3.12 no longer calls, and 3.11 warns of at every later import.
sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, pygal.PluginImportFixer)]

Floats = NDArray[np.float64]
BLUE, ORANGE, GREEN, RED, GREY = "#3b82d6", "#e0892e", "#3a9d5d", "#d1495b", "#8a8f98"
_STYLE: Final = Style(
    background="transparent",
    plot_background="transparent",
    foreground="currentColor",
    foreground_strong="currentColor",
    foreground_subtle="currentColor",
    guide_stroke_color="rgba(128,136,150,.35)",
    major_guide_stroke_color="rgba(128,136,150,.35)",
    guide_stroke_dasharray="1",
    major_guide_stroke_dasharray="1",
    font_family="system-ui, sans-serif",
    label_font_size=12,
    major_label_font_size=12,
    value_label_font_size=12,
    value_colors=("currentColor",),
    title_font_size=13,
    legend_font_size=12,
    opacity=".75",
    stroke_width="1.6",
    stroke_opacity="1",
    dot_opacity=".75",
)
_UNNAMED: Final = "unnamed"
_MOST_POINTS: Final = 300
_MOST_BARS: Final = 20
_MOST_COMPONENTS: Final = 60
_DASHED: Final = {"dasharray": "5, 4", "width": 1.2}
_DOTTED: Final = {"dasharray": "2, 3", "width": 1.4}


def _chart(kind: type, colours: Sequence[str], height: int = 360, **options: Any) -> Any:
    style = type("Coloured", (Style,), {**vars(_STYLE), "colors": tuple(colours)})
    settings = {"width": 520, "height": height, "margin": 8, "spacing": 6, "show_legend": False, "js": (),
                "legend_at_bottom": True, "legend_at_bottom_columns": 4, "legend_box_size": 10,
                "max_scale": 7, "min_scale": 3,
                "truncate_label": -1, "truncate_legend": -1, "disable_xml_declaration": True}  # fmt: skip
    return kind(style=style, **{**settings, **options})


def _svg(chart: Any) -> str:
    """Return the picture, without what only a page with scripts would use, and with names of its own."""
    chart.uuid = _UNNAMED
    text: str = chart.render(is_unicode=True)
    text = text[text.index("<svg") :]
    for unused in (r"<!--.*?-->", r"<script.*?</script>", r"<desc[^>]*>.*?</desc>", r"<title>.*?</title>"):
        text = re.sub(unused, "", text, flags=re.DOTALL)
    text = re.sub(r' id="(?!chart-)[^"]*"', "", text)
    # Every picture of a page needs a name of its own, the same one in every run.
    return text.replace(f"chart-{_UNNAMED}", f"chart-{zlib.crc32(text.encode()):x}")


def thinned(count: int, most: int = _MOST_POINTS) -> NDArray[np.intp]:
    """Return evenly spaced positions, at most so many."""
    return np.unique(np.linspace(0, max(count - 1, 0), min(count, most)).round().astype(np.intp))


def shown(name: str, most: int = 28) -> str:
    """Cut a long name for an axis."""
    return name if len(name) <= most else name[: most - 1] + "…"


def _number(value: float) -> str:
    return f"{value:.4g}"


def _pairs(x: Floats, y: Floats) -> list[tuple[float, float]]:
    return list(zip(x.tolist(), y.tolist(), strict=True))


def curve(
    x: Floats, lines: Sequence[tuple[str, Floats]], xlabel: str, ylabel: str, diagonal: bool = False,
    mark: float | None = None, unit: bool = True,
) -> str:  # fmt: skip
    """Draw lines over a common axis; `diagonal` draws what chance or perfection gives, `mark` a vertical line."""
    colours = [GREY] * diagonal + [BLUE, ORANGE, GREEN, RED][: len(lines)] + [GREY] * (mark is not None)
    options: dict[str, Any] = {"range": (0, 1), "xrange": (0, 1)} if unit else {}
    named = any(name for name, _ in lines)
    chart = _chart(pygal.XY, colours, x_title=xlabel, y_title=ylabel, show_dots=False, show_legend=named,
                   value_formatter=_number, x_value_formatter=_number, **options)  # fmt: skip
    if diagonal:
        chart.add("", [(0, 0), (1, 1)], stroke_style=_DASHED)
    chosen = thinned(len(x), 200)
    for name, y in lines:
        chart.add(name or None, _pairs(x[chosen], y[chosen]))
    if mark is not None:
        low, high = (0.0, 1.0) if unit else _range([y for _, y in lines])
        chart.add("the model's", [(mark, low), (mark, high)], stroke_style=_DOTTED)
    return _svg(chart)


def _range(values: Sequence[Floats]) -> tuple[float, float]:
    return min(float(each.min()) for each in values), max(float(each.max()) for each in values)


def calibration(predicted: Floats, observed: Floats, low: Floats, high: Floats) -> str:
    """Draw observed shares beside predicted ones, with their 95 % intervals."""
    chart = _chart(pygal.XY, [GREY, *[BLUE] * (len(predicted) + 1)], range=(0, 1), xrange=(0, 1),
                   x_title="predicted probability", y_title="observed share", value_formatter=_number,
                   x_value_formatter=_number, dots_size=3)  # fmt: skip
    chart.add("", [(0, 0), (1, 1)], stroke_style=_DASHED, show_dots=False)
    chart.add("", _pairs(predicted, observed))
    for place, bottom, top in zip(predicted.tolist(), low.tolist(), high.tolist(), strict=True):
        chart.add("", [(place, bottom), (place, top)], show_dots=False)
    return _svg(chart)


def scatter(x: Floats, y: Floats, xlabel: str, ylabel: str, line: str = "") -> str:
    """Draw points, at most 300 of them; `line` is ``diagonal`` or ``zero``."""
    chart = _chart(pygal.XY, [GREY, BLUE], x_title=xlabel, y_title=ylabel, dots_size=2.2, value_formatter=_number,
                   x_value_formatter=_number)  # fmt: skip
    chosen = thinned(len(x))
    ends = _range([x]) if line == "zero" else _range([x, y])
    chart.add("", [(end, end if line == "diagonal" else 0.0) for end in ends] if line else [], show_dots=False,
              stroke_style=_DASHED)  # fmt: skip
    chart.add("", _pairs(x[chosen], y[chosen]), stroke=False)
    return _svg(chart)


def histogram(values: Floats, xlabel: str) -> str:
    """Draw how often values occur, without the outer half percent on either side."""
    low, high = np.quantile(values, [0.005, 0.995])
    counts, edges = np.histogram(
        values, bins=int(np.clip(2 * len(values) ** 0.5, 8, 40)), range=(low, high) if high > low else None
    )
    chart = _chart(pygal.Histogram, [BLUE], x_title=xlabel, y_title="rows", value_formatter=_number,
                   x_value_formatter=_number)  # fmt: skip
    chart.add("", list(zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True)))
    return _svg(chart)


def bars(names: Sequence[str], values: Floats, errors: Floats | None, xlabel: str) -> str:
    """Draw the largest values as horizontal bars, with two standard errors where they are known."""
    chosen = np.argsort(-np.abs(values), kind="stable")[:_MOST_BARS][::-1]
    chart = _chart(pygal.HorizontalBar, [BLUE], height=90 + 22 * len(chosen), x_title=xlabel,
                   value_formatter=_number)  # fmt: skip
    chart.x_labels = [shown(names[number]) for number in chosen]
    drawn, ends = [], [0.0]
    for number in chosen.tolist():
        value = float(values[number])
        bar: dict[str, Any] = {"value": value, "color": BLUE if value >= 0 else ORANGE}
        if errors is not None and np.isfinite(errors[number]):
            width = 2 * float(errors[number])
            bar["ci"] = {"low": value - width, "high": value + width}
            ends += [value - width, value + width]
        drawn.append(bar)
        ends.append(value)
    chart.range = (min(ends), max(ends)) if max(ends) > min(ends) else None
    chart.add("", drawn)
    return _svg(chart)


def models(strengths: Floats, losses: Floats, chosen: int | None, stages: Sequence[str]) -> str:
    """Draw every trained model's loss over the strength of its penalty."""
    positive = strengths[strengths > 0]
    floor = positive.min() / 10 if len(positive) else 1e-8
    x = np.log10(np.maximum(strengths, floor))
    options: dict[str, Any] = {}
    if len(losses) > 4 and losses.min() > 0:
        options["range"] = (losses.min() * 0.97, max(float(np.quantile(losses, 0.9)) * 1.03, losses.min() * 1.1))
    kinds = sorted(set(stages))
    colours = [(BLUE, ORANGE, GREEN, GREY)[place % 4] for place in range(len(kinds))]
    chart = _chart(pygal.XY, [*colours, RED], x_title="wd (strength of the L2 penalty)", stroke=False, dots_size=4,
                   y_title="loss on the selection rows", show_legend=True, value_formatter=_number,
                   x_value_formatter=lambda power: f"{10**power:.2g}", **options)  # fmt: skip
    inside = losses <= options["range"][1] if "range" in options else np.ones(len(losses), bool)
    for kind in kinds:
        own = np.array([name == kind for name in stages]) & inside
        chart.add(kind, _pairs(x[own], losses[own]))
    if chosen is not None:
        chart.add("chosen", [(float(x[chosen]), float(losses[chosen]))], dots_size=7)
    return _svg(chart)


def scree(ratios: Floats, cumulative: Floats) -> str:
    """Draw each component's share of the variance before their running sum."""
    count = min(len(ratios), _MOST_COMPONENTS)
    number = np.arange(1, count + 1).astype(np.float64)
    left, right = (number - 0.4).tolist(), (number + 0.4).tolist()
    chart = _chart(pygal.Histogram, ["#d5b48c", BLUE], x_title="component, strongest first", show_legend=True,
                   y_title="share of the variance", value_formatter=_number, x_value_formatter=_number,
                   range=(0, 1))  # fmt: skip
    chart.add("together", list(zip(cumulative[:count].tolist(), left, right, strict=True)))
    chart.add("each", list(zip(ratios[:count].tolist(), left, right, strict=True)))
    return _svg(chart)


def biplot(points: Floats, loadings: Floats, names: Sequence[str]) -> str:
    """Draw rows in the plane of the first two components, and the features that span it most as lines."""
    scaled = loadings / np.maximum(np.abs(loadings).max(axis=0), 1e-300)  # each axis of lines has its own scale
    length = np.hypot(scaled[:, 0], scaled[:, 1])
    longest = [number for number in np.argsort(-length, kind="stable")[:6].tolist() if length[number] >= 0.1]
    chart = _chart(pygal.XY, [BLUE, *[ORANGE] * len(longest)], height=440, x_title="component 1",
                   y_title="component 2", print_labels=True, dots_size=2.2, value_formatter=_number,
                   x_value_formatter=_number)  # fmt: skip
    chosen = thinned(len(points))
    chart.add("", _pairs(points[chosen, 0], points[chosen, 1]), stroke=False)
    reach = 0.8 * np.abs(points).max(axis=0)
    edge = 1.25 * np.abs(points).max(axis=0)
    chart.xrange, chart.range = (-edge[0], edge[0]), (-edge[1], edge[1])
    for number in longest:
        x, y = (scaled[number] * reach).tolist()
        chart.add("", [(0, 0), {"value": (x, y), "label": shown(names[number], 18)}], dots_size=3)
    return _svg(chart)


def picture(component: Floats, side: int) -> str:
    """Return a component as a square picture (a PNG as a data URL): blue where it is positive, orange elsewhere.

    Pixels are no vectors, so this is the plainest form of PNG (ISO 15948): a header, packed rows, an end.
    """
    values = component.reshape(side, side)
    colours = np.zeros((side, side, 4), np.uint8)
    positive, negative = (bytes.fromhex(colour[1:]) for colour in (BLUE, ORANGE))
    colours[..., :3] = np.where((values >= 0)[..., None], np.frombuffer(positive, np.uint8),
                                np.frombuffer(negative, np.uint8))  # fmt: skip
    colours[..., 3] = np.rint(255 * np.abs(values) / max(float(np.abs(values).max()), 1e-300))
    rows = np.concatenate([np.zeros((side, 1), np.uint8), colours.reshape(side, -1)], axis=1)
    parts = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)),
             (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b"")]  # fmt: skip
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in parts
    )
    return "data:image/png;base64," + base64.b64encode(data).decode()
