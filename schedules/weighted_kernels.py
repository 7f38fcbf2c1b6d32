"""Convolutions and products with weights, as the kernels that the schedules know.

conv2d(x, w)  -->  conv2d[float32](x, arranged w)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from tvm import relax, te

from ..passes.hub import packing
from ..passes.hub.graph import dtype_of, op_name, shape_of, with_layer_name
from ..passes.hub.op_patterns import INJECTIVE, OUT_ELEMWISE_FUSABLE
from ..passes.realize.compute import contraction, depthwise
from ..passes.realize.compute import packing as computed_packing
from ..passes.realize.compute.bfloat16 import BFLOAT16, bits_of
from ..passes.realize.compute.contraction import Conv2d
from ..passes.realize.compute.dots import Dot
from ..passes.realize.compute.naming import kernel_name


def kernel_call(
    builder: relax.BlockBuilder, define: Callable[..., te.Tensor], args: list[relax.Expr], name: str
) -> relax.Call:
    """Return the call of a kernel behind which elementwise operators may be fused."""
    return builder.call_te(
        define, *args, primfunc_name_hint=name, primfunc_attrs={"op_pattern": OUT_ELEMWISE_FUSABLE}
    )


@dataclass(frozen=True)
class WeightedKernel:
    """A kernel with weights.

    Attributes
    ----------
    layout : what the arrangement of the weights depends on, beside their shape.
    arrange : brings weights, and whatever has their output channels, to the kernel's layout; padding is zero.
    pack : the same of weights that are computed while the model runs.
    define, name : what it computes of data and arranged weights.
    shape : of the result.
    weight_dtype : ``"float32"`` or ``"bfloat16"``.
    is_grouped : the kernel's result has its groups apart, and is to be reshaped.
    """

    layout: tuple[str | int, ...]
    arrange: Callable[[np.ndarray], np.ndarray]
    pack: Callable[[te.Tensor], te.Tensor]
    define: Callable[..., te.Tensor]
    name: str
    shape: tuple[int, ...]
    weight_dtype: str
    is_grouped: bool = False

    def stored(self, weight: np.ndarray) -> np.ndarray:
        """Return float32 weights as the kernel takes them."""
        arranged = self.arrange(weight)
        return bits_of(arranged) if self.weight_dtype == BFLOAT16 else arranged

    def call(
        self, builder: relax.BlockBuilder, data: relax.Expr, weight: relax.Expr, layer: str = ""
    ) -> relax.Expr:
        """Return the call with arranged weights."""
        call = with_layer_name(kernel_call(builder, self.define, [data, weight], self.name), layer)
        return relax.op.reshape(builder.emit(call), self.shape) if self.is_grouped else call

    def packed(self, builder: relax.BlockBuilder, weight: relax.Expr) -> relax.Expr:
        """Emit the arranging of weights that vary; what is elementwise or moves elements before is fused with it."""
        return builder.emit(
            builder.call_te(
                self.pack,
                weight,
                primfunc_name_hint="pack_weights",
                primfunc_attrs={"op_pattern": INJECTIVE},
            )
        )


def weighted_kernel(call: relax.Call, dot: Dot) -> WeightedKernel | None:
    """Return the kernel of a convolution or a matrix product; None where only Relax's own fits."""
    data, weight = call.args
    if dtype_of(data) != "float32" or dtype_of(weight) != "float32":
        return None
    return (_conv2d if op_name(call) == "relax.nn.conv2d" else _matmul)(call, dot)


def _conv2d(call: relax.Call, dot: Dot) -> WeightedKernel | None:
    data, weight = call.args
    if (call.attrs.data_layout, call.attrs.kernel_layout) != ("NHWC", "OIHW"):
        return None
    channels, inputs = shape_of(weight)[:2]
    geometry = Conv2d.of(call, shape_of(weight))
    groups = geometry.groups
    if groups == channels > 1 and inputs == 1:
        return WeightedKernel(
            ("depthwise_conv2d",),
            partial(depthwise.pack_depthwise, lanes=dot.lanes),
            partial(computed_packing.pack_depthwise, lanes=dot.lanes),
            partial(depthwise.depthwise_conv2d, geometry=geometry, accumulator_dtype="float32"),
            kernel_name("depthwise_conv2d", shape_of(data), channels, geometry.kernel),
            shape_of(call),
            "float32",
        )
    return WeightedKernel(
        ("conv2d", groups),
        partial(packing.pack_conv2d, groups=groups, lanes=dot.lanes, depth=dot.depth),
        partial(computed_packing.pack_conv2d, groups=groups, lanes=dot.lanes, depth=dot.depth),
        partial(contraction.conv2d, geometry=geometry, dot=dot),
        kernel_name("conv2d", shape_of(data), channels, geometry.kernel),
        shape_of(call),
        dot.weight_dtype,
        groups > 1,
    )


def _matmul(call: relax.Call, dot: Dot) -> WeightedKernel | None:
    data, weight = call.args
    if len(shape_of(weight)) != 2 or not shape_of(data):
        return None
    columns = shape_of(weight)[1]
    return WeightedKernel(
        ("matmul",),
        partial(packing.pack_matmul, lanes=dot.lanes, depth=dot.depth),
        partial(computed_packing.pack_matmul, lanes=dot.lanes, depth=dot.depth),
        partial(contraction.matmul, out_channels=columns, dot=dot),
        kernel_name("matmul", shape_of(data), columns),
        shape_of(call),
        dot.weight_dtype,
    )
