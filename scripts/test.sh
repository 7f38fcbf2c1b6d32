#!/bin/bash
# Sets up tvmq in .venv with all that the tests need, and runs them: scripts/test.sh [PYTEST ARGUMENTS]
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install-debian-packages.sh arm64 browser
scripts/make-venv.sh test
exec .venv/bin/python -m pytest -n 2 "$@"
