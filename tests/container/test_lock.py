"""The image's lock file: pinned, hashed, free of addresses, and true to pyproject.toml."""

import re
import subprocess
import sys
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


def download(folder: Path, machine: str, *wanted: str) -> "subprocess.CompletedProcess[str]":
    """Fetch wheels, never source, that the image's Python 3.12 can install on a machine of another kind."""
    platforms = [f"--platform=manylinux_2_{minor}_{machine}" for minor in (17, 27, 28)]
    return subprocess.run(
        [
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
            "--only-binary=:all:", "--python-version=3.12", *platforms, f"--platform=manylinux2014_{machine}",
            f"--dest={folder}", *wanted,
        ],
        cwd=ROOT / "image", capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("machine", PLATFORMS)
def test_every_wheel_exists_with_its_hash(machine: str, tmp_path: Path) -> None:
    """For amd64 and for arm64, whatever this machine is: the Dockerfile builds from these and nothing else."""
    done = download(tmp_path, machine, "--require-hashes", "--requirement=requirements.lock")
    if done.returncode and download(tmp_path, machine, "blinker").returncode:
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr
    wheels = {path.name.partition("-")[0].lower() for path in tmp_path.glob("*.whl")}
    assert wheels == {requirement.name.replace("-", "_") for requirement in locked()}
    assert any(path.name.endswith(f"{machine}.whl") for path in tmp_path.glob("numpy-*"))
