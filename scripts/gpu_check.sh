#!/bin/bash
# Everything that is to be seen on a machine with an NVIDIA GPU, in some ten minutes and without a network:
#   scripts/gpu_check.sh [FOLDER FOR RESULTS] [OPTIONS OF python -m tvmq.bench.cuda]
# PYTHON names the interpreter (default: .venv/bin/python, else python3), WHEELS a folder of wheels to install from where
# it lacks TVM, PREPARED what --compile-only wrote; all are optional.
set -uo pipefail
cd "$(dirname "$0")/.."
results=${1:-cuda-bench}
shift || true
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
# The repository's root is the package tvmq.
ln -s "$PWD" "$site/tvmq"
export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
if ! "$python" -c 'import tvm, tvm_ffi, onnx, rich' 2> /dev/null; then
    if [ -d "${WHEELS:-}" ]; then
        "$python" -m pip install --quiet --no-index --no-deps --target "$site/wheels" "$WHEELS"/*.whl
        export PYTHONPATH="$PYTHONPATH:$site/wheels"
    else
        scripts/make-venv.sh test && python=.venv/bin/python
    fi
fi
nvidia-smi || true
"$python" -m tvmq.bench.cuda --output "$results" ${PREPARED:+--prepared "$PREPARED"} "$@"
code=$?
echo "results: $results/results.md"
exit $code
