"""The grid of the contract in the documentation: what it claims is what pytest runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs.generate import contract_table
from tests.contract.clauses import WAYS, clause_tests

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_every_cell_is_a_test_that_pytest_collects() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests/contract"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    collected = set(re.findall(r"contract/(\w+)\.py::(\w+)(?:\[(\w+))?", done.stdout))
    names = {(file, name) for file, name, _ in collected}
    by_way = {(file, name, way) for file, name, way in collected if way in WAYS}
    for test in clause_tests():
        assert (test.file, test.name) in names
        ways = {way for file, name, way in by_way if (file, name) == (test.file, test.name)}
        if ways:  # else it has one way only, which its fixtures fix
            assert ways == set(test.ways), test.name
        else:
            assert len(test.ways) == 1, test.name


def test_every_reason_is_given_where_a_clause_is_not_shown() -> None:
    table = contract_table()
    assert "| |" not in table.partition("\n")[2]
    for test in clause_tests():
        assert all(reason.strip() for reason in test.absent.values())


@pytest.mark.slow
def test_every_test_of_the_image_says_which_clause_it_shows() -> None:
    marked = {(test.file, test.name) for test in clause_tests()}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "-m", "image", "tests"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    images = set(re.findall(r"contract/(\w+)\.py::(\w+)", done.stdout))
    assert images
    assert images <= marked
