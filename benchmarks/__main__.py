"""Run benchmarks by topic: ``python -m benchmarks`` for all, ``python -m benchmarks pca csv`` for some."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main() -> int:
    """Run each topic in a process of its own, so that none measures what another left in memory."""
    modules = sorted(path.stem for path in Path(__file__).parent.glob("bench_*.py"))
    wanted = sys.argv[1:]
    unknown = [topic for topic in wanted if not any(topic in module for module in modules)]
    if unknown:
        topics = ", ".join(module.removeprefix("bench_") for module in modules)
        print(f"There is no benchmark {', '.join(unknown)}; there are: {topics}", file=sys.stderr)
        return 2
    codes = []
    for module in modules:
        if not wanted or any(topic in module for topic in wanted):
            print(f"\n## {module.removeprefix('bench_').replace('_', ' ')}", flush=True)
            codes.append(subprocess.run([sys.executable, "-m", f"benchmarks.{module}"], check=False).returncode)
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
