"""What ``Realize`` knows of a quantized value, and the plan for making one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from tvm import relax, te

from ....targets.row import TargetRow
from ...hub import arithmetic
from ...hub.arithmetic import Output
from ...hub.fixed_point import FixedPoint
from ...hub.row_pairs import RowPair
from ...hub.two_valued import TwoValued

STORED_DTYPES = ("uint8", "int8")


@dataclass(frozen=True)
class Parameters:
    """How integers stand for numbers: ``(q - zero_point) * scale``, ``q`` of ``dtype``."""

    scale: float
    zero_point: int
    dtype: str

    def stored_as(self, dtype: str) -> Parameters:
        """Return the parameters of the same numbers, with every integer moved into the range of ``dtype``."""
        shift = arithmetic.bounds_of(dtype)[0] - arithmetic.bounds_of(self.dtype)[0]
        return Parameters(self.scale, self.zero_point + shift, dtype)

    def quantize(self, value: float) -> int:
        """Return the integer nearest to ``value``, within the dtype."""
        return int(arithmetic.quantize(np.float32(value), self.scale, self.zero_point, self.dtype))

    def output(self, lower: float, upper: float) -> Output:
        """Return the integer result whose numbers are limited to [lower, upper]."""
        return Output(self.dtype, self.zero_point, self.quantize(lower), self.quantize(upper))


@dataclass(frozen=True)
class Rows:
    """What stands for a row pair, with float32 data ``[..., K]``.

    Attributes
    ----------
    integers : in the stored dtype, ``[..., K]``.
    scales, zero_points : of each row, float32 and as the integers, ``[...]``, or all extents 1 where the tensor has
        one; symmetric ones have no zero points of their own.
    """

    integers: relax.Var
    scales: relax.Var
    zero_points: relax.Var | None = None


class Emitter(Protocol):
    """What a plan may do when it is carried out."""

    row: TargetRow

    def integers(self, var: relax.Expr) -> relax.Expr:
        """Return the integers that stand for a quantized value, in the stored dtype."""

    def rows(self, var: relax.Expr) -> Rows:
        """Return what stands for a row pair."""

    def call(
        self,
        define: Callable[..., te.Tensor],
        *args: relax.Expr,
        name: str,
        layer: str,
        pattern: int | None = None,
    ) -> relax.Var:
        """Bind one call of an operator that ``define`` gives as TE; ``name`` names the kernel.

        Where that gives several tensors, the call is their tuple, whose parts ``item`` binds.

        ``pattern`` is what it is fused with, one of ``hub.op_patterns``; None leaves it to TVM.
        """

    def emit(self, call: relax.Expr, layer: str) -> relax.Var:
        """Bind a call of a Relax operator."""

    def item(self, results: relax.Var, place: int) -> relax.Var:
        """Bind one of several results."""


@dataclass(frozen=True)
class Plan:
    """A way to compute a value with integers.

    Attributes
    ----------
    layer : name of the ONNX node that does the work.
    inputs : the quantized values that it reads.
    build : carries it out; returns integers, or float32 where no target parameters were asked for.
    absorbed : names of the nodes that become part of it.
    details : what reports show.
    status : of the layer, and of those that are absorbed.
    """

    layer: str
    inputs: tuple[relax.Expr, ...]
    build: Callable[[Emitter], relax.Var]
    absorbed: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)
    status: str = "int8"


class Facts(Protocol):
    """What a rule may ask of the graph when it looks for a plan."""

    row: TargetRow

    def definition(self, expr: relax.Expr) -> relax.Expr:
        """Return the value that a variable is bound to; the expression itself where there is none."""

    def parameters(self, expr: relax.Expr) -> Parameters | None:
        """Return the stored parameters of a quantized value; None for any other."""

    def row_pair(self, expr: relax.Expr) -> RowPair | None:
        """Return the row pair that a value is the result of; None for any other."""

    def two_valued(self, expr: relax.Expr) -> TwoValued | None:
        """Return the two numbers that a float value has; None for any other."""

    def fixed_point(self, call: relax.Expr) -> FixedPoint | None:
        """Return the integers that the model's file fixes for this operator; None where it leaves them open."""

    def refuse(self, call: relax.Expr, reason: str) -> None:
        """Note why this node stays float."""


Rule = Callable[[Facts, relax.Expr, Parameters | None], Plan | None]
"""``(facts, value, parameters of the result) -> plan``; no parameters: the result is wanted in float32."""
