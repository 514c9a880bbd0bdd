"""The notebook of the Python door: run anywhere with the installed package alone, it prints what it shows."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from examples.execute_notebook import cells_of

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOK = json.loads((EXAMPLES / "first_model.ipynb").read_text())


def test_the_notebook_has_the_cells_of_the_script() -> None:
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in NOTEBOOK["cells"]]
    script = (EXAMPLES / "first_model.py").read_text()
    assert cells == cells_of(script), "run: python -m examples.execute_notebook examples/first_model.py"


def test_its_cells_print_what_it_shows_and_leave_nothing_behind(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    code = "\n".join("".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code")
    (tmp_path / "temporary").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "temporary")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    shown = [output for cell in NOTEBOOK["cells"] for output in cell.get("outputs", [])]
    assert done.stdout == "".join("".join(output["text"]) for output in shown)
    assert [path.name for path in tmp_path.rglob("*")] == ["temporary"]
