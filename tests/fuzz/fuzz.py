"""Coverage-guided fuzzing of one target: ``python -m tests.fuzz.fuzz TARGET [libFuzzer options]``.

Needs ``pip install atheris``. It starts from the seeds in ``tests/fuzz/corpus/TARGET`` and keeps what it finds
in a folder of its own, named by the last argument. A crash file belongs into the corpus once it is mended.
Example: ``python -m tests.fuzz.fuzz recordio -max_total_time=300 -rss_limit_mb=1024 /tmp/found``
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["eigenline.formats"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    name, *options = sys.argv[1:]
    folders = [option for option in options if not option.startswith("-")]
    for folder in folders:
        Path(folder).mkdir(parents=True, exist_ok=True)
    seeds = Path(__file__).parent / "corpus" / name
    atheris.Setup([sys.argv[0], *options, str(seeds)], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
