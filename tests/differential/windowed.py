"""Convolutions, pooling and resizing, each a function that adds a node; what they give is in ``formulas``."""

from __future__ import annotations

import numpy as np

from . import formulas
from .draft import Draft


def _spatial(draft: Draft) -> tuple[tuple[int, ...], tuple[int, ...], list[int], list[int]]:
    """Return extents, kernel, strides and dilations of one to three axes."""
    rank = draft.one_of(1, 2, 2, 2, 3)
    extents = tuple(draft.integer(3, 9) for _ in range(rank))
    kernel = tuple(draft.integer(1, 3) for _ in range(rank))
    strides = [draft.integer(1, 3) for _ in range(rank)]
    dilations = [draft.integer(1, 2) if (k - 1) * 2 < n else 1 for k, n in zip(kernel, extents, strict=True)]
    return extents, kernel, strides, dilations


def _padded(
    draft: Draft, extents: tuple[int, ...], kernel: tuple[int, ...], strides: list[int], dilations: list[int]
) -> tuple[dict, list[int]]:
    """Return attributes that ask for padding, and the pads that they come to."""
    rank = len(kernel)
    mode = draft.one_of("pads", "pads", "VALID", "SAME_UPPER", "SAME_LOWER", None)
    if mode == "pads":
        pads = [draft.integer(0, k - 1) for _ in range(2) for k in kernel]
        return {"pads": pads}, pads
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        return {"auto_pad": mode}, formulas.same_pads(extents, kernel, strides, dilations, mode)
    return {"auto_pad": mode}, [0] * (2 * rank)


def convolution(draft: Draft, op_type: str) -> None:
    extents, kernel, strides, dilations = _spatial(draft)
    groups, channels, filters = _channels(draft)
    attributes, pads = _padded(draft, extents, kernel, strides, dilations)
    data = draft.fresh((draft.integer(1, 2), channels, *extents))
    weights = draft.array((filters, channels // groups, *kernel))
    weight = draft.constant(weights) if draft.chance(0.8) else draft.input(weights)
    bias = [draft.fresh((filters,))] if draft.chance() else []
    arrays = [draft.values[name] for name in (data, weight, *bias)] + [None] * (1 - len(bias))
    draft.node(
        op_type, data, weight, *bias, strides=strides, dilations=dilations, group=groups, **attributes,
        kernel_shape=draft.one_of(None, kernel),
        expected=[formulas.convolution(*arrays, strides, dilations, pads, groups)],
    )  # fmt: skip


def _channels(draft: Draft) -> tuple[int, int, int]:
    groups = draft.one_of(1, 1, 2, 3)
    channels, filters = groups * draft.integer(1, 4), groups * draft.integer(1, 4)
    return (channels, channels, channels) if draft.chance(0.2) else (groups, channels, filters)


def transposed_convolution(draft: Draft, op_type: str) -> None:
    extents, kernel, strides, dilations = _spatial(draft)
    groups, channels, filters = _channels(draft)
    extra = [draft.integer(0, stride - 1) for stride in strides] if draft.chance(0.3) else [0] * len(kernel)
    sides = list(zip(extents, kernel, strides, dilations, extra, strict=True))
    natural = [(n - 1) * s + (k - 1) * d + 1 + e for n, k, s, d, e in sides]
    mode = draft.one_of("pads", "pads", None, "VALID", "output_shape", "SAME_UPPER", "SAME_LOWER")
    attributes, pads = {}, [0] * (2 * len(kernel))
    if mode == "pads":
        pads = [
            draft.integer(0, min(k - 1, (extent - 1) // 2))
            for _ in range(2)
            for k, extent in zip(kernel, natural, strict=True)
        ]
        attributes["pads"] = pads
    elif mode == "VALID":
        attributes["auto_pad"] = mode
    elif mode:
        if mode == "output_shape":
            wanted = [draft.integer(max(1, extent - 3), extent) for extent in natural]
            attributes["output_shape"] = wanted
        else:
            wanted = [n * s for n, s in zip(extents, strides, strict=True)]
            attributes["auto_pad"] = mode
        surplus = [extent - want for extent, want in zip(natural, wanted, strict=True)]
        if min(surplus) < 0:  # what onnxruntime then does, no standard says
            return
        begins = [total // 2 if mode == "SAME_UPPER" else total - total // 2 for total in surplus]
        pads = [*begins, *(total - begin for total, begin in zip(surplus, begins, strict=True))]
    data = draft.fresh((draft.integer(1, 2), channels, *extents))
    weights = draft.array((channels, filters // groups, *kernel))
    weight = draft.constant(weights) if draft.chance(0.8) else draft.input(weights)
    bias = [draft.fresh((filters,))] if draft.chance() else []
    arrays = [draft.values[name] for name in (data, weight, *bias)] + [None] * (1 - len(bias))
    draft.node(
        op_type, data, weight, *bias, strides=strides, dilations=dilations, group=groups, **attributes,
        output_padding=extra if any(extra) else None, kernel_shape=draft.one_of(None, kernel),
        expected=[formulas.transposed_convolution(*arrays, strides, dilations, pads, extra, groups)],
    )  # fmt: skip


def pooling(draft: Draft, op_type: str) -> None:
    extents, kernel, strides, dilations = _spatial(draft)
    if draft.opset < 19 and op_type != "MaxPool":
        dilations = [1] * len(kernel)
    attributes, pads = _padded(draft, extents, kernel, strides, dilations)
    if "pads" in attributes:  # no window may lie in the padding alone
        pads = attributes["pads"] = [min(pad, k // 2) for pad, k in zip(pads, kernel * 2, strict=True)]
    how = {"ceil": "auto_pad" not in attributes and draft.chance(0.4)}
    attributes["ceil_mode"] = int(how["ceil"]) if how["ceil"] else None
    if any(dilation > 1 for dilation in dilations):
        attributes["dilations"] = dilations
    if op_type == "AveragePool":
        how["includes"] = bool(draft.integer(0, 1))
        attributes["count_include_pad"] = int(how["includes"])
    if op_type == "LpPool":
        how["p"] = attributes["p"] = draft.integer(1, 3)
    shape = (draft.integer(1, 2), draft.integer(1, 5), *extents)
    outputs = draft.one_of(1, 1, 2) if op_type == "MaxPool" else 1
    dtype = (
        draft.one_of("float32", "float32", "uint8", "int8")
        if op_type == "MaxPool" and outputs == 1
        else "float32"
    )
    data = draft.fresh(shape, dtype, 0 if dtype == "uint8" else -3)
    expected = formulas.pooling(op_type, draft.values[data], kernel, strides, dilations, pads, **how)
    draft.node(
        op_type,
        data,
        outputs=outputs,
        kernel_shape=kernel,
        strides=strides,
        **attributes,
        expected=expected[:outputs],
    )


def global_pooling(draft: Draft, op_type: str) -> None:
    data = draft.value(3)
    array = draft.values[data].astype("float64")
    over = tuple(range(2, array.ndim))
    if op_type == "GlobalLpPool":
        p = draft.integer(1, 3)
        result = (np.abs(array) ** p).sum(over, keepdims=True) ** (1 / p)
        draft.node(op_type, data, p=p, expected=[result.astype("float32")])
        return
    result = (array.max if op_type == "GlobalMaxPool" else array.mean)(over, keepdims=True)
    draft.node(op_type, data, expected=[result.astype("float32")])


def resize(draft: Draft, op_type: str) -> None:
    data = draft.fresh((1, draft.integer(1, 3), draft.integer(2, 6), draft.integer(2, 6)))
    mode = draft.one_of("nearest", "linear", "cubic")
    coordinates = draft.one_of("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    extra = (
        {"nearest_mode": draft.one_of("round_prefer_floor", "floor", "ceil", "round_prefer_ceil")}
        if mode == "nearest"
        else {}
    )
    if draft.chance():
        scales = np.array([1, 1, *(draft.one_of(0.5, 1.5, 2, 3) for _ in range(2))], np.float32)
        draft.node(
            op_type,
            data,
            "",
            draft.constant(scales),
            mode=mode,
            coordinate_transformation_mode=coordinates,
            **extra,
        )
    else:
        sizes = [*draft.shape_of(data)[:2], draft.integer(2, 9), draft.integer(2, 9)]
        draft.node(
            op_type,
            data,
            "",
            "",
            draft.constant(sizes),
            mode=mode,
            coordinate_transformation_mode=coordinates,
            **extra,
        )


def grid_sample(draft: Draft, op_type: str) -> None:
    data = draft.fresh((1, 2, draft.integer(2, 5), draft.integer(2, 5)))
    # Away from the edges of pixels, where the least error picks another one.
    grid = draft.input(
        (np.floor(draft.array((1, 3, 4, 2), low=-6, high=6)) / 5.37 + 0.0131).astype("float32")
    )
    draft.node(
        op_type, data, grid, mode=draft.one_of("linear", "nearest"), align_corners=draft.integer(0, 1),
        padding_mode=draft.one_of("zeros", "border", "reflection"),
    )  # fmt: skip
