"""The rooms of the house and which may know which: read from the imports themselves.

The rooms are folders at the top, and `eigenline/` holds a link to each. Code that said `import algorithms` would
find the same folder under a second name: a second copy of every class, for which `isinstance` is silently false.
"""

import ast
import tomllib
from pathlib import Path

import pytest
from setuptools import find_packages

ROOT = Path(__file__).parents[1]
# room -> the rooms that it may import, through the package; everything else at the top of the package is its front
ALLOWED_ROOMS: dict[str, set[str]] = {
    "algorithms": set(),
    "formats": {"algorithms"},
    "report": {"algorithms", "formats"},
    "cluster": {"algorithms"},
    "container": {"algorithms", "formats", "report", "cluster"},
    "serve": {"algorithms", "formats"},
    "command": {"algorithms", "formats", "report", "container", "serve"},
}
PACKAGE = "eigenline"
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
FRONT = sorted((ROOT / PACKAGE).glob("*.py"))
OUTSIDE = sorted(
    path for folder in ("tests", "benchmarks", "examples", "docs") for path in (ROOT / folder).rglob("*.py")
)
# The maths and the formats start no thread and no process, and call no foreign code, unless a reason stands here.
CONCURRENCY = {"threading", "multiprocessing", "concurrent", "ctypes", "subprocess", "asyncio"}
CONCURRENCY_ALLOWED = {
    "algorithms/blas_threads.py": "blocks of a pass and parts of a product run on threads: one fills no CPU",
    "formats/json/parser.py": "the parser keeps a buffer for each thread that parses",
    "formats/csv/workers.py": "parsing holds the interpreter, so other cores are reached only by processes",
}
# Streams that the service draws from, number by number: std::mt19937 and numpy's of that time.
LEGACY_RANDOM_ALLOWED = {
    "algorithms/linear_learner/hyperparameter_grid.py",
    "algorithms/linear_learner/initial_weights.py",
}


def imported_modules(path: Path) -> list[tuple[str, int]]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 or path in OUTSIDE, f"{path}:{node.lineno}: imports are absolute here"
            found.append(("." * node.level + (node.module or ""), node.lineno))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_down_only(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    for module, line in imported_modules(path):
        top, _, rest = module.partition(".")
        other = rest.partition(".")[0]
        if top == PACKAGE and other in ALLOWED_ROOMS and other != room:
            assert other in ALLOWED_ROOMS[room], f"{path}:{line}: {room} must not know {other}"
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
            if str(path.relative_to(ROOT)) in LEGACY_RANDOM_ALLOWED:
                allowed |= {"RandomState"}  # an object of its own, seeded by us: no global state
            assert node.attr in allowed, f"{path}:{node.lineno}: numpy's global random state"


@pytest.mark.parametrize("path", FILES + FRONT + OUTSIDE, ids=lambda path: str(path.relative_to(ROOT)))
def test_rooms_are_imported_through_the_package(path: Path) -> None:
    for module, line in imported_modules(path):
        assert module.partition(".")[0] not in ALLOWED_ROOMS, f"{path}:{line}: say {PACKAGE}.{module}"


def test_every_room_is_linked_and_installed() -> None:
    links = {path.name: path.readlink() for path in (ROOT / PACKAGE).iterdir() if path.is_symlink()}
    assert links == {room: Path("..") / room for room in ALLOWED_ROOMS}
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    installed = set(find_packages(str(ROOT), include=settings["include"]))
    packages = {".".join((PACKAGE, *path.parent.relative_to(ROOT).parts)) for path in FILES}
    assert installed == packages | {PACKAGE}


@pytest.mark.parametrize("room", ["algorithms", "formats"])
def test_threads_and_processes_stay_out_of_the_maths_and_the_formats(room: str) -> None:
    found = {
        str(path.relative_to(ROOT))
        for path in (ROOT / room).rglob("*.py")
        for module, _ in imported_modules(path)
        if module.partition(".")[0] in CONCURRENCY
    }
    assert found == {name for name in CONCURRENCY_ALLOWED if name.startswith(room)}


def test_every_file_says_first_what_it_owns() -> None:
    for path in FILES + FRONT:
        if not path.name.endswith("_pb2.py"):
            assert ast.get_docstring(ast.parse(path.read_text())), (
                f"{path} has no first line that says what it owns"
            )


def test_no_room_is_a_drawer_for_everything() -> None:
    names = {"utils", "helpers", "common", "core", "base", "manager", "misc"}
    assert not [path for path in FILES if path.stem in names or path.parent.name in names]
