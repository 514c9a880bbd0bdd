#!/usr/bin/env bash
# Make a virtual environment with a SageMaker Python SDK beside this project's own, for the tests of local mode.
#   make_sdk_environment.sh 2 FOLDER     SDK 2 with local mode
#   make_sdk_environment.sh 3 FOLDER     SDK 3
# A second run over the same folder does nothing. PYTHON names the interpreter (3.10 to 3.12 for SDK 2).
set -euo pipefail
sdk=$1
folder=$2
case $sdk in
  2) packages=('sagemaker[local]==2.257.7') ;;
  3) packages=('sagemaker==3.27.0') ;;
  *) sed -n '2,5p' "$0" >&2; exit 2 ;;
esac
packages+=('matplotlib>=3.8' 'nbclient>=0.10' 'ipykernel>=6.29' 'scikit-learn>=1.6')
if [ -e "$folder/.ready" ]; then exit 0; fi
python=${PYTHON:-python3}
# uv resolves the SDK's many dependencies in seconds where pip takes minutes.
"$python" -m venv "$folder.uv"
"$folder.uv/bin/python" -m pip install --quiet --disable-pip-version-check 'uv>=0.5'
"$folder.uv/bin/uv" venv --quiet --python "$python" "$folder"
"$folder.uv/bin/uv" pip install --quiet --python "$folder/bin/python" "${packages[@]}"
rm -rf "$folder.uv"
touch "$folder/.ready"
