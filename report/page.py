"""The page: a subject and, where there are some, rows that measure it, as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from eigenline.report.components import components
from eigenline.report.importance import importance, models, to_copy
from eigenline.report.quality import measured, quality, scores_section
from eigenline.report.sections import Section
from eigenline.report.subject import Labelled, Subject, strongest_first
from eigenline.version import version

REPORT_FILE: Final = "report.html"
NOTHING_HELD_OUT: Final = (
    "No rows were held out, so no score is shown: on the rows that trained it would flatter. Measure the model on "
    "others: eigenline report MODEL --data FILE."
)


def render(
    subject: Subject, rows: Labelled | None = None, where: str = "", nothing: str = NOTHING_HELD_OUT
) -> str:
    """Return the page as HTML; the same bytes for the same subject and rows.

    Parameters
    ----------
    subject
        What the page is about.
    rows
        Labels and predictions of rows that did not train; None where there are none.
    where
        Which rows these are, as the sentence above the scores says it.
    nothing
        The sentence that stands there without rows.
    """
    from jinja2 import Environment

    template = Path(__file__).with_name(REPORT_FILE).read_text(encoding="utf-8")
    page = Environment(autoescape=True, trim_blocks=True).from_string(template)
    sections = list(_sections(subject, rows, where, nothing))
    return page.render(title=_title(subject), sentences=_sentences(subject), sections=sections, version=version())


def _title(subject: Subject) -> str:
    if subject.linear is None:
        assert subject.pca is not None
        return f"PCA: {len(strongest_first(subject.pca))} components of {subject.feature_dim} features"
    kind = {"regressor": "a number", "binary_classifier": "yes or no", "multiclass_classifier": "a class"}
    return f"Predicting {subject.target or kind[subject.linear.predictor_type]}"


def _sentences(subject: Subject) -> list[str]:
    report, linear = subject.report, subject.linear
    found = []
    if linear is not None:
        found.append(f"A {linear.predictor_type} of {subject.feature_dim:,} features, trained with {linear.loss}.")
    given = report.get("given")
    if isinstance(given, dict) and given:
        found.append("Trained with: " + ", ".join(f"{name}={value}" for name, value in given.items()) + ".")
    found += subject.sentences
    summary = report.get("summary")
    if isinstance(summary, list):
        found += [text for text in summary if isinstance(text, str) and text.endswith(".")]
    if not report:
        found.append("The model came without reports, as AWS writes it: only its numbers are known.")
    return found


def _sections(subject: Subject, rows: Labelled | None, where: str, nothing: str) -> Iterator[Section]:
    if subject.linear is not None:
        scores = [] if rows is None else measured(subject, rows)
        yield scores_section(rows, scores, where, nothing)
        if rows is not None:
            yield from quality(subject, rows)
        yield from importance(subject)
        yield from models(subject)
        yield to_copy(subject, scores)
    if subject.pca is not None:
        yield from components(subject)
