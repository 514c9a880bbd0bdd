#!/usr/bin/env bash
# Drive the image from outside: the contract as a process and in containers, faults, hosts, and the SageMaker SDKs.
#   run_image_tests.sh [PYTHON]     PYTHON: an interpreter with this project's `dev` extra (default .venv/bin/python)
# EIGENLINE_IMAGE names the image (default eigenline); build it first: `make image`. The SDKs' tests need `make tools`.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${1:-.venv/bin/python}
export EIGENLINE_IMAGE=${EIGENLINE_IMAGE:-eigenline}
# A client that is newer than its engine, first on PATH, is the most frequent reason for odd failures.
docker version --format 'Docker engine {{.Server.Version}}, client {{.Client.Version}}'
docker image inspect --format "$EIGENLINE_IMAGE: {{.Size}} bytes" "$EIGENLINE_IMAGE"
exec "$python" -m pytest tests/contract -m image --durations=5
