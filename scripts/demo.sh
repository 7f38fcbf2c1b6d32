#!/bin/bash
# Sets up tvmq in .venv and does the main job on the digits example: a float ONNX model and a few samples become one
# int8 package, which then runs, and its accuracy is compared with the float model's.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install-debian-packages.sh
scripts/make-venv.sh

set -x
.venv/bin/tvmc compile examples/digits/digits.onnx --target "llvm -mcpu=native" \
    --quantize int8 --calibration-data examples/digits/calibration.npz --output digits.tar
.venv/bin/tvmc inspect digits.tar
.venv/bin/tvmc run digits.tar --inputs examples/digits/sample.npz --outputs scores.npz --print-time --repeat 20
.venv/bin/python examples/digits/evaluate.py
