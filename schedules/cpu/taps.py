"""What the taps of a convolution see, in loops over the rows and columns of its result.

tap (i, j) at (n, h, w) of the result sees (n, h s + i d - p, w s + j d - p) of the data
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tvm_ffi
from tvm import tirx
from tvm.s_tir import SBlock
from tvm.script.ir_builder import tirx as T

from ...passes.realize.compute.annotations import KERNEL, WINDOWS
from ...passes.realize.compute.contraction import Conv2d


def conv2d_of(func: tirx.PrimFunc, kind: str) -> Conv2d | None:
    """Return the convolution of a function with a block of this kind; None where it has none."""
    found: list[str] = []

    def note(block: SBlock) -> None:
        if str(block.annotations.get(KERNEL, "")) == kind:
            found.append(str(block.annotations[WINDOWS]))

    tvm_ffi.structural_walk(func.body, [(SBlock, note)])
    if not found:
        return None
    fields = json.loads(found[0])
    return Conv2d(**{name: _hashable(value) for name, value in fields.items()})


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True)
class Places:
    """Places of a result (N, OH, OW) and of data (N, H, W), each counted in the order of memory.

    Attributes
    ----------
    form : the convolution.
    data, result : ``(N, H, W)`` and ``(N, OH, OW)``.
    """

    form: Conv2d
    data: tuple[int, int, int]
    result: tuple[int, int, int]

    @classmethod
    def of(cls, form: Conv2d, data: tirx.Buffer, result: tirx.Buffer) -> Places:
        """Return the places of two tensors; a matrix has its rows in one row of one image."""
        shapes = []
        for buffer in (data, result):
            images, height, width, _ = (1,) * (4 - len(buffer.shape)) + tuple(map(int, buffer.shape))
            shapes.append((images, height, width))
        return cls(form, *shapes)

    @property
    def are_same(self) -> bool:
        """Whether the one tap sees the place itself."""
        form = self.form
        return (form.kernel, form.strides) == ((1, 1), (1, 1)) and not any(form.padding)

    def in_row(self, row: tirx.Expr, tap: tirx.Expr, emit: Callable[[tirx.Expr, tirx.Expr], None]) -> None:
        """Emit what is to be done where a tap's row sees one of the data.

        Parameters
        ----------
        row : of the result, of all images.
        tap : row of the filter.
        emit : is given the place of the first column of that row of the data, and of the result's row.
        """
        _, height, width = self.data
        _, out_h, out_w = self.result
        image, h = tirx.floordiv(row, out_h), tirx.floormod(row, out_h)
        seen = h * self.form.strides[0] + tap * self.form.dilation[0] - self.form.padding[0]
        with T.If(tirx.all(seen >= 0, seen < height)), T.Then():
            emit((image * height + seen) * width, row * out_w)

    def shift(self, tap: tirx.Expr | int) -> tirx.Expr | int:
        """Return which column of the data a tap's column sees at column 0 of the result; it may lie in front."""
        return tap * self.form.dilation[1] - self.form.padding[1]

    def first_column(self, tap: tirx.Expr | int) -> tirx.Expr:
        """Return the first column of the result at which a tap's column sees the data."""
        across = self.form.strides[1]
        return T.min(T.max(0, tirx.floordiv(across - 1 - self.shift(tap), across)), self.result[2])

    def end_column(self, tap: tirx.Expr | int) -> tirx.Expr:
        """Return the column behind the last one at which it does."""
        last = tirx.floordiv(self.data[2] - 1 - self.shift(tap), self.form.strides[1])
        return T.max(0, T.min(self.result[2], last + 1))
