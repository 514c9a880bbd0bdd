"""docs/first_ten_minutes.md, run as it stands: every command, and what it prints but for the numbers."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from ..ports import free_port

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "first_ten_minutes.md"
BLOCK = re.compile(r"```(python|console)\n(.*?)```(?:\n\n```text\n(.*?)```)?", re.DOTALL)


def shape(text: str) -> list[str]:
    """Lines without their numbers; coefficients in order of size may change places."""
    lines = [re.sub(r"[-+]?\d[\d,.]*(e[-+]?\d+)?( ± #)?", "#", line) for line in text.splitlines()]
    lines = [re.sub(r"# ± #", "#", re.sub(r"\s+", " ", line)).strip() for line in lines]
    return [line for line in lines if not re.fullmatch(r"[a-z_]+ #", line)]


@pytest.mark.slow
def test_every_command_prints_what_the_page_shows(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not on this machine")
    for package in ("onnx", "sklearn"):
        pytest.importorskip(package)
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "eigenline").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m eigenline "$@"\n')
    (tools / "eigenline").chmod(0o755)
    folder = tmp_path / "work"
    folder.mkdir()
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    port = str(free_port())
    servers: list[subprocess.Popen[bytes]] = []
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert len(blocks) > 8
    try:
        for kind, body, printed in blocks:
            if kind == "python":
                done = subprocess.run(
                    [sys.executable, "-W", "ignore", "-c", body],
                    cwd=folder,
                    capture_output=True,
                    text=True,
                    check=False,
                )
                assert done.returncode == 0, done.stderr
                assert done.stdout == printed
                continue
            for step in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
                line, _, expected = step.partition("\n")
                line = line.replace("8080", port)
                if line.endswith("&"):
                    command = shlex.split(line[:-1])
                    servers.append(subprocess.Popen([tools / command[0], *command[1:]], cwd=folder))
                    wait_for(port)
                    continue
                done = subprocess.run(
                    ["sh", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, check=False
                )
                assert done.returncode == 0, done.stderr
                assert shape(done.stdout + done.stderr) == shape(expected), line
    finally:
        for server in servers:
            server.terminate()
            server.wait(60)


def wait_for(port: str) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping") as answer:
                assert answer.status == 200
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the server did not come up")
