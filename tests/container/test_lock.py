"""The image's lock file: pinned, hashed, free of addresses, and true to pyproject.toml."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PLATFORMS = ["x86_64", "aarch64"]


def locked() -> list[Requirement]:
    lines = (ROOT / "image" / "requirements.lock").read_text().replace("\\\n", " ").splitlines()
    return [Requirement(line.partition(" --hash")[0].strip()) for line in lines if line[:1].isalnum()]


def test_every_requirement_is_pinned_and_hashed() -> None:
    for name in ("requirements.lock", "build.lock"):
        text = (ROOT / "image" / name).read_text().replace("\\\n", " ")
        for line in text.splitlines():
            if line[:1].isalnum():
                assert re.match(r"[a-z0-9-]+==[^ ]+ ", line), line
                assert "--hash=sha256:" in line, line
        assert "://" not in text


@pytest.mark.parametrize("machine", PLATFORMS)
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_it_satisfies_the_project_everywhere(machine: str, python: str) -> None:
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "platform_machine": machine,
        "sys_platform": "linux",
        "platform_system": "Linux",
    }
    pinned = {
        requirement.name: next(iter(requirement.specifier)).version
        for requirement in locked()
        if requirement.marker is None or Marker(str(requirement.marker)).evaluate(environment)
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for text in project["dependencies"]:
        requirement = Requirement(text)
        assert requirement.name in pinned, f"{requirement.name} is not locked: run `make lock`"
        assert pinned[requirement.name] in requirement.specifier, f"{text}: run `make lock`"
