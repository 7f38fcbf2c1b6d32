"""Rotary embeddings in both layouts, by both kinds of positions, beside onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest

from tvmq.errors import TvmqError
from tvmq.frontends.onnx.load import load_onnx

from ...nodes import floats, one_node
from .oracle import assert_same, int32

B, S, HEADS, DEPTH, POSITIONS = 2, 5, 4, 8, 16
PLACES = np.random.default_rng(0).integers(0, POSITIONS, (B, S))


def tables(pairs: int) -> tuple[np.ndarray, np.ndarray]:
    angles = np.arange(POSITIONS)[:, None] / (2.0 + np.arange(pairs))
    return np.cos(angles).astype("float32"), np.sin(angles).astype("float32")


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("positions", [np.array([2]), PLACES], ids=["first", "each"])
@pytest.mark.parametrize("shape", [(B, S, HEADS * DEPTH), (B, HEADS, S, DEPTH)], ids=["rows", "heads"])
def test_whole_heads(shape: tuple[int, ...], positions: np.ndarray, interleaved: int) -> None:
    assert_same("RotaryEmbedding", floats(*shape), positions, *tables(DEPTH // 2), interleaved=interleaved)


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("shape", [(B, S, HEADS * DEPTH), (B, HEADS, S, DEPTH)], ids=["rows", "heads"])
def test_parts_of_heads(shape: tuple[int, ...], interleaved: int) -> None:
    how = {"interleaved": interleaved, "num_heads": HEADS, "rotary_embedding_dim": 4}
    assert_same("RotaryEmbedding", floats(*shape), PLACES, *tables(2), constants=(2, 3), **how)


def test_one_row() -> None:
    assert_same("RotaryEmbedding", floats(1, 1, HEADS * DEPTH), np.array([[3]]), *tables(DEPTH // 2))


@pytest.mark.parametrize(
    ("positions", "cached", "attributes", "message"),
    [
        (int32(PLACES), tables(4), {}, "its position_ids is int32; expected int64"),
        (PLACES[:, :3], tables(4), {}, r"its position_ids has the shape \[2,3\]; expected \[1\] or \[2,5\]"),
        (PLACES, tables(8), {"num_heads": HEADS}, "its cos_cache has 8 columns; a head has 8 numbers"),
        (PLACES, (tables(4)[0], tables(2)[1]), {}, r"its sin_cache has the shape \[16,2\]; expected \[16,4\]"),
        (PLACES, tables(4), {"rotary_embedding_dim": 4}, "its cos_cache turns 8 numbers of a head, and rotary"),
        (PLACES, tables(4), {"is_packed_batching": 1}, "is_packed_batching and scale are not supported"),
    ],
)  # fmt: skip
def test_what_is_refused(positions, cached, attributes: dict, message: str) -> None:
    inputs = [floats(B, S, HEADS * DEPTH), positions, *cached]
    model, _ = one_node("RotaryEmbedding", *inputs, domain="com.microsoft", **attributes)
    with pytest.raises(
        TvmqError, match=rf"^ONNX node 'node' \(RotaryEmbedding\) cannot be imported: {message}"
    ):
        load_onnx(model)
