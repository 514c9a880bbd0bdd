"""Turn a script with `# %%` cells into a notebook and execute it: python -m examples.execute_notebook SCRIPT.

Needs nbclient and ipykernel beside whatever the script imports. The notebook goes beside the script.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

_CELL = re.compile(r"^# %%( \[markdown\])?\n", re.MULTILINE)
_PREFIX = re.compile(r"^\S+-algo-\d-\S+ +\| ?")  # docker-compose writes the container's name before each line
_NOISE = ("sagemaker.config", "Creating ", "Attaching ", "Gracefully", "Aborting")
_LOG_NOISE = (
    "#metrics",
    " ",
    "[0.",
    "<NDArray",
)  # within a container's log: bulk metrics, and arrays line by line
_MOST_LINES = 40
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def cells_of(script: str) -> list[tuple[str, str]]:
    """Split a script into (``code`` or ``markdown``, source) cells."""
    pieces = _CELL.split(script)[1:]
    cells = []
    for marker, text in zip(pieces[::2], pieces[1::2], strict=True):
        source = text.strip("\n")
        if marker:
            source = "\n".join(line.removeprefix("#").removeprefix(" ") for line in source.splitlines())
        cells.append(("markdown" if marker else "code", source))
    return cells


def notebook_of(script: str) -> dict[str, Any]:
    """Return the notebook, not yet executed, as its JSON document."""
    cells: list[dict[str, Any]] = []
    for number, (kind, source) in enumerate(cells_of(script)):
        cell: dict[str, Any] = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}, "source": source}
        cells.append(cell | ({"outputs": [], "execution_count": None} if kind == "code" else {}))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def execute(script: Path) -> Path:
    """Execute the notebook of a script in this folder, and save it beside the script."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.from_dict(notebook_of(script.read_text()))
    NotebookClient(notebook, timeout=1200).execute()
    for cell in notebook.cells:
        _tidy(cell)
    path = script.with_suffix(".ipynb")
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
    return path


def _tidy(cell: Any) -> None:
    """Keep what a reader wants: plain text without colours, of a long log its beginning and its end."""
    cell.metadata.clear()
    if cell.cell_type != "code":
        return
    said = "".join(output.text for output in cell.outputs if output.get("name") == "stdout")
    lines = []
    for line in _COLOUR.sub("", said).replace("\r", "\n").splitlines():
        logged = _PREFIX.sub("", line)
        noise = _NOISE if logged == line else _LOG_NOISE
        if logged.strip(" .") and not logged.startswith(noise):
            lines.append(logged)
    if len(lines) > _MOST_LINES:
        head, tail = lines[: _MOST_LINES // 4], lines[-_MOST_LINES * 3 // 4 :]
        lines = [*head, f"... {len(lines) - len(head) - len(tail)} more lines ...", *tail]
    pictures = [output for output in cell.outputs if output.output_type == "display_data"]
    text = {"output_type": "stream", "name": "stdout", "text": "".join(line + "\n" for line in lines)}
    cell.outputs = [*([text] if lines else []), *pictures]


if __name__ == "__main__":
    print(execute(Path(sys.argv[1])))
