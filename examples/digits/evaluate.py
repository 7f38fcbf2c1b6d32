"""Compiles the digits network as it is and quantized to int8, and compares the two on the test images.

python examples/digits/evaluate.py [--target "llvm -mcpu=native"]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import tvmq

HERE = Path(__file__).parent


def scores(package: tvmq.Package, images: np.ndarray) -> np.ndarray:
    """Return the scores, ``[N, 10]``, of images ``[N, 1, 8, 8]``."""
    return np.concatenate([package.run({"image": image[None]})["scores"] for image in images])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="llvm -mcpu=native")
    target = parser.parse_args().target
    model = HERE / "digits.onnx"
    test = np.load(HERE / "test.npz")
    exact = tvmq.compile(model, target)
    quantized = tvmq.compile(tvmq.quantize(model, "int8", target, HERE / "calibration.npz"), target)
    predictions = {}
    for name, package in {"float": exact, "int8": quantized}.items():
        predictions[name] = scores(package, test["image"]).argmax(1)
        accuracy = np.mean(predictions[name] == test["label"])
        weights = package.metadata["bytes"]["weights"]
        print(f"{name:>5}: {accuracy:.2%} of {len(test['label'])} images, {weights} bytes of weights")
    print(f"the two agree on {np.mean(predictions['int8'] == predictions['float']):.2%}")


if __name__ == "__main__":
    main()
