"""The version of this package, also where it runs from a checkout that was never installed."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path


def version() -> str:
    """Return the installed distribution's version, or the one that the checkout's pyproject.toml names."""
    try:
        return metadata.version("eigenline")
    except metadata.PackageNotFoundError:
        project = Path(__file__).parent.parent / "pyproject.toml"  # beside the package only in a checkout
        found = re.search(r'^version = "(.+)"$', project.read_text(), re.MULTILINE) if project.is_file() else None
        return found[1] if found else "unknown"
