#!/usr/bin/env bash
# Drive the image from outside: the contract as a process and in containers, faults, hosts, and the SageMaker SDKs.
#   run_image_tests.sh [PYTHON]     PYTHON: an interpreter with this project's `dev` extra (default .venv/bin/python)
# EIGENLEARN_IMAGE names the image (default eigenlearn); build it first: `make image`. The SDKs' tests need `make tools`.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${1:-.venv/bin/python}
export EIGENLEARN_IMAGE=${EIGENLEARN_IMAGE:-eigenlearn}
# A client that is newer than its engine, first on PATH, is the most frequent reason for odd failures.
docker version --format 'Docker engine {{.Server.Version}}, client {{.Client.Version}}'
docker image inspect --format "$EIGENLEARN_IMAGE: {{.Size}} bytes" "$EIGENLEARN_IMAGE"
exec "$python" -m pytest tests/contract -m image --durations=5
