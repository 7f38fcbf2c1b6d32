#!/usr/bin/env bash
# Tunes the kernels of models for each x86 target that records ship for, on one and two threads, and ships the best.
#
#     scripts/make-records.sh FOLDER TRIALS MODEL.onnx...
#
# FOLDER keeps what was measured: the command goes on where it was broken off. The machine should do nothing else.
set -euo pipefail
folder=$1 trials=$2
shift 2
for cpu in x86-64-v3 znver4; do
    for threads in 1 2; do
        target="llvm -mcpu=$cpu -num-cores=$threads"
        records=()
        for model in "$@"; do
            records+=("$folder/$cpu-$threads/$(basename "$model" .onnx)")
            tvmc tune "$model" --target "$target" --quantize int8 --trials "$trials" --output "${records[-1]}"
        done
        python -m tvmq.tuning.ship "${records[@]}" --target "$target"
    done
done
