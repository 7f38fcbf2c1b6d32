"""Kernels of convolutions and products whose weights are no constants.

    conv2d(x, w)  -->  conv2d[float32](x, pack(w))

A convolution of single pixels is a product: rows of all images share its register tiles. A depthwise one of few taps
reads the image as it lies, without the padded copy whose cost register tiles have to win back.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

from tvm import relax

from ..passes.hub import packing
from ..passes.hub.graph import op_name, shape_of
from ..passes.realize.compute import contraction, depthwise
from ..passes.realize.compute import packing as computed_packing
from ..passes.realize.compute.contraction import Conv2d
from ..passes.realize.compute.depthwise import FEW_TAPS
from ..passes.realize.compute.dots import Dot
from .weighted_kernels import WeightedKernel, weighted_kernel


def varying_kernel(call: relax.Call, dot: Dot) -> WeightedKernel | None:
    """Return the kernel of a convolution or a product; None where only Relax's own fits."""
    kernel = weighted_kernel(call, dot)
    if kernel is None or op_name(call) != "relax.nn.conv2d":
        return kernel
    geometry = Conv2d.of(call, shape_of(call.args[1]))
    is_strided = geometry.strides != (1, 1) or any(geometry.padding)
    if geometry.kernel == (1, 1) and geometry.groups == 1 and not is_strided:
        return replace(
            kernel,
            layout=("matmul",),
            arrange=lambda array: packing.pack_matmul(array[:, :, 0, 0].T, dot.lanes, dot.depth),
            pack=partial(computed_packing.pack_pointwise, lanes=dot.lanes, depth=dot.depth),
            define=partial(contraction.matmul, out_channels=geometry.out_channels, dot=dot),
        )
    if kernel.layout == ("depthwise_conv2d",) and math.prod(geometry.kernel) <= FEW_TAPS:
        return replace(
            kernel,
            layout=("depthwise_conv2d", "by taps"),
            arrange=lambda array: array[:, 0].transpose(1, 2, 0),
            pack=computed_packing.by_taps,
            define=partial(depthwise.unpadded_conv2d, geometry=geometry),
        )
    return kernel
