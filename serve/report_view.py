"""What the page shows of `report.json`: sentences, metrics, hyperparameters, tables, grids and curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, Final

_OWN_PLACE: Final = {
    "algorithm",
    "hyperparameters",
    "given",
    "metrics",
    "summary",
    "feature_names",
    "feature_mean",
    "feature_deviation",
    "threshold_curve",
    "explained_variance_ratio",
    "confusion",
    "residuals",
}
_CURVE_LINES: Final = ("precision", "recall", "f1", "accuracy")
_MOST_ROWS: Final = 30
_SHADES: Final = 9  # of a confusion grid; the style sheet has as many
_SCALARS: Final = (str, int, float, bool)


def view(name: str, report: Mapping[str, Any], classes: Sequence[str] | None = None) -> dict[str, Any]:
    """Return a report as texts, ready for the page; `classes` are their names, where they are known."""
    given = report.get("given")
    given = given if isinstance(given, dict) else {}
    summary = report.get("summary")
    rest = {key: value for key, value in report.items() if key not in _OWN_PLACE}
    facts = [[key.replace("_", " "), _text(value)] for key, value in rest.items() if isinstance(value, _SCALARS)]
    tables = [(key.replace("_", " "), rows) for key, value in rest.items() if (rows := _rows(value))]
    return {
        "name": name,
        "summary": [_printable(sentence) for sentence in summary] if isinstance(summary, list) else [],
        "metrics": _pairs(report.get("metrics")),
        "grids": _grids(report.get("confusion"), classes),
        "hyperparameters": [(key, value, key in given) for key, value in _pairs(report.get("hyperparameters"))],
        "tables": [*tables, ("further facts", facts)] if facts else tables,
    }


def curves(report: Mapping[str, Any], threshold: float | None) -> list[dict[str, Any]]:
    """Return the curves that a report has: lists of numbers between 0 and 1 over a common axis.

    A threshold curve has the counts of both classes besides, from which a page finds what a threshold costs.
    """
    found = []
    curve = report.get("threshold_curve")
    if isinstance(curve, dict) and (x := _numbers(curve.get("threshold"))) and None not in x:
        lines = {name: _numbers(curve.get(name)) for name in _CURVE_LINES}
        found.append(
            {
                "title": "What another threshold would do",
                "x_title": "threshold",
                "x": x,
                "lines": {name: line for name, line in lines.items() if len(line) == len(x)},
                "marker": threshold if threshold is not None and min(x) <= threshold <= max(x) else None,
                "counts": _class_counts(report),
            }
        )
    ratios = [value or 0.0 for value in _numbers(report.get("explained_variance_ratio"))]
    if len(ratios) > 1:
        found.append(
            {
                "title": "Share of the variance that the strongest components explain",
                "x_title": "components, strongest first: each (bars) and together (line)",
                "x": list(range(1, len(ratios) + 1)),
                "columns": ratios,
                "lines": {"together": [min(max(total, 0.0), 1.0) for total in accumulate(ratios)]},
                "marker": None,
            }
        )
    residuals = report.get("residuals")
    if isinstance(residuals, dict):
        edges, counts = _numbers(residuals.get("edges")), _numbers(residuals.get("counts"))
        if len(edges) == len(counts) + 1 and len(counts) > 1 and None not in edges and None not in counts:
            most = max(*counts, 1e-300)
            found.append(
                {
                    "title": _residuals_title(report, residuals.get("channel")),
                    "x_title": "label minus prediction",
                    "x": [(low + high) / 2 for low, high in pairwise(edges)],
                    "columns": [count / most for count in counts],
                    "lines": {},
                    "marker": None,
                }
            )
    return found


def _residuals_title(report: Mapping[str, Any], channel: object) -> str:
    """Say what is drawn, of which channel, and R2 there."""
    title = "How far predictions are from the labels"
    if isinstance(channel, str):
        title += f", {_printable(channel)[:40]}"
        r2 = report.get("r2")
        value = r2.get(channel) if isinstance(r2, dict) else None
        if isinstance(value, float) and math.isfinite(value):
            title += f" (R² = {value:.4g})"
    return title


def numbers_of(report: Mapping[str, Any], key: str, count: int) -> list[float] | None:
    """Return a report's list of `count` finite numbers, where it has one."""
    values = _numbers(report.get(key))
    return values if len(values) == count and None not in values else None


def _numbers(values: object) -> list[Any]:
    """Return a list of numbers with None for what is not finite; empty where it is no such list."""
    if not isinstance(values, list):
        return []
    found: list[Any] = []
    for value in values:
        if value is not None and not isinstance(value, int | float):
            return []
        try:
            number = math.nan if value is None else float(value)
        except OverflowError:  # an integer of hundreds of digits
            number = math.nan
        found.append(number if math.isfinite(number) else None)
    return found


def _class_counts(report: Mapping[str, Any]) -> list[float] | None:
    """Return how many negatives and positives the threshold was calibrated on, where a matrix has them."""
    confusion = report.get("confusion")
    if not isinstance(confusion, dict) or not confusion:
        return None
    channel = report.get("threshold_calibrated_on")
    matrix = confusion.get(channel) if isinstance(channel, str) else None
    matrix = matrix or next(iter(confusion.values()))
    rows = [_numbers(row) for row in matrix] if _is_matrix(matrix) else []
    if len(rows) != 2 or any(len(row) != 2 or None in row for row in rows):
        return None
    return [sum(row) for row in rows]


def _is_matrix(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(row, list) and len(row) == len(value) for row in value)


def _grids(
    confusion: object, classes: Sequence[str] | None
) -> list[tuple[str, list[tuple[str, list[tuple[str, int]]]]]]:
    """Return (channel, rows) of each confusion matrix [actual][predicted]: per row its class, texts and shades.

    A shade is the share of its row, from 0 to `_SHADES`.
    """
    found = []
    for channel, matrix in confusion.items() if isinstance(confusion, dict) else ():
        if not _is_matrix(matrix) or not 0 < len(matrix) <= _MOST_ROWS:
            continue
        rows = []
        for label, row in enumerate(matrix):
            counts = [value or 0.0 for value in _numbers(row)] or [0.0] * len(row)
            total = sum(map(abs, counts)) or 1.0
            shades = [min(_SHADES, math.ceil(_SHADES * abs(count) / total)) for count in counts]
            title = classes[label] if classes is not None and len(classes) == len(matrix) else str(label)
            rows.append((_printable(title), list(zip(map(_count, row), shades, strict=True))))
        found.append((_printable(channel), rows))
    return found


def _count(value: object) -> str:
    """Return a count as a text; whole numbers without a point."""
    return (
        str(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else _text(value)
    )


def _pairs(mapping: object) -> list[tuple[str, str]]:
    return [(_printable(key), _text(value)) for key, value in mapping.items()] if isinstance(mapping, dict) else []


def _rows(value: object) -> list[list[str]]:
    """Return a value of unknown shape as a small table; nothing for long rows of numbers, which curves show."""
    if isinstance(value, dict):
        return [[_printable(key), _text(item)] for key, item in list(value.items())[:_MOST_ROWS]]
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        header: Sequence[str] = list(value[0])
        body = [[_text(row.get(key)) for key in header] for row in value[:_MOST_ROWS]]
        return [[_printable(key) for key in header], *body]
    return []


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int):
        return str(value) if abs(value) < 10**15 else "a very large number"
    return _printable(value)[:200]


def _printable(value: object) -> str:
    """Return a text that can be written as UTF-8, which half of a surrogate pair cannot."""
    return str(value).encode("utf-8", "replace").decode()
