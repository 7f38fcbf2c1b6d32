"""Every TFLite operator that is known, and what writes its body."""

from __future__ import annotations

from ...onnx.contrib.body import Write
from .detection import detection_postprocess
from .elementwise import ELEMENTWISE
from .moves import MOVES
from .pooling import POOLING
from .quantization import QUANTIZATION
from .resize import RESIZE
from .weighted import (
    batch_matmul,
    conv_2d,
    conv_3d,
    depthwise_conv_2d,
    fully_connected,
    transpose_conv,
)

BODIES: dict[str, Write] = {
    **ELEMENTWISE,
    **MOVES,
    **POOLING,
    **QUANTIZATION,
    **RESIZE,
    "BATCH_MATMUL": batch_matmul,
    "CONV_2D": conv_2d,
    "CONV_3D": conv_3d,
    "DEPTHWISE_CONV_2D": depthwise_conv_2d,
    "FULLY_CONNECTED": fully_connected,
    "TFLite_Detection_PostProcess": detection_postprocess,
    "TRANSPOSE_CONV": transpose_conv,
}

EXACT = frozenset(
    {
        *(*MOVES, *QUANTIZATION, *RESIZE),
        *("ADD", "ARG_MAX", "ARG_MIN", "AVERAGE_POOL_2D", "CONV_2D", "CUMSUM", "DEPTHWISE_CONV_2D", "EQUAL"),
        *(
            "FLOOR_DIV",
            "FLOOR_MOD",
            "FULLY_CONNECTED",
            "GREATER",
            "GREATER_EQUAL",
            "HARD_SWISH",
            "LEAKY_RELU",
            "LESS",
        ),
        *(
            "LESS_EQUAL",
            "LOGICAL_AND",
            "LOGICAL_OR",
            "LOGISTIC",
            "MAXIMUM",
            "MAX_POOL_2D",
            "MEAN",
            "MINIMUM",
            "MUL",
        ),
        *("NOT_EQUAL", "PRELU", "REDUCE_ALL", "REDUCE_ANY", "REDUCE_MAX", "REDUCE_MIN", "RELU", "RELU6"),
        *("RELU_N1_TO_1", "SELECT", "SELECT_V2", "SOFTMAX", "SUB", "TANH", "TFLite_Detection_PostProcess"),
        "TRANSPOSE_CONV",
    }
)
"""Those that give TFLite's own integers of quantized tensors where they are asked to; the others are refused then."""
