"""The executed notebook shows what its script does: the same cells, all run, without an error, with a picture."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from examples.execute_notebook import cells_of, notebook_of

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPT = (EXAMPLES / "sagemaker_local_mode.py").read_text()
NOTEBOOK = json.loads((EXAMPLES / "sagemaker_local_mode.ipynb").read_text())


def test_the_notebook_has_the_cells_of_the_script() -> None:
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in NOTEBOOK["cells"]]
    assert cells == cells_of(SCRIPT), "run: python -m examples.execute_notebook examples/sagemaker_local_mode.py"


def test_every_cell_was_run_in_order_and_without_an_error() -> None:
    code = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert not [output for cell in code for output in cell["outputs"] if output["output_type"] == "error"]


def test_it_shows_the_confusion_matrix_and_the_eigendigits() -> None:
    outputs = [output for cell in NOTEBOOK["cells"] for output in cell.get("outputs", [])]
    assert any("is another digit" in "".join(output.get("text", "")) for output in outputs)
    assert any("image/png" in output.get("data", {}) for output in outputs)


@pytest.mark.slow
@pytest.mark.parametrize("folder", [EXAMPLES, EXAMPLES.parent], ids=["examples", "checkout"])
def test_its_first_cell_runs_where_jupyter_and_where_a_terminal_starts(
    folder: Path, sdk2_python: Path, tmp_path: Path
) -> None:
    code = next(source for kind, source in cells_of(SCRIPT) if kind == "code")
    (tmp_path / "temporary").mkdir()
    environment = {
        **os.environ,
        "MNIST_DIR": "",
        "MPLBACKEND": "agg",
        "TMPDIR": str(tmp_path / "temporary"),
        "HOME": str(tmp_path),
    }
    environment.pop("PYTHONPATH", None)
    (tmp_path / "cell.py").write_text(code)
    # as a kernel does it: the working folder is on the path, the cell's file is not
    program = "import sys; sys.path[0] = ''; exec(compile(open(sys.argv[1]).read(), 'cell', 'exec'))"
    done = subprocess.run(
        [sdk2_python, "-c", program, tmp_path / "cell.py"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "images to train on" in done.stdout
    assert not list((tmp_path / "temporary").iterdir())


def test_cells_are_split_at_their_marks() -> None:
    script = '# %% [markdown]\n# # Title\n#\n# Text.\n\n# %%\nx = 1\n\n\ndef f():\n    """Text."""\n# %%\nf()\n'
    assert cells_of(script) == [
        ("markdown", "# Title\n\nText."),
        ("code", 'x = 1\n\n\ndef f():\n    """Text."""'),
        ("code", "f()"),
    ]
    document = notebook_of(script)
    assert [cell["cell_type"] for cell in document["cells"]] == ["markdown", "code", "code"]
