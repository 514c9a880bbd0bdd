"""`eigenline inspect`: what is in a model, ours or one that AWS trained, in sentences and small tables."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from eigenline.command.models import OpenedModel, open_model

_SHOWN = 10


def inspect_model(place: str) -> list[str]:
    """Return the lines that describe a model folder or archive."""
    opened = open_model(place)
    return [*_origin(opened), *_pca(opened), *_linear(opened), *_side_files(opened)]


def _origin(opened: OpenedModel) -> Iterator[str]:
    kinds = [name for name, part in (("PCA", opened.pca), ("Linear Learner", opened.linear)) if part is not None]
    known = "trained here" if opened.report else "without reports, as AWS writes it"
    chain = " (a chain: projections are scored)" if len(kinds) > 1 else ""
    yield f"{opened.place}: {' and '.join(kinds)}{chain}, {known}."
    preparation = opened.preparation
    shown = ", ".join(preparation.feature_names[:_SHOWN])
    more = ", ..." if len(preparation.feature_names) > _SHOWN else ""
    named = f": {shown}{more}" if preparation.named else ", whose names are not known"
    yield f"A record has {opened.feature_dim:,} features{named}."
    filled = sum(column.fill is not None for column in preparation.inputs)
    spread = sum(column.categories is not None for column in preparation.inputs)
    if filled or spread:
        yield (
            f"Its files are prepared: empty cells are filled in {filled} columns, texts become categories in "
            f"{spread}."
        )


def _pca(opened: OpenedModel) -> Iterator[str]:
    if opened.pca is None:
        return
    pca, order = opened.pca, opened.strongest_first
    ascending = len(order) > 1 and order[0] == len(order) - 1
    stored = "weakest first, as algorithm_mode=regular writes them" if ascending else "strongest first"
    centred = "the mean is subtracted" if pca.mean is not None else "no mean is subtracted"
    yield f"PCA: {len(order)} components, stored {stored}; {centred}."
    values = pca.singular_values[order].astype(np.float64)
    ratios = opened.report.get("explained_variance_ratio")
    true_ratios = isinstance(ratios, list) and len(ratios) == len(order)
    kept = values**2 / max(float(np.nansum(values**2)), 1e-300)  # AWS writes NaN for directions without variance
    what = "share of the total variance" if true_ratios else "share of what the kept components explain together"
    yield f"  component  singular value  {what}"
    for number in range(min(_SHOWN, len(order))):
        share = float(ratios[number]) if true_ratios and isinstance(ratios, list) else float(kept[number])
        yield f"  {number + 1:>9}  {values[number]:>14.6g}  {share:.4%}"
    if not true_ratios:
        yield "  (The artifact does not hold the total variance, so the true shares are smaller.)"


def _linear(opened: OpenedModel) -> Iterator[str]:
    linear = opened.linear
    if linear is None:
        return
    yield f"Linear Learner: {linear.predictor_type}, trained with {linear.loss}."
    if linear.predictor_type == "binary_classifier":
        yield f"  A record is {opened.classes[1]!r} where its score is at least {linear.threshold:.6g}."
    elif opened.classes:
        yield f"  {len(opened.classes)} classes: {', '.join(opened.classes[:_SHOWN])}"
    given = {name: value for name, value in linear.parameters.items() if value is not None and name != "threshold"}
    if given:
        yield "  " + ", ".join(f"{name}={value}" for name, value in given.items() if not isinstance(value, list))
    names = opened.preparation.feature_names
    if opened.pca is not None:
        names = tuple(f"component_{number + 1}" for number in range(linear.feature_dim))
    size = np.abs(linear.weights).max(axis=1)
    largest = np.argsort(-size, kind="stable")[:_SHOWN]
    zero = int((size == 0).sum())
    yield f"  Largest of {len(size):,} coefficients, in the units of the features ({zero:,} are zero):"
    outputs = opened.classes if linear.num_outputs > 1 else ("",)
    for number in largest.tolist():
        values = " ".join(f"{value:>12.6g}" for value in linear.weights[number, :_SHOWN])
        yield f"  {names[number]:<28} {values}"
    yield f"  {'(intercept)':<28} " + " ".join(f"{value:>12.6g}" for value in linear.bias[:_SHOWN])
    if len(outputs) > 1:
        yield f"  (columns: {', '.join(outputs[:_SHOWN])})"


def _side_files(opened: OpenedModel) -> Iterator[str]:
    if opened.files:
        yield f"Beside the artifact: {', '.join(sorted(opened.files))}."
