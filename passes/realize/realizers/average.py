"""Average pooling, global average pooling, and the mean over an image.

Q(limit(avg_pool2d(DQ(x))))  -->  average_pool2d[requantize](x)
mean(DQ(x), axes H, W)       -->  average_pool2d[dequantize](x), window = the whole image
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from tvm import relax

from ...hub.graph import layer_name, op_name, shape_of
from ..compute.epilogue import Conversion, Dequantize, Requantize
from ..compute.pool import Window, average_pool2d
from .limits import strip_limits
from .quantized import Emitter, Facts, Parameters, Plan


def plan_average(facts: Facts, value: relax.Expr, target: Parameters | None) -> Plan | None:
    """Plan an average over a window of NHWC data."""
    limited = strip_limits(facts, value)
    call = facts.definition(limited.value)
    name = op_name(call)
    if name not in _WINDOWS:
        return None
    data = facts.parameters(call.args[0])
    if data is None:
        return None
    window = _WINDOWS[name](call)
    if isinstance(window, str):
        facts.refuse(call, window)
        return None
    _, height, width, _ = shape_of(call.args[0])
    multiplier = data.scale / window.counts(height, width)
    if target is None:
        lower, upper = (None if math.isinf(limit) else limit for limit in (limited.lower, limited.upper))
        epilogue: Requantize | Dequantize = Dequantize(lower, upper)
    else:
        conversion = Conversion(facts.row.converts_by)
        epilogue = Requantize(target.output(limited.lower, limited.upper), conversion)
        multiplier = multiplier / target.scale
    layer = layer_name(call)
    define = partial(average_pool2d, window=window, zero_point=data.zero_point, epilogue=epilogue)

    def build(emitter: Emitter) -> relax.Var:
        result = emitter.call(
            define,
            emitter.integers(call.args[0]),
            relax.const(multiplier.astype(np.float32)),
            name="qaverage_pool2d",
            layer=layer,
        )
        if shape_of(result) == shape_of(call):
            return result
        return emitter.emit(relax.op.reshape(result, shape_of(call)), layer)

    return Plan(layer, (call.args[0],), build, limited.names)


def _pair(values) -> tuple[int, int]:
    first, second = (int(value) for value in values)
    return first, second


def window_of_pool(call: relax.Call) -> Window | str:
    attrs = call.attrs
    if attrs.layout != "NHWC":
        return f"its layout is {attrs.layout}: run Layout before Realize"
    top, left, bottom, right = (int(width) for width in attrs.padding)
    return Window(
        size=_pair(attrs.pool_size),
        strides=_pair(attrs.strides),
        padding=(top, left, bottom, right),
        dilation=_pair(attrs.dilation),
        ceil_mode=bool(attrs.ceil_mode),
        count_include_pad=bool(attrs.count_include_pad),
    )


def _window_of_adaptive(call: relax.Call) -> Window | str:
    if call.attrs.layout != "NHWC":
        return f"its layout is {call.attrs.layout}: run Layout before Realize"
    _, height, width, _ = shape_of(call.args[0])
    _, out_h, out_w, _ = shape_of(call)
    if height % out_h or width % out_w:
        return f"its {out_h}x{out_w} result does not divide the {height}x{width} image"
    size = (height // out_h, width // out_w)
    return Window(size, size, (0, 0, 0, 0), (1, 1), False, True)


def _window_of_mean(call: relax.Call) -> Window | str:
    shape = shape_of(call.args[0])
    axes = [] if call.attrs.axis is None else sorted(int(axis) % len(shape) for axis in call.attrs.axis)
    if len(shape) != 4 or axes != [1, 2]:
        return f"a mean over axes {axes} of {len(shape)} is no image average"
    return Window(shape[1:3], shape[1:3], (0, 0, 0, 0), (1, 1), False, True)


_WINDOWS = {
    "relax.nn.avg_pool2d": window_of_pool,
    "relax.nn.adaptive_avg_pool2d": _window_of_adaptive,
    "relax.mean": _window_of_mean,
}
