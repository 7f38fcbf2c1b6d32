"""Trains the digits network to 2 bits and to binary in a loop of one's own, and compiles what comes of it.

python examples/digits/fine_tune.py [--target "llvm -mcpu=native"] [--steps 1500] [--seed 0]

The float model is the teacher; it sees the images that it has learned from moved by a pixel, and mixtures of two. Signs
take six times the steps; they pass gradients the more, the nearer a value is to its threshold (Bi-Real Net).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from evaluate import scores

import tvmq

HERE = Path(__file__).parent
BATCH, SCHEMES = 32, {"w2a2": (0.005, 1, "straight"), "binary": (0.02, 6, "bi-real")}


def views(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a batch of images, each moved by up to one pixel, half of them mixed with another."""
    padded = np.pad(images[rng.integers(len(images), size=(2, BATCH))], [(0, 0)] * 3 + [(1, 1)] * 2)
    top, left = rng.integers(3, size=2)
    first, second = padded[..., top : top + 8, left : left + 8]
    share = np.where(rng.random(BATCH) < 0.5, rng.random(BATCH), 1.0)[:, None, None, None]
    return (share * first + (1 - share) * second).astype(np.float32)


def train(
    model: tvmq.passes.TrainableModel, teacher: tvmq.Package, steps: int, rate: float, seed: int
) -> None:
    """Let the model give the teacher's scores: half the mean squared error is minimized."""
    rng, images = np.random.default_rng(seed), np.load(HERE / "training.npz")["image"]
    for step in range(steps):
        batch = views(images, rng)
        wanted = scores(teacher, batch)

        def loss(outputs: dict[str, np.ndarray], wanted: np.ndarray = wanted):
            error = (outputs["scores"] - wanted) / BATCH
            return 0.5 * float(np.square(error).sum()) * BATCH, {"scores": error}

        _, gradients = model.loss_and_gradients({"image": batch}, loss)
        model.step(gradients, rate * min(1.0, 2 * (1 - step / steps)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="llvm -mcpu=native")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    test, teacher = np.load(HERE / "test.npz"), tvmq.compile(HERE / "digits.onnx")
    for scheme, (rate, times, gradient) in SCHEMES.items():
        quantized = tvmq.quantize(HERE / "digits.onnx", scheme, arguments.target, HERE / "calibration.npz")
        model = quantized.trainable(BATCH, gradient)
        train(model, teacher, times * arguments.steps, rate, arguments.seed)
        for name, found in {"calibrated": quantized, "trained": quantized.trained(model)}.items():
            package = tvmq.compile(found, arguments.target)
            accuracy = np.mean(scores(package, test["image"]).argmax(1) == test["label"])
            print(f"{scheme:>6}, {name:>10}: {accuracy:.2%} of {len(test['label'])} images")


if __name__ == "__main__":
    main()
