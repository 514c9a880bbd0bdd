#!/usr/bin/env bash
# Drive the image from outside: the contract as a process and in containers, faults, hosts, and the SageMaker SDKs.
#   run_image_tests.sh [PYTHON]     PYTHON: an interpreter with this project's `dev` extra (default .venv/bin/python)
# EIGENLEARN_IMAGE names the image (default eigenlearn); build it first: `make image`.
# EIGENLEARN_SDKS names the folder of the SDKs' environments (default build/); without a network they are left out.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${1:-.venv/bin/python}
export EIGENLEARN_IMAGE=${EIGENLEARN_IMAGE:-eigenlearn} EIGENLEARN_SDKS=${EIGENLEARN_SDKS:-$PWD/build}
# A client that is newer than its engine, first on PATH, is the most frequent reason for odd failures.
docker version --format 'Docker engine {{.Server.Version}}, client {{.Client.Version}}'
docker image inspect --format "$EIGENLEARN_IMAGE: {{.Size}} bytes" "$EIGENLEARN_IMAGE"

# SDK 2 runs on Python 3.12 at most; the newest one that is here is taken.
sdk_interpreter=$("$python" - <<'PYTHON'
import shutil, subprocess, sys
candidates = [sys.executable, *(shutil.which(f"python3.{minor}") for minor in (12, 11, 10)), shutil.which("python3")]
for candidate in filter(None, candidates):
    code = "import sys, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))"
    if subprocess.run([candidate, "-c", code], capture_output=True).returncode == 0:
        print(candidate)
        break
PYTHON
)
mkdir -p "$EIGENLEARN_SDKS"
for sdk in 2 3; do
  if [ -z "$sdk_interpreter" ] || ! PYTHON=$sdk_interpreter tests/contract/make_sdk_environment.sh "$sdk" "$EIGENLEARN_SDKS/sdk$sdk"; then
    echo "SDK $sdk could not be installed here: its tests are skipped." >&2
  fi
done
exec "$python" -m pytest tests/contract -m image --durations=5
