"""mypy, and a failure when it checked fewer files than the package has: it answers "Success" for one file as well.

python -m tests.check_types [arguments of mypy]
"""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]


def package_files() -> int:
    """Count the Python files of the package, each room's through its link."""
    rooms = [path for path in (ROOT / "eigenline").iterdir() if path.is_dir() and path.name != "__pycache__"]
    return sum(1 for room in rooms for _ in room.resolve().rglob("*.py")) + len(
        [*(ROOT / "eigenline").glob("*.py")]
    )


def main(arguments: Sequence[str]) -> int:
    """Run mypy; 0 when it found nothing in as many files as there are."""
    run = subprocess.run([sys.executable, "-m", "mypy", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    print(run.stdout, end="")
    checked = re.search(r"no issues found in (\d+) source files?", run.stdout)
    if run.returncode or checked is None:
        return run.returncode or 1
    if int(checked[1]) < package_files():
        print(f"mypy checked {checked[1]} files, but the package has {package_files()}: see [tool.mypy]")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
