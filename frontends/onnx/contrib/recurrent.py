"""onnxruntime's LSTM with integer weights, as an LSTM in float.

DynamicQuantizeLSTM(x, Wq, Rq, ..)  -->  LSTM(x, (Wq - zero point)^T * scale, (Rq - zero point)^T * scale, ..)
"""

from __future__ import annotations

import numpy as np

from .body import Body


def dynamic_quantize_lstm(
    body: Body,
    x: str,
    w: str,
    r: str,
    b: str = "",
    lengths: str = "",
    first_h: str = "",
    first_c: str = "",
    peepholes: str = "",
    w_scale: str = "",
    w_zero_point: str = "",
    r_scale: str = "",
    r_zero_point: str = "",
    **attributes,
) -> tuple[str, ...]:
    weights = _restored(body, w, w_scale, w_zero_point)
    recurrent = _restored(body, r, r_scale, r_zero_point)
    operands = x, weights, recurrent, b, lengths, first_h, first_c, peepholes
    return tuple(body.several("LSTM", 3, *operands, **attributes))


def _restored(body: Body, name: str, scale: str, zero_point: str) -> str:
    """Return weights ``[directions, K, gates * hidden]`` as ONNX's LSTM has them, with the last two axes swapped.

    Scales and zero points are those of a direction, or of each of its columns.
    """
    values, scales, zeros = (body.inputs[each].value for each in (name, scale, zero_point))
    if values is None or scales is None or zeros is None:
        raise ValueError("its weights, their scales and zero points must be constant")
    count = len(values)
    centred = values.astype(np.float32) - zeros.astype(np.float32).reshape(count, 1, -1)
    return body.constant(np.swapaxes(centred * scales.reshape(count, 1, -1), 1, 2), "float32")
