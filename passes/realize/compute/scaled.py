"""Products of floats with weights of few bits, which stay packed: integers, and a scale for each group of them.

    result[row, column] = sum over k of data[row, k] * (integer[column, k] * scale[column, k // group])

The weights are those that ``passes.hub.codes`` defines. In which order a kernel adds, and where it multiplies by the
scale, is its own choice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tvm import te, tirx

from ....targets.meanings import plane_of
from ...hub.packing import TOGETHER, WORD, bias_of
from .annotations import KERNEL, SCALED, UNPACK


def weights(words: te.Tensor, scales: te.Tensor, *, inner: int, bits: int, group: int) -> te.Tensor:
    """Return float32 weights ``[columns, inner]``.

    Parameters
    ----------
    words : uint8 ``[columns, blocks, lanes, 16]``, by ``packing.pack_words``.
    scales : float32 ``[columns, groups]``; of one group there is a scale a column.
    bits : of a weight in memory.
    group : neighbours along ``inner`` that share a scale.
    """
    columns, _, lanes, _ = (int(extent) for extent in words.shape)
    planes = 8 // bits

    def value(column: tirx.Expr, k: tirx.Expr) -> tirx.Expr:
        chunk, place = k // (TOGETHER * lanes), k % (TOGETHER * lanes)
        block, chunk = chunk // (WORD // TOGETHER * planes), chunk % (WORD // TOGETHER * planes)
        byte = chunk // planes * TOGETHER + place % TOGETHER
        code = plane_of(words(column, block, place // TOGETHER, byte), chunk % planes, bits)
        integer = code.astype("int32") - tirx.const(bias_of(bits), "int32")
        return integer.astype("float32") * scales(column, k // group)

    return te.compute((columns, inner), value, name="weights", attrs={UNPACK: 1, SCALED: [bits, group]})


def matmul(data: te.Tensor, words: te.Tensor, scales: te.Tensor, *, bits: int, group: int) -> te.Tensor:
    """Return ``data[..., K] @ weights.T``, float32 ``(..., columns)``; parameters as for ``weights``."""
    *lead, inner = (int(extent) for extent in data.shape)
    return _product(
        *(lead, lambda front, k: data(*front, k)),
        weights(words, scales, inner=inner, bits=bits, group=group),
    )


def pointwise(
    data: te.Tensor,
    words: te.Tensor,
    scales: te.Tensor,
    *,
    strides: tuple[int, int],
    bits: int,
    group: int,
) -> te.Tensor:
    """Return the convolution of NHWC data with kernels of one pixel, without padding; else as ``matmul``."""
    batch, height, width, inner = (int(extent) for extent in data.shape)
    down, across = strides
    lead = [batch, (height - 1) // down + 1, (width - 1) // across + 1]
    return _product(
        *(lead, lambda front, k: data(front[0], front[1] * down, front[2] * across, k)),
        weights(words, scales, inner=inner, bits=bits, group=group),
    )


def _product(
    lead: Sequence[int], source: Callable[[Sequence[tirx.Expr], tirx.Expr], tirx.Expr], weight: te.Tensor
) -> te.Tensor:
    columns, inner = (int(extent) for extent in weight.shape)
    k = te.reduce_axis((0, inner), "k")
    sums = te.compute(
        (*lead, columns),
        lambda *index: te.sum(source(index[:-1], k) * weight(index[-1], k), axis=[k]),
        name="accumulator",
        attrs={KERNEL: "contraction"},
    )
    return te.compute(sums.shape, lambda *index: sums(*index), name="result")
