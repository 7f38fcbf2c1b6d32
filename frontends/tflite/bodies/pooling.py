"""Windows and axes that become one number: pooling, and reductions."""

from __future__ import annotations

from functools import partial

from tflite import Padding

from ...onnx.contrib.body import Write
from ..body import OperatorBody
from . import exact
from .weighted import auto_pad


def pool(
    operator: str, body: OperatorBody, data: str, *, padding: int = 0, stride_w: int = 1, stride_h: int = 1,
    filter_width: int = 1, filter_height: int = 1, fused_activation_function: int = 0, **_,
) -> str:  # fmt: skip
    """Write a pooling that ONNX has; what is outside of the image does not count."""
    if operator == "AveragePool" and body.is_exact(data):
        size, strides = (filter_height, filter_width), (stride_h, stride_w)
        return exact.average_pool(
            body, data, size, strides, padding == Padding.SAME, fused_activation_function
        )

    def on_channels_first(image: str) -> str:
        value = body(
            operator, image, kernel_shape=(filter_height, filter_width), strides=(stride_h, stride_w),
            auto_pad=auto_pad(padding),
        )  # fmt: skip
        return body.activated(value, fused_activation_function)

    return body.result_of_image(data, on_channels_first)


def axes_of(body: OperatorBody, data: str, axes: str) -> list[int]:
    """Return the axes that an input names, not negative and in order."""
    rank = len(body.shapes[data])
    return sorted({axis % max(rank, 1) for axis in body.numbers(axes, "list of axes")})


def reduced(operator: str, body: OperatorBody, data: str, axes: str, *, keep_dims: int = 0, **_) -> str:
    """Write a reduction that ONNX has."""
    found = axes_of(body, data, axes)
    if not found:
        return body.result(body("Identity", body.real(data)))
    return body.result(body(operator, body.real(data), body.constant(found), keepdims=keep_dims))


def mean(body: OperatorBody, data: str, axes: str, *, keep_dims: int = 0, **_) -> str:
    if body.is_exact(data):
        return exact.mean(body, data, axes_of(body, data, axes), keep_dims)
    if len(body.shapes[data]) != 4 or axes_of(body, data, axes) != [1, 2]:
        return reduced("ReduceMean", body, data, axes, keep_dims=keep_dims)
    image = body.result_of_image(
        data, lambda first: body("ReduceMean", first, body.constant([2, 3]), keepdims=1)
    )
    return image if keep_dims else body.reshape(image, body.shapes[data][0], body.shapes[data][3])


def of_truth(operator: str, body: OperatorBody, data: str, axes: str, *, keep_dims: int = 0, **_) -> str:
    """Write whether any, or all, of the truth values on some axes hold."""
    found = body(
        operator, body("Cast", data, to=6), body.constant(axes_of(body, data, axes)), keepdims=keep_dims
    )
    return body("Cast", found, to=9)


def position(operator: str, body: OperatorBody, data: str, axis: str, *, output_type: int = 4, **_) -> str:
    """Write where the largest, or smallest, number of an axis is: int64, or int32."""
    (found,) = axes_of(body, data, axis)
    value = body(operator, body.real(data), axis=found, keepdims=0)
    return body("Cast", value, to=6) if output_type == 2 else value


def cumsum(body: OperatorBody, data: str, axis: str, *, exclusive: int = 0, reverse: int = 0, **_) -> str:
    (place,) = body.numbers(axis, "axis")
    return body("CumSum", data, body.constant(place), exclusive=exclusive, reverse=reverse)


POOLING: dict[str, Write] = {
    "ARG_MAX": partial(position, "ArgMax"),
    "ARG_MIN": partial(position, "ArgMin"),
    "AVERAGE_POOL_2D": partial(pool, "AveragePool"),
    "CUMSUM": cumsum,
    "MAX_POOL_2D": partial(pool, "MaxPool"),
    "MEAN": mean,
    "REDUCE_ALL": partial(of_truth, "ReduceMin"),
    "REDUCE_ANY": partial(of_truth, "ReduceMax"),
    "REDUCE_MAX": partial(reduced, "ReduceMax"),
    "REDUCE_MIN": partial(reduced, "ReduceMin"),
    "REDUCE_PROD": partial(reduced, "ReduceProd"),
    "SUM": partial(reduced, "ReduceSum"),
}
