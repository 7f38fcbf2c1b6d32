"""``MatMulNBits``: the formula of onnxruntime's documentation, and onnxruntime's own results."""

from __future__ import annotations

import numpy as np
import pytest

from tvmq.errors import TvmqError

from ...nodes import floats, run_node
from .oracle import assert_same

K, N, BLOCK = 80, 6, 32
BLOCKS = 3


def parameters(bits: int, zero_points: str, seed: int = 0) -> tuple[list[np.ndarray | None], np.ndarray]:
    """Return B, scales and zero points, and the weights ``[K, N]`` that they stand for."""
    rng = np.random.default_rng(seed)
    packed = rng.integers(0, 256, (N, BLOCKS, BLOCK * bits // 8)).astype(np.uint8)
    scales = rng.uniform(0.01, 0.1, (N, BLOCKS)).astype(np.float32)

    def at(data: np.ndarray, place: int) -> int:
        byte, rest = divmod(place * bits, 8)
        return (int(data[byte]) >> rest) & (2**bits - 1)

    row = -(-BLOCKS * bits // 8)
    zeros: np.ndarray | None = None
    values = np.full((N, BLOCKS), 2.0 ** (bits - 1))
    if zero_points == "packed":
        zeros = rng.integers(0, 256, (N, row)).astype(np.uint8)
        values = np.array([[at(zeros[n], block) for block in range(BLOCKS)] for n in range(N)])
    elif zero_points == "float":
        zeros = values = rng.uniform(0, 2**bits, (N, BLOCKS)).astype(np.float32)
    weight = np.array(
        [
            [
                (at(packed[n, k // BLOCK], k % BLOCK) - values[n, k // BLOCK]) * scales[n, k // BLOCK]
                for n in range(N)
            ]
            for k in range(K)
        ],
        np.float32,
    )
    return [packed, scales, zeros], weight


@pytest.mark.parametrize("zero_points", ["", "packed", "float"])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_formula(bits, zero_points):
    given, weight = parameters(bits, zero_points)
    a, bias = floats(2, 3, K), floats(N, seed=1)
    (found,) = run_node(
        *("MatMulNBits", a, *given, None, bias),
        **{
            "domain": "com.microsoft",
            "constants": (1, 2, 3, 5),
            "K": K,
            "N": N,
            "block_size": BLOCK,
            "bits": bits,
        },
    )
    np.testing.assert_allclose(found, a @ weight + bias, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("zero_points", ["", "packed"])
def test_onnxruntime_agrees(zero_points):
    given, _ = parameters(4, zero_points)
    assert_same(
        *("MatMulNBits", floats(3, K), *given), constants=(1, 2, 3), K=K, N=N, block_size=BLOCK, bits=4
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bits": 3}, "bits 3, block_size 32"),
        ({"K": 200}, r"its B has the shape \[6,3,16\]; expected \[6,7,16\]"),
        ({"constants": (1, 3)}, "its scales must be constant"),
    ],
)
def test_bad_input(changes, message):
    given, _ = parameters(4, "packed")
    how = {"constants": (1, 2, 3), "K": K, "N": N, "block_size": BLOCK, "bits": 4} | changes
    with pytest.raises(TvmqError, match=message):
        run_node("MatMulNBits", floats(3, K), *given, domain="com.microsoft", **how)
