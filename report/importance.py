"""What matters to a Linear Learner: coefficients with their standard errors, and the models it was chosen from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from eigenline.report import figures
from eigenline.report.scores import Score
from eigenline.report.sections import Picture, Section
from eigenline.report.subject import Subject, number_in

_MOST_ROWS: Final = 40


def importance(subject: Subject) -> Iterator[Section]:
    """Yield coefficients in raw and standardised units, with standard errors where training left them."""
    coefficients = subject.table("coefficients.csv")
    errors = subject.table("standard_errors.csv")
    linear = subject.linear
    assert linear is not None
    if not coefficients or "coefficient" not in "".join(coefficients[0]):
        yield from _bare_coefficients(subject)
        return
    header, *lines = coefficients
    names = [row[0] for row in lines if row[0] != "(intercept)"]
    outputs = [""] if linear.num_outputs == 1 else [f"_class_{k}" for k in range(linear.num_outputs)]
    drawn, body = [], []
    own = {row[0]: row for row in lines}
    spread = {row[0]: row for row in errors[1:]} if errors else {}
    for number, label in enumerate(outputs[:6]):
        raw_place, place = header.index(f"coefficient{label}"), header.index(f"standardised{label}")
        values = np.array([number_in(own[name][place]) for name in names])
        sizes = None
        if spread:
            sizes = np.array([number_in(spread[name][errors[0].index(f"standardised{label}")]) for name in names])
        title = "" if linear.num_outputs == 1 else f" for {subject.classes[number]}"
        drawn.append(
            Picture(
                figures.bars(names, values, sizes, "change of the score for one standard deviation"),
                f"The {min(len(names), 20)} largest standardised coefficients{title}"
                + (" (lines: two standard errors)." if sizes is not None else "."),
            )
        )
        order = np.argsort(-np.abs(values), kind="stable")[: _MOST_ROWS // len(outputs[:6]) + 1]
        for j in order.tolist():
            error = "" if sizes is None else f"{sizes[j]:.3g}"
            raw = f"{number_in(own[names[j]][raw_place]):.6g}"
            cells = (names[j], raw, f"{values[j]:.4g}", error)
            body.append(
                cells if linear.num_outputs == 1 else (f"{names[j]}, {subject.classes[number]}", *cells[1:])
            )
    sentences = ["Raw: change of the score for one unit of the feature. Standardised: for one standard deviation."]
    if spread:
        sentences.append(
            "Standard errors are from the Hessian of the objective and the scatter of the rows' gradients (a "
            "sandwich): "
            "how much the coefficients would vary from sample to sample."
        )
    else:
        sentences.append(f"There are no standard errors for {linear.loss}, or the features are too many for them.")
    yield Section("What matters", sentences, drawn, ("feature", "raw", "standardised", "standard error"), body)


def _bare_coefficients(subject: Subject) -> Iterator[Section]:
    """Yield an artifact's own coefficients; without the features' deviations there is no common unit."""
    linear = subject.linear
    assert linear is not None
    names = list(subject.feature_names)
    if len(names) != linear.feature_dim:
        names = [f"component_{number + 1}" for number in range(linear.feature_dim)]
    drawn = [
        Picture(
            figures.bars(
                names, linear.weights[:, k].astype(np.float64), None, "coefficient, in the feature's own unit"
            ),
            f"The {min(len(names), 20)} largest coefficients"
            + (f" for {subject.classes[k]}." if linear.num_outputs > 1 else "."),
        )
        for k in range(min(linear.num_outputs, 6))
    ]
    text = "An artifact holds no deviations of its features: coefficients in different units do not compare."
    yield Section("What matters", [text], drawn)


def models(subject: Subject) -> Iterator[Section]:
    """Yield every trained model as a picture, where a job left them."""
    table = subject.table("models.csv")
    if len(table) < 3:
        return
    header, *lines = table
    places = {name: header.index(name) for name in ("wd", "selection_loss", "outcome", "stage") if name in header}
    if len(places) < 4:
        return
    lines = [row for row in lines if math.isfinite(number_in(row[places["selection_loss"]]))]
    if not lines:
        return
    losses = np.array([number_in(row[places["selection_loss"]]) for row in lines])
    strengths = np.array([number_in(row[places["wd"]]) for row in lines])
    chosen = next((place for place, row in enumerate(lines) if row[places["outcome"]] == "chosen"), None)
    stages = [row[places["stage"]] for row in lines]
    drawn = [
        Picture(figures.models(strengths, losses, chosen, stages), f"All {len(lines)} models that were trained.")
    ]
    where = subject.report.get("model_selected_on")
    sentences = [f"They were compared on {where}."] if isinstance(where, str) else []
    yield Section("The models it was chosen from", sentences, drawn)


def to_copy(subject: Subject, scores: Sequence[Score]) -> Section:
    """Return scores and coefficients as a text for a spreadsheet."""
    lines = ["score\tvalue\tstandard error", *(f"{s.name}\t{s.value:.6g}\t{s.spread:.3g}" for s in scores), ""]
    table = subject.table("coefficients.csv")
    lines += ["\t".join(row) for row in table[:2000]]
    return Section("To copy into a spreadsheet", copy="\n".join(lines))
