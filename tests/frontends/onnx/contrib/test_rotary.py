"""Rotary embeddings in both layouts, by both kinds of positions, beside onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest

import tvmq
from tvmq.errors import TvmqError
from tvmq.frontends.onnx.load import load_onnx

from ...nodes import floats, one_node, run_node
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


def test_it_is_one_kernel() -> None:
    x, (cosines, sines) = floats(B, HEADS, S, DEPTH), tables(DEPTH // 2)
    for domain, inputs in (("com.microsoft", [x, PLACES, cosines, sines]), ("", [x, cosines, sines, PLACES])):
        model, _ = one_node("RotaryEmbedding", *inputs, constants=(1, 2, 3), domain=domain, opset=23)
        assert len(tvmq.compile(model).metadata["kernels"]) == 1


@pytest.mark.parametrize("positions", [PLACES, None], ids=["positions", "rows"])
@pytest.mark.parametrize("interleaved", [0, 1])
def test_the_standard_operator(interleaved: int, positions) -> None:
    x, (cosines, sines) = floats(B, HEADS, S, DEPTH), tables(DEPTH // 2)
    ours = [x, PLACES, cosines, sines]
    (expected,) = run_node("RotaryEmbedding", *ours, domain="com.microsoft", interleaved=interleaved)
    given = [cosines, sines, PLACES] if positions is not None else [cosines[PLACES], sines[PLACES]]
    (result,) = run_node("RotaryEmbedding", x, *given, opset=23, interleaved=interleaved)
    np.testing.assert_array_equal(result, expected)
    by_row = x.transpose(0, 2, 1, 3).reshape(B, S, HEADS * DEPTH)
    how = {"opset": 23, "interleaved": interleaved, "num_heads": HEADS}
    (result,) = run_node("RotaryEmbedding", by_row, *given, **how)
    np.testing.assert_array_equal(result, expected.transpose(0, 2, 1, 3).reshape(by_row.shape))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([floats(B, S, 32), *tables(4), PLACES], "its input has 3 axes, and num_heads is 0"),
        (
            [floats(B, HEADS, S, DEPTH), *tables(4)],
            r"its cos_cache has the shape \[16,4\]; expected \[2,5,D/2\]",
        ),
        ([floats(S, DEPTH), *tables(4), PLACES], "its input has 2 axes; expected 3 or 4"),
    ],
)
def test_what_is_refused_of_the_standard_operator(inputs: list, message: str) -> None:
    model, _ = one_node("RotaryEmbedding", *inputs, opset=23)
    with pytest.raises(TvmqError, match=rf"'node' \(RotaryEmbedding\) cannot be imported: {message}"):
        load_onnx(model)


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
