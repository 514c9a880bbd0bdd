"""The documentation does what it says: how-tos and Python examples are run, links and file names are followed."""

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from .ports import free_port

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "tests/data/README.md"]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)(#[^)\s]*)?\)")


def blocks_of(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted((DOCS / "howto").glob("*.md")), ids=lambda page: page.stem)
def test_a_how_to_can_be_pasted(page: Path, tmp_path: Path) -> None:
    """Its `bash` blocks run as one script in an empty folder, and print each line of its `text` blocks."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    blocks = blocks_of(page)
    assert blocks
    assert {kind for kind, _ in blocks} <= {"bash", "text", "console"}
    script = "\n".join(text for kind, text in blocks if kind == "bash").replace("8080", str(free_port()))
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "EIGENLINE": str(ROOT),
        "no_proxy": "*",
    }
    environment.pop("SAGEMAKER_BASE_DIR", None)
    # A session of its own, so that a server that a failing script leaves behind can be ended.
    with (tmp_path.parent / f"{page.stem}.out").open("w+") as output:
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=tmp_path,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        code = process.wait()
        if code:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        output.seek(0)
        printed = output.read()
    assert code == 0, printed[-3000:]
    for kind, text in blocks:
        for line in text.splitlines() if kind == "text" else ():
            assert line.strip() in printed, f"{line!r} is not in:\n{printed[-3000:]}"


def test_every_link_leads_to_a_file() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        for target, _ in LINK.findall(page.read_text())
        if not (page.parent / target).exists()
    ]
    assert not broken


def test_every_page_is_reached_from_the_index() -> None:
    reached = {DOCS / "index.md"}
    while True:
        targets = {
            (page.parent / link).resolve() for page in reached for link, _ in LINK.findall(page.read_text())
        }
        new = {target for target in targets if target.suffix == ".md" and target.is_relative_to(DOCS)} - reached
        if not new:
            break
        reached |= new
    assert set(DOCS.rglob("*.md")) == reached


def test_what_the_map_names_is_there() -> None:
    """Every file and folder in backquotes on the map, and in CONTRIBUTING, exists."""
    for page in (DOCS / "architecture.md", ROOT / "CONTRIBUTING.md"):
        names = re.findall(r"`(\w[\w./-]*/[\w./*-]*|[\w-]+\.py)`", page.read_text())
        missing = [name for name in names if not list(ROOT.glob(name if "/" in name else f"**/{name}"))]
        assert names
        assert not missing, f"{page.name} names {missing}"


@pytest.mark.slow
def test_the_examples_of_the_python_page_run(tmp_path: Path) -> None:
    program = "\n".join(text for kind, text in blocks_of(DOCS / "python.md") if kind == "python")
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
