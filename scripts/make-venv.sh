#!/bin/bash
# Makes the virtual environment .venv with tvmq in it, editable: scripts/make-venv.sh [EXTRA]
set -euo pipefail
cd "$(dirname "$0")/.."
[ -x .venv/bin/python ] || python3 -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".${1:+[$1]}"
