"""Images of another size."""

from __future__ import annotations

from functools import partial

from ...onnx.contrib.body import Write
from ..body import OperatorBody
from . import exact


def resize(
    mode: str,
    body: OperatorBody,
    data: str,
    size: str,
    *,
    align_corners: int = 0,
    half_pixel_centers: int = 0,
    **_,
) -> str:
    """Write a resizing by ONNX's; the nearest pixel is the one below, or the rounded one."""
    height, width = body.numbers(size, "size")
    if mode == "linear" and body.is_exact(data):
        return exact.resize_bilinear(body, data, (height, width), align_corners, half_pixel_centers)
    batch, *_size, channels = body.shapes[data]
    where = "align_corners" if align_corners else "half_pixel" if half_pixel_centers else "asymmetric"
    # Between the centres of pixels it is the floor of (x + 1/2) * scale, from which ONNX takes a half off first.
    nearest = "floor" if where == "asymmetric" else "round_prefer_ceil"

    def on_channels_first(image: str) -> str:
        sizes = body.constant([batch, channels, height, width])
        return body(
            "Resize",
            image,
            "",
            "",
            sizes,
            mode=mode,
            coordinate_transformation_mode=where,
            nearest_mode=nearest,
        )

    return body.result_of_image(data, on_channels_first)


RESIZE: dict[str, Write] = {
    "RESIZE_BILINEAR": partial(resize, "linear"),
    "RESIZE_NEAREST_NEIGHBOR": partial(resize, "nearest"),
}
