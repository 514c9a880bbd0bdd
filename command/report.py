"""`eigenline report`: the page about a model, measured on rows that it held out or on a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eigenline.algorithms.errors import UserError
from eigenline.command.models import OpenedModel, open_model
from eigenline.command.predictions import held_out, predicted_rows
from eigenline.command.tables.opening import open_table
from eigenline.report.page import REPORT_FILE, render


def write_report(place: str, data: Sequence[str], output: str | None, header: bool | None) -> str:
    """Write the page; return its path.

    Raises
    ------
    UserError
        If the model or the data are not what they should be.
    """
    opened = open_model(place)
    path = Path(output or (Path(place) / REPORT_FILE if Path(place).is_dir() else REPORT_FILE))
    page = page_of(opened, data, header)
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from None
    return str(path)


def page_of(opened: OpenedModel, data: Sequence[str] = (), header: bool | None = None) -> str:
    """Return the page as HTML."""
    if opened.linear is None:
        return render(opened.subject)
    rows = predicted_rows(opened, open_table(data, header=header)) if data else held_out(opened)
    return render(opened.subject, rows, f"on {', '.join(data)}" if data else "on rows that did not train")
