"""`make mutants`: changes the code in small ways, one at a time, and lists the changes that no test notices.

    build/mutants/bin/python tests/mutants.py PYTHON [--sample 20] [--seed 0] [PIECE ...]

Cosmic Ray makes the changes, in a copy of the checkout; PYTHON, which has this project's `dev` extra, runs the
tests of the piece that was changed. A piece has thousands of changes and each takes seconds, so a sample of each
piece is drawn; `--sample 0` takes all of them.
"""

import argparse
import os
import random
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import WorkerOutcome, WorkResult

ROOT = Path(__file__).parents[1]
OPTIONS = "-x -q -p no:cacheprovider --hypothesis-profile=unshrunk -m 'not slow and not image'"
# what is changed -> the tests that should notice
PIECES = {
    "formats/recordio": "tests/formats/recordio tests/fuzz",
    "formats/csv": "tests/formats/csv tests/fuzz",
    "formats/json": "tests/formats/json tests/fuzz",
    "formats/artifact": "tests/formats/artifact tests/fuzz",
    "formats": "tests/formats",
    "serve": "tests/serve",
    "algorithms/pca": "tests/algorithms/pca",
    "algorithms/linear_learner": "tests/algorithms/linear_learner",
    "algorithms": "tests/algorithms",
}
NOT_SOURCE = (".*", "build", "dist", "demo", "*.egg-info", "__pycache__")
# `X | None` in an annotation, which nothing evaluates; and what a generator of code wrote
WITHOUT_EFFECT = "ReplaceBinaryOperator_BitOr"
GENERATED = "_pb2.py"
TIMES_AS_LONG = (
    5  # a change that makes an endless loop is noticed after so many times the tests' own time, and a minute
)

CONFIGURATION = """[cosmic-ray]
module-path = {modules}
timeout = {seconds}
excluded-modules = []
test-command = "{python} -m pytest {options} {tests}"
[cosmic-ray.distributor]
name = "local"
"""


def modules_of(piece: str) -> list[str]:
    """The files of a piece; of one with rooms of its own, those beside the rooms."""
    return sorted(
        str(path.relative_to(ROOT)) for path in (ROOT / piece).glob("*.py") if not path.match(f"*{GENERATED}")
    )


def draw(session: WorkDB, count: int, seed: int) -> None:
    """Leave a random sample of the changes to be made."""
    jobs = [item.job_id for item in session.work_items]
    without_effect = {
        item.job_id
        for item in session.work_items
        if any(WITHOUT_EFFECT in m.operator_name for m in item.mutations)
    }
    candidates = sorted(set(jobs) - without_effect)
    chosen = set(random.Random(seed).sample(candidates, min(count or len(candidates), len(candidates))))
    skipped = WorkResult(output="not drawn", worker_outcome=WorkerOutcome.SKIPPED)
    session.set_multiple_results([job for job in jobs if job not in chosen], skipped)


def run_piece(piece: str, copy: Path, python: str, count: int, seed: int) -> tuple[int, int]:
    """Print the changes of one piece that no test noticed; return how many were noticed, and how many made."""
    folder = Path(tempfile.mkdtemp(dir=copy.parent))
    configuration, database = folder / "configuration.toml", folder / "session.sqlite"
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.setdefault("MNIST_DIR", "")
    started = time.monotonic()
    tests = [python, "-m", "pytest", *shlex.split(OPTIONS), *PIECES[piece].split()]
    unchanged = subprocess.run(tests, cwd=copy, env=environment, stdout=subprocess.PIPE, text=True)
    if unchanged.returncode:
        sys.exit(f"{piece}: the tests fail before anything is changed:\n{unchanged.stdout[-2000:]}")
    seconds = TIMES_AS_LONG * (time.monotonic() - started) + 60
    configuration.write_text(
        CONFIGURATION.format(
            modules=modules_of(piece),
            seconds=seconds,
            python=python,
            options=OPTIONS,
            tests=PIECES[piece],
        )
    )
    tool = [sys.executable, "-m", "cosmic_ray.cli"]
    quiet = {"cwd": copy, "env": environment, "check": True, "stdout": subprocess.DEVNULL}
    subprocess.run([*tool, "init", configuration, database], **quiet)  # type: ignore[call-overload]
    with use_db(str(database), WorkDB.Mode.open) as session:
        draw(session, count, seed)
    started = time.monotonic()
    subprocess.run([*tool, "exec", configuration, database], **quiet)  # type: ignore[call-overload]
    with use_db(str(database), WorkDB.Mode.open) as session:
        results = {
            job: result for job, result in session.results if result.worker_outcome != WorkerOutcome.SKIPPED
        }
        survivors = [
            item for item in session.work_items if item.job_id in results and not results[item.job_id].is_killed
        ]
        noticed = len(results) - len(survivors)
        print(f"{piece}: {noticed} of {len(results)} noticed, {time.monotonic() - started:.0f} s", flush=True)
        for item in survivors:
            for mutation in item.mutations:
                operator = mutation.operator_name.removeprefix("core/")
                print(f"  {mutation.module_path}:{mutation.start_pos[0]} {mutation.definition_name}: {operator}")
                print("".join(f"    {line}\n" for line in changed_lines(results[item.job_id].diff or "")), end="")
    return noticed, len(results)


def changed_lines(diff: str) -> list[str]:
    """The lines of a diff that went and came."""
    return [line for line in diff.splitlines() if line[:1] in "+-" and not line.startswith(("+++", "---"))]


def main() -> None:
    """Run the pieces that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python")
    parser.add_argument("pieces", nargs="*", default=list(PIECES))
    parser.add_argument("--sample", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_intermixed_args()
    noticed = made = 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = Path(folder) / "checkout"
        shutil.copytree(ROOT, copy, symlinks=True, ignore=shutil.ignore_patterns(*NOT_SOURCE))
        for piece in arguments.pieces:
            found = run_piece(piece, copy, os.path.abspath(arguments.python), arguments.sample, arguments.seed)
            noticed, made = noticed + found[0], made + found[1]
    print(f"all: {noticed} of {made} noticed ({noticed / max(made, 1):.0%})")


if __name__ == "__main__":
    main()
