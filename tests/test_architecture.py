"""The rooms of the house and which may know which: read from the imports themselves."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED_ROOMS = {
    "algorithms": set(),
    "formats": {"algorithms"},
    "machine": set(),
    "container": {"algorithms", "formats", "machine"},
    "serve": {"algorithms", "formats", "machine"},
}
# The maths knows no files, network, environment, clock or log.
FORBIDDEN_IN_ALGORITHMS = {
    "os",
    "io",
    "pathlib",
    "json",
    "logging",
    "time",
    "datetime",
    "socket",
    "subprocess",
    "random",
    "sys",
}
FILES = sorted(path for room in ALLOWED_ROOMS for path in (ROOT / room).rglob("*.py"))


def imported_modules(path: Path) -> list[tuple[str, int]]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            found.append((node.module or "", node.lineno))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_down_only(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    for module, line in imported_modules(path):
        top = module.partition(".")[0]
        if top in ALLOWED_ROOMS and top != room:
            assert top in ALLOWED_ROOMS[room], f"{path}:{line}: {room} must not know {top}"
        if room == "algorithms":
            assert top not in FORBIDDEN_IN_ALGORITHMS, f"{path}:{line}: the maths must not import {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_pickle_no_eval_no_global_random_state(path: Path) -> None:
    tree = ast.parse(path.read_text())
    for module, line in imported_modules(path):
        assert module.partition(".")[0] not in {"pickle", "marshal", "shelve"}, f"{path}:{line}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"eval", "exec"}, f"{path}:{node.lineno}"
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Attribute)
            and node.value.attr == "random"
        ):
            allowed = {"Generator", "default_rng", "SeedSequence", "PCG64"}
            assert node.attr in allowed, f"{path}:{node.lineno}: numpy's global random state"


def test_every_file_says_first_what_it_owns() -> None:
    for path in FILES:
        if not path.name.endswith("_pb2.py"):
            assert ast.get_docstring(ast.parse(path.read_text())), (
                f"{path} has no first line that says what it owns"
            )


def test_no_room_is_a_drawer_for_everything() -> None:
    names = {"utils", "helpers", "common", "core", "base", "manager", "misc"}
    assert not [path for path in FILES if path.stem in names or path.parent.name in names]
