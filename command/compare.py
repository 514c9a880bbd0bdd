"""`eigenline compare`: two models side by side: coefficients, components, metrics, response bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.errors import DataError, UserError
from eigenline.command.models import OpenedModel, open_model
from eigenline.command.predictions import predicted_rows
from eigenline.command.tables.chunk import Table
from eigenline.command.tables.opening import open_table
from eigenline.formats.answers import write_answer
from eigenline.formats.content_types import JSON
from eigenline.report.quality import measured

# SageMaker's log: "#quality_metric: host=algo-1, test binary_f_1.000 <score>=0.95", and "('name', value)" lines.
_QUALITY: Final = re.compile(r"#quality_metric: host=[^,]*, (?P<channel>\w+) (?P<name>\S+) <\w+>=(?P<value>\S+)")
_TABLE: Final = "{:<34} {:>16} {:>16} {:>14}"
_LARGEST_LOG: Final = 256 << 20


def compare_models(
    first: str, second: str, data: Sequence[str], log: str | None, header: bool | None
) -> Iterator[str]:
    """Yield the lines of the comparison.

    Raises
    ------
    UserError
        If the two are of different kinds or sizes, or a file cannot be read.
    """
    one, two = open_model(first), open_model(second)
    if (one.pca is None, one.linear is None) != (two.pca is None, two.linear is None):
        raise DataError(
            f"{first} and {second} are of different kinds: one is a PCA and the other a Linear Learner."
        )
    if one.feature_dim != two.feature_dim:
        raise DataError(
            f"{first} takes {one.feature_dim} features and {second} {two.feature_dim}: they do not compare."
        )
    yield _TABLE.format("", _short(first), _short(second), "difference")
    if one.pca is not None:
        yield from _components(one, two)
    if one.linear is not None:
        yield from _coefficients(one, two)
    if log is not None:
        yield from _logged(log, two)
    if data:
        yield from _predictions(one, two, data, header)


def _short(place: str) -> str:
    name = Path(place).name or place
    return name if len(name) <= 16 else f"…{name[-15:]}"


def _row(name: str, one: float, two: float) -> str:
    return _TABLE.format(name, f"{one:.8g}", f"{two:.8g}", f"{two - one:.3g}")


def _components(one: OpenedModel, two: OpenedModel) -> Iterator[str]:
    a, b = (model.pca for model in (one, two))
    assert a is not None
    assert b is not None
    first, second = a.components[:, one.strongest_first], b.components[:, two.strongest_first]
    count = min(first.shape[1], second.shape[1])
    yield _row("components", first.shape[1], second.shape[1])
    values = [
        model.singular_values[order].astype(float)
        for model, order in ((a, one.strongest_first), (b, two.strongest_first))
    ]
    first, second = first.astype(np.float64), second.astype(np.float64)
    for number in range(min(count, 10)):
        yield _row(f"singular value {number + 1}", values[0][number], values[1][number])
    cosines = np.abs(np.einsum("dk,dk->k", first[:, :count], second[:, :count]))
    least = int(cosines.argmin())
    yield f"Components up to sign: the smallest |cosine| of a pair is {cosines[least]:.9f} (pair {least + 1})."
    angles = np.linalg.svd(first[:, :count].T @ second[:, :count], compute_uv=False)
    smallest = min(float(angles.min()), 1.0)
    yield f"The spaces that the first {count} span: the smallest cosine of a principal angle is {smallest:.9f}."
    means = [np.zeros(one.feature_dim) if model.mean is None else model.mean.astype(float) for model in (a, b)]
    yield f"Means: the largest difference is {np.abs(means[0] - means[1]).max():.3g}."


def _coefficients(one: OpenedModel, two: OpenedModel) -> Iterator[str]:
    a, b = (model.linear for model in (one, two))
    assert a is not None
    assert b is not None
    if a.predictor_type != b.predictor_type or a.num_outputs != b.num_outputs:
        raise DataError(
            f"One is a {a.predictor_type} of {a.num_outputs} outputs, the other a {b.predictor_type} of "
            f"{b.num_outputs}: they do not compare."
        )
    if a.loss != b.loss:
        yield f"They were trained with different losses: {a.loss} and {b.loss}."
    if a.predictor_type == "binary_classifier":
        yield _row("threshold", a.threshold, b.threshold)
    for number in range(min(a.num_outputs, 10)):
        label = f" of {one.classes[number]}" if a.num_outputs > 1 else ""
        yield _row(f"intercept{label}", float(a.bias[number]), float(b.bias[number]))
    first, second = a.weights.astype(np.float64), b.weights.astype(np.float64)
    yield _row("length of the coefficients", float(np.linalg.norm(first)), float(np.linalg.norm(second)))
    apart = np.abs(first - second)
    place = int(apart.max(axis=1).argmax())
    name = one.preparation.feature_names[place] if one.pca is None else f"component {place + 1}"
    yield (
        f"Coefficients: the largest difference is {apart.max():.3g}, at {name}; the cosine of their directions is "
        + (f"{_cosine(first, second):.9f}.")
    )


def _cosine(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float((first * second).sum() / lengths) if lengths else float("nan")


def _logged(log: str, two: OpenedModel) -> Iterator[str]:
    """Yield the metrics of a job's log beside those in the second model's report."""
    path = Path(log)
    try:
        if path.stat().st_size > _LARGEST_LOG:
            raise UserError(f"{log} is larger than {_LARGEST_LOG >> 20} MB: is it a log?")
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"{log} cannot be read: {error.strerror}.") from None
    found: dict[str, float] = {}
    for match in _QUALITY.finditer(text):
        try:
            found[f"{match['channel']}:{match['name']}"] = float(match["value"])
        except ValueError:
            continue
    if not found:
        raise UserError(f"{log} holds no #quality_metric line: is it the log of a SageMaker job?")
    metrics: Any = two.report.get("metrics")
    known: Mapping[str, Any] = metrics if isinstance(metrics, dict) else {}
    yield f"Metrics of {log}, beside those in the second model's report:"
    for name, value in found.items():
        own = known.get(name)
        if isinstance(own, int | float):
            yield _row(name, value, float(own))
        else:
            yield _TABLE.format(name, f"{value:.8g}", "-", "")


def _predictions(one: OpenedModel, two: OpenedModel, data: Sequence[str], header: bool | None) -> Iterator[str]:
    scores: list[NDArray[np.float32]] = []
    labels = []
    answers = []
    for model in (one, two):
        found = _predicted(model, open_table(data, header=header))
        scores.append(found[0])
        labels.append(found[1])
        answers.append(_response(*found))
    first, second = (values.astype(np.float64) for values in scores)
    if one.linear is None:  # the sign of a component is anybody's choice
        count = min(first.shape[1], second.shape[1])
        first, second = first[:, :count], second[:, :count]
        second = second * np.where(np.einsum("nk,nk->k", first, second) < 0, -1, 1)
    apart = float(np.abs(first - second).max())
    yield f"On {len(first):,} rows of {', '.join(data)}: scores differ by at most {apart:.3g}."
    if labels[0] is not None and labels[1] is not None:
        same = int((labels[0] == labels[1]).sum())
        yield f"The predicted label is the same for {same:,} of {len(first):,} rows."
    same_bytes = answers[0] == answers[1]
    yield "The JSON responses are the same bytes." if same_bytes else "The JSON responses differ in their bytes."
    if one.linear is not None:
        yield from _metrics(one, two, data, header)


def _predicted(opened: OpenedModel, table: Table) -> tuple[NDArray[np.float32], NDArray[np.intp] | None]:
    preparation = opened.preparation
    positions = preparation.positions(table) if table.names is not None else _without_label(opened, table)
    parts = [opened.predict(preparation.features(chunk, positions)) for chunk in table.chunks()]
    labels = [label for _, label in parts if label is not None]
    return np.concatenate([score for score, _ in parts]), np.concatenate(labels) if labels else None


def _without_label(opened: OpenedModel, table: Table) -> list[int]:
    """Return the features' columns of a file without names: AWS's training files have the label first."""
    if not opened.preparation.named and table.width == opened.feature_dim + 1:
        return list(range(1, table.width))
    return opened.preparation.positions(table)


def _response(scores: NDArray[np.float32], labels: NDArray[np.intp] | None) -> bytes:
    columns: dict[str, NDArray[Any]] = {"score": scores[:, 0] if scores.shape[1] == 1 else scores}
    if labels is not None:
        columns["predicted_label"] = labels.astype(np.float32)
    return write_answer(columns, envelope="predictions", media_type=JSON)


def _metrics(one: OpenedModel, two: OpenedModel, data: Sequence[str], header: bool | None) -> Iterator[str]:
    try:
        rows = predicted_rows(two, open_table(data, header=header))
    except DataError:
        return  # no label in the file: nothing to measure
    scores, _ = _predicted(one, open_table(data, header=header))
    other = type(rows)(rows.labels, scores.astype(np.float64))
    for a, b in zip(measured(one.subject, other), measured(two.subject, rows), strict=True):
        yield _row(a.name, a.value, b.value)
