"""Names of kernels: operation, kernel size, shape of the input, output channels.

They end in a letter, because TVM appends a number to a name that is taken.
"""

from __future__ import annotations

from collections.abc import Sequence


def kernel_name(operation: str, data: Sequence[int], channels: int, window: Sequence[int] = ()) -> str:
    """Return a name such as ``"qconv2d_3x3_1x56x56x64_128ch"``."""
    parts = [operation, *(["x".join(map(str, window))] if window else []), "x".join(map(str, data))]
    return "_".join([*filter(None, parts), f"{channels}ch"])
