"""Every TFLite operator that is known, and what writes its body."""

from __future__ import annotations

from ..body import Write
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
