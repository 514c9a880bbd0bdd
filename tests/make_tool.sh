#!/usr/bin/env bash
# Make a virtual environment for a tool whose dependencies do not go together with this project's own.
#   make_tool.sh sdk2 FOLDER             SageMaker's Python SDK 2 with local mode
#   make_tool.sh sdk3 FOLDER             SageMaker's Python SDK 3
#   make_tool.sh schemathesis FOLDER     the prober of OpenAPI documents
#   make_tool.sh mutants FOLDER          Cosmic Ray, which changes code to see whether a test notices
#   make_tool.sh mxnet FOLDER            the retired library that wrote AWS's artifacts, and reads ours (Linux x86_64)
# A second run over the same folder does nothing. PYTHON names the interpreter; without it, the newest of 3.12, 3.11 and
# 3.10 that can make virtual environments (SDK 2 does not run on later ones).
set -euo pipefail
tool=${1:-}
folder=${2:-}
newest=12
notebook=('matplotlib>=3.8' 'nbclient>=0.10' 'ipykernel>=6.29' 'scikit-learn>=1.6')
case $tool in
  sdk2) packages=('sagemaker[local]==2.257.7' "${notebook[@]}") ;;
  sdk3) packages=('sagemaker==3.27.0' "${notebook[@]}") ;;
  schemathesis) packages=('schemathesis>=4,<5') ;;
  mutants) packages=('cosmic-ray>=8.7,<9') ;;
  mxnet) packages=('mxnet==1.9.1' 'numpy<1.24') newest=11 ;;  # it uses names that numpy 1.24 took away
  *) sed -n '2,9p' "$0" >&2; exit 2 ;;
esac
if [ -e "$folder/.ready" ]; then exit 0; fi
if [ -z "${PYTHON:-}" ]; then
  for candidate in python3.12 python3.11 python3.10 python3; do
    if "$candidate" -c "import ensurepip, sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, $newest))" 2>/dev/null; then
      PYTHON=$candidate
      break
    fi
  done
fi
if [ -z "${PYTHON:-}" ]; then
  echo "$tool needs Python 3.10 to 3.$newest, and none was found" >&2
  exit 1
fi
# uv resolves the SDKs' many dependencies in seconds where pip takes minutes.
mkdir -p "$(dirname "$folder")"
"$PYTHON" -m venv "$folder.uv"
"$folder.uv/bin/python" -m pip install --quiet --disable-pip-version-check 'uv>=0.5'
"$folder.uv/bin/uv" venv --quiet --clear --python "$PYTHON" "$folder"
"$folder.uv/bin/uv" pip install --quiet --python "$folder/bin/python" "${packages[@]}"
rm -rf "$folder.uv"
touch "$folder/.ready"
