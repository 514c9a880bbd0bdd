"""What the page shows of `report.json`: sentences, metrics, hyperparameters, tables and curves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

_OWN_PLACE: Final = {
    "algorithm",
    "hyperparameters",
    "given",
    "metrics",
    "summary",
    "feature_names",
    "threshold_curve",
}
_CURVE_LINES: Final = ("precision", "recall", "f1", "accuracy")
_MOST_ROWS: Final = 30
_SCALARS: Final = (str, int, float, bool)


def view(name: str, report: Mapping[str, Any]) -> dict[str, Any]:
    """Return a report as texts, ready for the page."""
    given = report.get("given")
    given = given if isinstance(given, dict) else {}
    summary = report.get("summary")
    rest = {key: value for key, value in report.items() if key not in _OWN_PLACE}
    facts = [[key.replace("_", " "), _text(value)] for key, value in rest.items() if isinstance(value, _SCALARS)]
    tables = [table for key, value in rest.items() for table in _tables(key, value)]
    return {
        "name": name,
        "summary": [str(sentence) for sentence in summary] if isinstance(summary, list) else [],
        "metrics": _pairs(report.get("metrics")),
        "hyperparameters": [(key, value, key in given) for key, value in _pairs(report.get("hyperparameters"))],
        "tables": [*tables, ("further facts", facts)] if facts else tables,
    }


def curves(report: Mapping[str, Any], threshold: float | None) -> list[dict[str, Any]]:
    """Return the curves that a report has, as lists of numbers between 0 and 1 over a common axis."""
    found = []
    curve = report.get("threshold_curve")
    if isinstance(curve, dict) and (x := _numbers(curve.get("threshold"))):
        lines = {name: _numbers(curve.get(name)) for name in _CURVE_LINES}
        found.append(
            {
                "title": "What another threshold would do",
                "x_title": "threshold (dashed: the one in use)",
                "x": x,
                "lines": {name: line for name, line in lines.items() if len(line) == len(x)},
                "marker": threshold if threshold is not None and x and min(x) <= threshold <= max(x) else None,
            }
        )
    ratios = _numbers(report.get("explained_variance_ratio"))
    if len(ratios) > 1:
        total, sums = 0.0, []
        for ratio in ratios:
            total += ratio or 0.0
            sums.append(min(total, 1.0))
        found.append(
            {
                "title": "Share of the variance that the strongest components explain",
                "x_title": "components",
                "x": list(range(1, len(sums) + 1)),
                "lines": {"explained variance": sums},
                "marker": None,
            }
        )
    return found


def _numbers(values: object) -> list[Any]:
    """Return a list of numbers with None for what is not finite; empty where it is no such list."""
    if not isinstance(values, list) or not all(isinstance(value, int | float | None) for value in values):
        return []
    return [None if value is None or not math.isfinite(value) else float(value) for value in values]


def _pairs(mapping: object) -> list[tuple[str, str]]:
    return [(str(key), _text(value)) for key, value in mapping.items()] if isinstance(mapping, dict) else []


def _tables(key: str, value: object) -> list[tuple[str, list[list[str]]]]:
    """Return the tables of one part of a report, with their titles."""
    title = key.replace("_", " ")
    if key == "confusion" and isinstance(value, dict):
        counts = {str(channel): _confusion(matrix) for channel, matrix in value.items()}
        if all(counts.values()):
            return [(f"{title}, {channel}", rows) for channel, rows in counts.items()]
    rows = _rows(value)
    return [(title, rows)] if rows else []


def _confusion(matrix: object) -> list[list[str]]:
    """Return counts [actual][predicted] with their classes; nothing for any other shape."""
    if not isinstance(matrix, list) or not matrix or len(matrix) > _MOST_ROWS:
        return []
    if not all(isinstance(row, list) and len(row) == len(matrix) for row in matrix):
        return []
    header = ["actual ↓ predicted →", *(str(label) for label in range(len(matrix)))]
    return [header, *([str(label), *map(_text, row)] for label, row in enumerate(matrix))]


def _rows(value: object) -> list[list[str]]:
    """Return a value of unknown shape as a small table; nothing for long rows of numbers, which curves show."""
    if isinstance(value, dict):
        return [[str(key), _text(item)] for key, item in list(value.items())[:_MOST_ROWS]]
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        header = list(value[0])
        body = [[_text(row.get(key)) for key in header] for row in value[:_MOST_ROWS]]
        return [[str(key) for key in header], *body]
    return []


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return text if len(text) <= 200 else text[:199] + "…"
