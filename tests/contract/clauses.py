"""Which clause of the container contract a test shows, and in which of the four ways of running a container.

The mark is what pytest parametrises by (see conftest) and what docs/container.md is written from, so the table
there cannot name a test that does not exist.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest

WAYS: Mapping[str, str] = {"process": "process", "container": "container", "sdk2": "SDK 2", "sdk3": "SDK 3"}

# Why a clause is not shown in one of the ways.
FILES_ONLY = "local mode mounts folders: it has no Pipe or FastFile mode, and no manifests"
NO_CHECKPOINTS = "local mode has no checkpoints"
NO_SHARDS = "local mode replicates the data, whatever is asked for"
WRITES_CONFIG = "the SDK writes the configuration files itself, always all of them"
NO_OPTIONS = "this SDK passes no options to Docker"
FRESH_FOLDERS = "local mode gives every job new folders"
FIXED_PORT = "local mode always serves on port 8080 of the container"
ABOUT_THE_IMAGE = "the clause is about the image, whoever starts it"
ONLY_THE_IMAGE = dict.fromkeys(("process", "sdk2", "sdk3"), ABOUT_THE_IMAGE)
NEEDS_A_CONTAINER = "only a container can be limited so"
NEEDS_A_NETWORK = "hosts with names of their own need containers on a network"
ENDS_WITH_ITS_FIRST = "a container ends with its first process"
SAME_CONTAINER = "to the signal it is the same container; the row before shows that it arrives"
NOT_A_CALL = "the SDK makes no such call"
OTHER_TEST = "another test of this clause shows it"
IN_THE_SDKS = "the SDKs' cells run it in containers"
SDK_ONLY = "these are calls of the SDK; their effect on the container is in the other rows"

WALKTHROUGHS = "both walkthroughs, as a person writes them"


def clause(section: str, text: str, **absent: str) -> pytest.MarkDecorator:
    """Mark a test with the clause that it shows.

    Parameters
    ----------
    section
        Of the contract: one of `SECTIONS`.
    text
        The clause, as a person would say it.
    absent
        For each way in which the test does not run, why.
    """
    unknown = set(absent) - set(WAYS)
    assert not unknown, f"no such way: {unknown}"
    return pytest.mark.clause(section, text, absent)


SECTIONS = ("Start", "Configuration", "Input", "Output", "Failures", "Stop", "Hosts", "Serving", "Image")


@dataclass(frozen=True)
class ClauseTest:
    """One test of one clause."""

    section: str
    text: str
    absent: Mapping[str, str]
    file: str
    name: str

    @property
    def ways(self) -> list[str]:
        """The ways in which it runs."""
        return [way for way in WAYS if way not in self.absent]


def clause_tests() -> Iterator[ClauseTest]:
    """Yield every marked test of this folder, by section."""
    found = []
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        module = import_module(f"tests.contract.{path.stem}")
        for name, value in vars(module).items():
            marks = [mark for mark in getattr(value, "pytestmark", []) if mark.name == "clause"]
            if name.startswith("test_"):
                found += [ClauseTest(*mark.args, file=path.stem, name=name) for mark in marks]
    yield from sorted(found, key=lambda test: SECTIONS.index(test.section))
