"""`eigenline report`: one page about a model, with held-out scores, pictures and a table to copy."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.errors import UserError
from eigenline.command.models import OpenedModel, open_model
from eigenline.command.predictions import Labelled, held_out, measured, predicted_rows
from eigenline.command.scores import Score, roc_auc
from eigenline.command.tables.opening import open_table
from eigenline.version import version

_MOST_ROWS: Final = 40
_MOST_CLASSES: Final = 30
_BINS: Final = 10
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Picture:
    """An inline SVG and what it shows."""

    svg: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A part of the page: sentences, pictures, a table, a text to copy."""

    heading: str
    sentences: Sequence[str] = ()
    figures: Sequence[Picture] = ()
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = field(default_factory=tuple)
    copy: str = ""


def write_report(place: str, data: Sequence[str], output: str | None, header: bool | None) -> str:
    """Write the page; return its path.

    Raises
    ------
    UserError
        If the model or the data are not what they should be, or matplotlib is missing.
    """
    opened = open_model(place)
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise UserError("Pictures are drawn by matplotlib: pip install 'eigenline[report]'.") from None
    path = Path(output or (Path(place) / "report.html" if Path(place).is_dir() else "report.html"))
    page = render(opened, data, header)
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from None
    return str(path)


def render(opened: OpenedModel, data: Sequence[str] = (), header: bool | None = None) -> str:
    """Return the page as HTML."""
    from jinja2 import Environment

    template = Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    page = Environment(autoescape=True, trim_blocks=True).from_string(template)
    sections = list(_sections(opened, data, header))
    return page.render(title=_title(opened), sentences=_sentences(opened), sections=sections, version=version())


def _title(opened: OpenedModel) -> str:
    if opened.linear is None:
        return f"PCA: {len(opened.strongest_first)} components of {opened.feature_dim} features"
    kind = {"regressor": "a number", "binary_classifier": "yes or no", "multiclass_classifier": "a class"}
    target = opened.preparation.target
    return f"Predicting {target or kind[opened.linear.predictor_type]}"


def _sentences(opened: OpenedModel) -> list[str]:
    report, linear = opened.report, opened.linear
    found = []
    if linear is not None:
        found.append(f"A {linear.predictor_type} of {opened.feature_dim:,} features, trained with {linear.loss}.")
    given = report.get("given")
    if isinstance(given, dict) and given:
        found.append("Trained with: " + ", ".join(f"{name}={value}" for name, value in given.items()) + ".")
    preparation = opened.preparation
    filled = [column.name for column in preparation.inputs if column.fill is not None]
    spread = [column.name for column in preparation.inputs if column.categories is not None]
    if filled:
        found.append(f"Empty cells are filled with the column's mean ({len(filled)} columns).")
    if spread:
        found.append(f"Texts became categories: {', '.join(spread[:8])}{', ...' if len(spread) > 8 else ''}.")
    summary = report.get("summary")
    if isinstance(summary, list):
        found += [text for text in summary if isinstance(text, str) and text.endswith(".")]
    if not report:
        found.append("The model came without reports, as AWS writes it: only its numbers are known.")
    return found


def _sections(opened: OpenedModel, data: Sequence[str], header: bool | None) -> Iterator[Section]:
    if opened.linear is not None:
        rows = predicted_rows(opened, open_table(data, header=header)) if data else held_out(opened)
        where = f"on {', '.join(data)}" if data else "on rows that did not train"
        scores = [] if rows is None else measured(opened, rows)
        yield _scores(rows, scores, where)
        if rows is not None:
            yield from _quality(opened, rows)
        yield from _importance(opened)
        yield from _models(opened)
        yield _copy(opened, scores)
    if opened.pca is not None:
        yield from _pca(opened)


def _scores(rows: Labelled | None, scores: Sequence[Score], where: str) -> Section:
    if rows is None:
        text = (
            "No rows were held out, so no score is shown: on the rows that trained it would flatter. Measure "
            "the model "
            "on others: eigenline report MODEL --data FILE."
        )
        return Section("How good it is", [text])
    table = [(score.name, f"{score.value:.4g}", _spread(score), score.better) for score in scores]
    text = f"Measured {where}, {len(rows.labels):,} of them. ± is one standard error, over bootstrap resamples."
    return Section("How good it is", [text], header=("score", "value", "±", "better is"), rows=table)


def _spread(score: Score) -> str:
    return f"{score.spread:.2g}" if score.spread > 0 else ""


def _quality(opened: OpenedModel, rows: Labelled) -> Iterator[Section]:
    linear = opened.linear
    assert linear is not None
    if linear.predictor_type == "regressor":
        yield _residuals(opened, rows)
    elif linear.predictor_type == "binary_classifier":
        yield from _binary(opened, rows)
    else:
        yield _multiclass(opened, rows)


def _residuals(opened: OpenedModel, rows: Labelled) -> Section:
    from eigenline.command import figures

    predicted, true = rows.scores[:, 0], rows.labels
    name = opened.preparation.target or "label"
    drawn = [
        Picture(figures.scatter(predicted, true, f"predicted {name}", f"true {name}", "diagonal"),
                "Predicted and true values; a perfect model has every point on the dashed line."),
        Picture(figures.scatter(predicted, true - predicted, f"predicted {name}", "residual", "zero"),
                "Residuals (true less predicted): a bend or a funnel is what a linear model cannot follow."),
        Picture(figures.histogram(true - predicted, "residual"), "How often residuals of a size occur."),
    ]  # fmt: skip
    levels = (0.05, 0.25, 0.5, 0.75, 0.95)
    residuals = np.quantile(true - predicted, levels)
    table = [(f"{level:.0%}", f"{value:.5g}") for level, value in zip(levels, residuals, strict=True)]
    return Section("Where it errs", (), drawn, ("share of rows", "residual at most"), table)


def _binary(opened: OpenedModel, rows: Labelled) -> Iterator[Section]:
    from eigenline.command import figures

    linear = opened.linear
    assert linear is not None
    score, true = rows.scores[:, 0], rows.labels == 1
    called = score.astype(np.float32) >= np.float32(linear.threshold)
    positive = opened.classes[1]
    table = np.array(
        [[(~true & ~called).sum(), (~true & called).sum()], [(true & ~called).sum(), (true & called).sum()]]
    )
    drawn = [Picture(figures.confusion(table.astype(float), opened.classes), "Rows by true and predicted class.")]
    points = threshold_points(score, true)
    drawn.append(
        Picture(
            figures.curve(
                points.false_rate, [("", points.recall)], "share of negatives called positive", "recall", True
            ),
            f"ROC curve; the area under it is {roc_auc(rows.labels, score):.4f} (0.5 is chance).",
        )
    )
    base = f"{true.mean():.3g}"
    drawn.append(
        Picture(
            figures.curve(points.recall[:-1], [("", points.precision[:-1])], "recall", "precision"),
            f"Precision and recall; calling every row {positive} has a precision of {base}.",
        )
    )
    yield Section("What it confuses", (), drawn)
    lines = [("precision", points.precision[:-1]), ("recall", points.recall[:-1]), ("F1", points.f1[:-1])]
    unit = linear.loss == "logistic"
    section = [
        Picture(
            figures.curve(points.threshold[:-1], lines, "threshold", "", mark=linear.threshold, unit=unit),
            f"What another threshold would do; the model's is {linear.threshold:.4g} (dotted).",
        )
    ]
    if unit and len(score) >= 2 * _BINS:
        predicted, observed, low, high = calibration_bins(score, true)
        section.append(
            Picture(
                figures.calibration(predicted, observed, low, high),
                "Calibration: of rows with a predicted probability, how many are positive (lines: 95 % "
                "intervals).",
            )
        )
    header = ("threshold", f"called {positive}", "of them right", "missed", "precision", "recall", "F1")
    sentences = [f"A row is called {positive} where its score is at least the threshold."]
    yield Section(
        "The threshold and its consequences", sentences, section, header, _threshold_rows(points, linear.threshold)
    )


@dataclass(frozen=True, eq=False)
class ThresholdPoints:
    """What every distinct score does as a threshold, the lowest first."""

    threshold: Floats
    true_positives: Floats
    called: Floats
    positives: int
    negatives: int

    @property
    def recall(self) -> Floats:
        """Share of the positives that are called so."""
        return self.true_positives / max(self.positives, 1)

    @property
    def precision(self) -> Floats:
        """Share of the called that are positive."""
        return self.true_positives / np.maximum(self.called, 1)

    @property
    def false_rate(self) -> Floats:
        """Share of the negatives that are called positive."""
        return (self.called - self.true_positives) / max(self.negatives, 1)

    @property
    def f1(self) -> Floats:
        """Harmonic mean of precision and recall."""
        return 2 * self.true_positives / np.maximum(self.positives + self.called, 1)


def threshold_points(score: Floats, true: NDArray[np.bool_]) -> ThresholdPoints:
    """Count, for at most 500 thresholds, how many rows are called positive and how many of them are."""
    from eigenline.command.figures import thinned

    order = np.argsort(score, kind="stable")
    ordered, hits = score[order], true[order].astype(np.float64)
    first = np.flatnonzero(np.concatenate([[True], np.diff(ordered) > 0]))
    total = hits.sum()
    before = np.concatenate([[0.0], np.cumsum(hits)])
    chosen = first[thinned(len(first), 500)]
    thresholds = np.concatenate([ordered[chosen], [np.nextafter(ordered[-1], np.inf)]])
    true_positives = np.concatenate([total - before[chosen], [0.0]])
    called = np.concatenate([len(score) - chosen, [0]]).astype(np.float64)
    return ThresholdPoints(thresholds, true_positives, called, int(total), int(len(score) - total))


def _threshold_rows(points: ThresholdPoints, own: float) -> list[tuple[str, ...]]:
    levels = np.quantile(points.threshold[:-1], [0.05, 0.25, 0.5, 0.75, 0.95])
    rows: list[tuple[str, ...]] = []
    for level in sorted({*levels.tolist(), own}):
        place = min(int(np.searchsorted(points.threshold, level)), len(points.threshold) - 1)
        hit, called = points.true_positives[place], points.called[place]
        marked = " (the model's)" if level == own else ""
        rows.append(
            (f"{level:.4g}{marked}", f"{called:,.0f}", f"{hit:,.0f}", f"{points.positives - hit:,.0f}",
             f"{points.precision[place]:.3f}", f"{points.recall[place]:.3f}", f"{points.f1[place]:.3f}")
        )  # fmt: skip
    return rows


def calibration_bins(score: Floats, true: NDArray[np.bool_]) -> tuple[Floats, Floats, Floats, Floats]:
    """Return mean prediction, observed share and its 95 % interval of ten groups of equally many rows.

    The interval is Wilson's (1927).
    """
    groups = np.array_split(np.argsort(score, kind="stable"), _BINS)
    predicted = np.array([score[group].mean() for group in groups])
    share = np.array([true[group].mean() for group in groups])
    count, z = np.array([len(group) for group in groups]), 1.96
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return predicted, share, centre - half, centre + half


def _multiclass(opened: OpenedModel, rows: Labelled) -> Section:
    from eigenline.command import figures

    classes = opened.classes
    labels, called = rows.labels.astype(np.intp), rows.scores.argmax(axis=1)
    table = np.zeros((len(classes), len(classes)))
    np.add.at(table, (labels, called), 1)
    drawn = []
    if len(classes) <= _MOST_CLASSES:
        drawn.append(Picture(figures.confusion(table, classes), "Rows by true and predicted class."))
    if len(labels) >= 2 * _BINS:
        predicted, observed, low, high = calibration_bins(rows.scores.max(axis=1), labels == called)
        drawn.append(
            Picture(
                figures.calibration(predicted, observed, low, high),
                "Calibration of the class with the highest score: how often it is right (lines: 95 % intervals).",
            )
        )
    hits = np.diag(table)
    precision, recall = hits / np.maximum(table.sum(axis=0), 1), hits / np.maximum(table.sum(axis=1), 1)
    body = [
        (name, f"{table[k].sum():,.0f}", f"{precision[k]:.3f}", f"{recall[k]:.3f}")
        for k, name in enumerate(classes[:_MOST_ROWS])
    ]
    return Section("What it confuses", (), drawn, ("class", "rows", "precision", "recall"), body)


def _importance(opened: OpenedModel) -> Iterator[Section]:
    """Yield coefficients in raw and standardised units, with standard errors where training left them."""
    from eigenline.command import figures

    coefficients = _table(opened.files.get("coefficients.csv"))
    errors = _table(opened.files.get("standard_errors.csv"))
    linear = opened.linear
    assert linear is not None
    if not coefficients or "coefficient" not in "".join(coefficients[0]):
        yield from _bare_coefficients(opened)
        return
    header, *lines = coefficients
    names = [row[0] for row in lines if row[0] != "(intercept)"]
    outputs = [""] if linear.num_outputs == 1 else [f"_class_{k}" for k in range(linear.num_outputs)]
    drawn, body = [], []
    own = {row[0]: row for row in lines}
    spread = {row[0]: row for row in errors[1:]} if errors else {}
    for number, label in enumerate(outputs[:6]):
        raw_place, place = header.index(f"coefficient{label}"), header.index(f"standardised{label}")
        values = np.array([_number(own[name][place]) for name in names])
        sizes = None
        if spread:
            sizes = np.array([_number(spread[name][errors[0].index(f"standardised{label}")]) for name in names])
        title = "" if linear.num_outputs == 1 else f" for {opened.classes[number]}"
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
            raw = f"{_number(own[names[j]][raw_place]):.6g}"
            cells = (names[j], raw, f"{values[j]:.4g}", error)
            body.append(
                cells if linear.num_outputs == 1 else (f"{names[j]}, {opened.classes[number]}", *cells[1:])
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


def _bare_coefficients(opened: OpenedModel) -> Iterator[Section]:
    """Yield an artifact's own coefficients; without the features' deviations there is no common unit."""
    from eigenline.command import figures

    linear = opened.linear
    assert linear is not None
    names = list(opened.preparation.feature_names)
    if len(names) != linear.feature_dim:
        names = [f"component_{number + 1}" for number in range(linear.feature_dim)]
    drawn = [
        Picture(
            figures.bars(
                names, linear.weights[:, k].astype(np.float64), None, "coefficient, in the feature's own unit"
            ),
            f"The {min(len(names), 20)} largest coefficients"
            + (f" for {opened.classes[k]}." if linear.num_outputs > 1 else "."),
        )
        for k in range(min(linear.num_outputs, 6))
    ]
    text = "An artifact holds no deviations of its features: coefficients in different units do not compare."
    yield Section("What matters", [text], drawn)


def _models(opened: OpenedModel) -> Iterator[Section]:
    from eigenline.command import figures

    table = _table(opened.files.get("models.csv"))
    if len(table) < 3:
        return
    header, *lines = table
    places = {name: header.index(name) for name in ("wd", "selection_loss", "outcome", "stage") if name in header}
    if len(places) < 4:
        return
    lines = [row for row in lines if math.isfinite(_number(row[places["selection_loss"]]))]
    if not lines:
        return
    losses = np.array([_number(row[places["selection_loss"]]) for row in lines])
    strengths = np.array([_number(row[places["wd"]]) for row in lines])
    chosen = next((place for place, row in enumerate(lines) if row[places["outcome"]] == "chosen"), None)
    stages = [row[places["stage"]] for row in lines]
    drawn = [
        Picture(figures.models(strengths, losses, chosen, stages), f"All {len(lines)} models that were trained.")
    ]
    where = opened.report.get("model_selected_on")
    sentences = [f"They were compared on {where}."] if isinstance(where, str) else []
    yield Section("The models it was chosen from", sentences, drawn)


def _copy(opened: OpenedModel, scores: Sequence[Score]) -> Section:
    lines = ["score\tvalue\tstandard error", *(f"{s.name}\t{s.value:.6g}\t{s.spread:.3g}" for s in scores), ""]
    table = _table(opened.files.get("coefficients.csv"))
    lines += ["\t".join(row) for row in table[:2000]]
    return Section("To copy into a spreadsheet", copy="\n".join(lines))


def _pca(opened: OpenedModel) -> Iterator[Section]:
    from eigenline.command import figures

    pca = opened.pca
    assert pca is not None
    order = opened.strongest_first
    components = pca.components[:, order].T.astype(np.float64)
    names = opened.preparation.feature_names
    ratios = _numbers(opened.report.get("explained_variance_ratio"), len(order))
    if ratios is not None:
        yield _variance(opened, ratios)
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
    points = _points(opened.files.get("projections.csv"))
    if points is not None and len(components) > 1:
        drawn.append(
            Picture(figures.biplot(points, components[:2].T, names), "Rows and features in the first two.")
        )
    side = math.isqrt(len(names))
    if side * side == len(names) and side >= 8:
        drawn.append(
            Picture(figures.pictures(components, side), "The components as pictures; the first is the strongest.")
        )
    else:
        for number in range(min(len(components), 4)):
            drawn.append(
                Picture(
                    figures.bars(names, components[number], None, "loading"),
                    f"Component {number + 1}: its largest loadings.",
                )
            )
    yield Section("What the components are", (), drawn)
    rows = [(name, *(f"{value:.4g}" for value in components[:6, j])) for j, name in enumerate(names[:_MOST_ROWS])]
    yield Section(
        "Loadings", (), (), ("feature", *(f"component {k + 1}" for k in range(min(6, len(components))))), rows
    )
    table = _table(opened.files.get("components.csv"))
    if table:
        yield Section("To copy into a spreadsheet", copy="\n".join("\t".join(row) for row in table[:2000]))


def _variance(opened: OpenedModel, ratios: Floats) -> Section:
    from eigenline.command import figures

    cumulative = np.cumsum(ratios)
    needed = opened.report.get("components_needed")
    sentences = []
    if isinstance(needed, dict):
        parts = [
            f"{100 * float(share):g} % need {count or f'more than {len(ratios)}'}"
            for share, count in needed.items()
        ]
        sentences.append(f"Components needed for so much of the variance: {'; '.join(parts)}.")
    drawn = [
        Picture(figures.scree(ratios, cumulative), "Each component's share of the total variance, and their sum.")
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


def _table(content: bytes | None) -> list[list[str]]:
    if content is None:
        return []
    try:
        rows = [row for row in csv.reader(io.StringIO(content.decode("utf-8", "replace"))) if row]
    except csv.Error:
        return []
    return rows if all(len(row) == len(rows[0]) for row in rows) else []


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _numbers(values: Any, count: int) -> Floats | None:
    if not isinstance(values, list) or len(values) != count:
        return None
    if not all(isinstance(value, int | float) for value in values):
        return None
    return np.array(values, np.float64)


def _points(content: bytes | None) -> Floats | None:
    rows: Iterable[list[str]] = _table(content)[1:]
    points = np.array([[_number(cell) for cell in row] for row in rows])
    return points if points.ndim == 2 and points.shape[1] == 2 and np.isfinite(points).all() else None
