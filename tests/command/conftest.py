"""The command, run in a folder of its own."""

from pathlib import Path

import pytest

from tests.command.runs import Run, command


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return lambda *arguments, **options: command(*arguments, **{"folder": tmp_path, **options})
