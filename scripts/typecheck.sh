#!/bin/bash
# Type-checks the package. mypy names modules by their folders, and a clone's folder may have any name, so it looks
# at the repository through a link that has the package's name.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
link=$(mktemp -d)
trap 'rm -rf "$link"' EXIT
ln -s "$root" "$link/tvmq"
cd "$link"
MYPYPATH=$link "${PYTHON:-python}" -m mypy --config-file "$root/pyproject.toml" --cache-dir "$root/.mypy_cache" -p tvmq
