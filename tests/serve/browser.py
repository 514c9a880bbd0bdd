"""A headless Chromium that speaks W3C WebDriver to us, with nothing in between."""

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ..ports import free_port


class Browser:
    """A headless Chromium, driven by the W3C WebDriver protocol."""

    def __init__(self, port: int, profile: Path) -> None:
        self._url = f"http://127.0.0.1:{port}"
        arguments = [
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *("--window-size=1200,1600", f"--user-data-dir={profile}"),
        ]
        options = {"goog:chromeOptions": {"args": arguments}, "goog:loggingPrefs": {"browser": "ALL"}}
        answer = self._post("/session", {"capabilities": {"alwaysMatch": options}})
        self._url += f"/session/{answer['sessionId']}"

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            self._url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=300) as response:
            return json.load(response)["value"]

    def narrow(self) -> None:
        """Make the window as narrow as a telephone's, or as narrow as it gets."""
        self._post("/window/rect", {"width": 400, "height": 900})

    def open(self, url: str) -> None:
        self._post("/url", {"url": url})

    def run(self, script: str) -> Any:
        return self._post("/execute/sync", {"script": script, "args": []})

    def wait_for(self, script: str, seconds: float = 300) -> None:
        deadline = time.monotonic() + seconds
        while not self.run("return " + script):
            assert time.monotonic() < deadline, f"never true in the page: {script}"
            time.sleep(0.05)

    def press_and_drag(self, points: list[tuple[int, int]]) -> None:
        moves = [{"type": "pointerMove", "duration": 30, "x": x, "y": y} for x, y in points]
        actions = [moves[0], {"type": "pointerDown", "button": 0}, *moves[1:], {"type": "pointerUp", "button": 0}]
        self._post("/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": actions}]})

    def errors(self) -> list[str]:
        return [
            entry["message"] for entry in self._post("/se/log", {"type": "browser"}) if entry["level"] == "SEVERE"
        ]

    def quit(self) -> None:
        urllib.request.urlopen(urllib.request.Request(self._url, method="DELETE"), timeout=300).close()


@contextmanager
def chromium(tmp_path: Path) -> Iterator[Browser]:
    driver = shutil.which("chromedriver")
    if driver is None or shutil.which("chromium") is None:
        pytest.skip("needs Debian's packages chromium and chromium-driver")
    port = free_port()
    process = subprocess.Popen([driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 300
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=300).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        browser = Browser(port, tmp_path / "profile")
        try:
            yield browser
        finally:
            browser.quit()
    finally:
        process.terminate()
        process.wait(30)
