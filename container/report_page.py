"""``report.html`` of a job: the page about its model, beside the model and in ``output/data``.

It is written when the model is complete, and nothing that goes wrong with it is more than a warning.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import numpy as np

from eigenline.algorithms.batch import Batch
from eigenline.algorithms.linear_learner.model import LinearLearnerModel
from eigenline.algorithms.pca.model import PCAModel
from eigenline.container.columns import Columns
from eigenline.container.folders import Folders
from eigenline.container.job import MeasuredRows, Outcome
from eigenline.container.job_log import JobLog
from eigenline.container.model_folder import write_together
from eigenline.report.subject import Labelled, Subject, class_names

SWITCH: Final = "WRITE_REPORT"  # environment variable: `no` leaves the page away
_NO: Final = frozenset({"0", "no", "off", "false"})
MOST_ROWS: Final = 20_000
_MOST_VALUES: Final = 2_000_000
_WHERE: Final = {
    "test": "on the test channel",
    "validation": "on the validation channel, which also chose the model and its threshold",
}
_NOTHING: Final = (
    "Only the train channel was given, so no score is shown: on the rows that trained it would flatter. What the "
    "models were compared by stands above. A test channel is measured here, or a file: eigenline report MODEL "
    "--data FILE."
)


class KeptPredictions:
    """Batches of a channel that is being scored; the first rows' labels and scores are kept for the pictures.

    Parameters
    ----------
    batches
        With labels.
    model
        Whose scores they are.
    """

    def __init__(self, batches: Iterable[Batch], model: LinearLearnerModel) -> None:
        self._batches, self._model = batches, model
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []
        self._room = min(MOST_ROWS, _MOST_VALUES // model.num_outputs)

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._batches:
            if self._room > 0:
                some = batch.rows(0, self._room)
                assert some.labels is not None
                scores = self._model.predict(some.features).score.astype(np.float64)
                self._parts.append((some.labels.astype(np.float64), scores.reshape(len(some), -1)))
                self._room -= len(some)
            yield batch

    def rows(self, channel: str) -> MeasuredRows | None:
        """Return what was kept; None where there was no record."""
        if not self._parts:
            return None
        labels, scores = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        return MeasuredRows(channel, Labelled(labels, scores))


def write_page(
    outcome: Outcome, columns: Columns, folders: Folders, log: JobLog, environment: Mapping[str, str]
) -> None:
    """Write the page about a job's model, unless the environment says no."""
    if environment.get(SWITCH, "").strip().lower() in _NO:
        return
    began = time.perf_counter()
    try:
        # Imported here: pygal and jinja2 take a tenth of a second, which a job without a page does not pay.
        from eigenline.report.page import REPORT_FILE, render

        subject = _subject(outcome, columns)
        rows = outcome.measured
        where = "" if rows is None else _WHERE[rows.channel]
        page = render(subject, None if rows is None else rows.labelled, where, _NOTHING).encode("utf-8", "replace")
        for folder in (folders.model, folders.output_data):
            write_together(folder, {REPORT_FILE: page})
    except Exception as error:
        log.warning(f"report.html was not written: {type(error).__name__}: {error}. The model is not affected.")
        return
    log.info(f"Wrote {REPORT_FILE} ({len(page):,} bytes) in {time.perf_counter() - began:.2f} seconds.")


def _subject(outcome: Outcome, columns: Columns) -> Subject:
    model = outcome.model
    pca = model if isinstance(model, PCAModel) else None
    linear = model if isinstance(model, LinearLearnerModel) else None
    names = columns.names or tuple(f"feature_{number}" for number in range(1, model.feature_dim + 1))
    classes = class_names(linear, columns.classes)
    return Subject(pca, linear, outcome.reports, names, columns.target, classes)
