"""Trains the digits network on scikit-learn's digits and writes what the example ships.

    pip install torch==2.13.0 scikit-learn==1.9.1 onnx
    python examples/digits/train.py

Writes, beside itself: ``digits.onnx``; ``training.npz``, the 1000 images that it learns from (``image``) with their
digits (``labels``); ``calibration.npz``, the first 100 of these; ``test.npz``, the other 797 images with their digits
(``label``); and ``sample.npz``, the first of these. Takes half a minute.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from network import Network, to_onnx
from sklearn.datasets import load_digits
from torch.nn import functional

HERE = Path(__file__).parent
TRAINING, CALIBRATION = 1000, 100  # images
EPOCHS, BATCH, RATE = 60, 50, 4e-3


def load() -> tuple[np.ndarray, np.ndarray]:
    """Return shuffled images, ``[1797, 1, 8, 8]`` float32 from 0 to 1, and their digits, int64."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    images = (digits.images[order, None] / 16).astype(np.float32)
    return images, digits.target[order].astype(np.int64)


def shifted(images: torch.Tensor) -> torch.Tensor:
    """Return the images, each moved by up to one pixel in both directions."""
    padded = functional.pad(images, (1, 1, 1, 1))
    offsets = torch.randint(0, 3, (len(images), 2)).tolist()
    return torch.stack(
        [image[:, y : y + 8, x : x + 8] for image, (y, x) in zip(padded, offsets, strict=True)]
    )


def train(images: np.ndarray, labels: np.ndarray) -> Network:
    """Return a trained network, ready for inference."""
    torch.manual_seed(0)
    network = Network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-2)
    steps = EPOCHS * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            functional.cross_entropy(network(shifted(x[batch])), y[batch], label_smoothing=0.05).backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def main() -> None:
    images, labels = load()
    network = train(images[:TRAINING], labels[:TRAINING])
    with torch.no_grad():
        predicted = network(torch.from_numpy(images[TRAINING:])).argmax(1).numpy()
    print(f"{np.mean(predicted == labels[TRAINING:]):.2%} of the test images are recognized")
    onnx.save(to_onnx(network), HERE / "digits.onnx")
    np.savez_compressed(HERE / "training.npz", image=images[:TRAINING], labels=labels[:TRAINING])
    np.savez_compressed(HERE / "calibration.npz", image=images[:CALIBRATION])
    np.savez_compressed(HERE / "test.npz", image=images[TRAINING:], label=labels[TRAINING:])
    np.savez_compressed(HERE / "sample.npz", image=images[TRAINING : TRAINING + 1])


if __name__ == "__main__":
    main()
