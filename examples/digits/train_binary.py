"""Trains the binary network on scikit-learn's digits and writes what the example ships.

    pip install torch==2.13.0 scikit-learn==1.9.1 onnx
    python examples/digits/train_binary.py

Writes, beside itself: ``binary.onnx``; and ``binary_expected.npz``, for the first images of ``test.npz`` what PyTorch
gives: ``scores``, and the signs that the layers ``first``, ``second`` and ``third`` read. Takes a minute.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from binary_network import Network, sign, to_onnx
from torch.nn import functional
from train import BATCH, TRAINING, load, shifted

HERE = Path(__file__).parent
EPOCHS, RATE = 200, 1e-2
EXPECTED = 20
"""Images of which the example has what PyTorch gives."""


def train(images: np.ndarray, labels: np.ndarray) -> Network:
    """Return a trained network, ready for inference."""
    torch.manual_seed(0)
    network = Network()
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    steps = EPOCHS * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            functional.cross_entropy(network(shifted(x[batch])), y[batch], label_smoothing=0.05).backward()
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                for layer in (network.first, network.second, network.third):
                    layer.weight.clamp_(-1, 1)
    return network.eval()


def expected(network: Network, images: torch.Tensor) -> dict[str, np.ndarray]:
    """Return the scores and the signs that the binary layers read, int8."""
    read: dict[str, torch.Tensor] = {}
    for name in ("first", "second", "third"):
        layer = getattr(network, name)
        sums = layer.sums

        def noted(values: torch.Tensor, name: str = name, sums=sums) -> torch.Tensor:
            read[name] = sign(values)
            return sums(values)

        layer.sums = noted
    scores = network(images)
    arrays = {name: values.numpy().astype(np.int8) for name, values in read.items()}
    return {"scores": scores.numpy(), **arrays}


def main() -> None:
    images, labels = load()
    network = train(images[:TRAINING], labels[:TRAINING])
    test = torch.from_numpy(images[TRAINING:])
    with torch.no_grad():
        predicted = network(test).argmax(1).numpy()
        print(f"{np.mean(predicted == labels[TRAINING:]):.2%} of the test images are recognized")
        onnx.save(to_onnx(network), HERE / "binary.onnx")
        np.savez_compressed(HERE / "binary_expected.npz", **expected(network, test[:EXPECTED]))


if __name__ == "__main__":
    main()
