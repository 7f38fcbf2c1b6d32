"""``TFLite_Detection_PostProcess``: encoded boxes and scores of classes to the detections that remain."""

from __future__ import annotations

from ..body import OperatorBody
from ..own_operators import DOMAIN


def detection_postprocess(
    body: OperatorBody, boxes: str, predictions: str, anchors: str, *, max_detections: int = 0,
    max_classes_per_detection: int = 1, detections_per_class: int = 100, use_regular_nms: int = 0,
    nms_score_threshold: float = 0.0, nms_iou_threshold: float = 0.6, num_classes: int = 0, y_scale: float = 1.0,
    x_scale: float = 1.0, h_scale: float = 1.0, w_scale: float = 1.0, **_,
) -> list[str]:  # fmt: skip
    batch, count, labels = body.shapes[predictions]
    if batch != 1 or body.shapes[boxes] != (1, count, 4):
        raise ValueError(
            f"its boxes have the shape {list(body.shapes[boxes])}; one image with four numbers a box"
        )
    if not 0 <= labels - num_classes <= 1 or not num_classes or not max_detections:
        raise ValueError(
            f"it has {labels} scores a box for {num_classes} classes and {max_detections} detections"
        )
    if max_classes_per_detection != 1 and not use_regular_nms:
        raise ValueError(f"{max_classes_per_detection} classes for a detection are not supported")
    corners = _decoded(body, body.real(boxes), body.real(anchors), (y_scale, x_scale, h_scale, w_scale))
    scores = body.reshape(body.real(predictions), count, labels)
    if labels > num_classes:  # the first is the background
        bounds = (body.constant([each]) for each in (1, labels, 1))
        scores = body("Slice", scores, *bounds)
    if use_regular_nms:
        scores = body("Transpose", scores, perm=[1, 0])
        own = body.constant([[label] * count for label in range(num_classes)], "int32")
    else:
        own = body.reshape(body("Cast", body("ArgMax", scores, axis=1, keepdims=0), to=6), 1, count)
        scores = body.reshape(body("ReduceMax", scores, body.constant([1]), keepdims=0), 1, count)
    return body.several(
        f"{DOMAIN}.Detections", 4, corners, scores, own, domain=DOMAIN,
        of_class=detections_per_class if use_regular_nms else max_detections, of_all=max_detections,
        score=nms_score_threshold, overlap=nms_iou_threshold,
    )  # fmt: skip


def _decoded(body: OperatorBody, boxes: str, anchors: str, scales: tuple[float, ...]) -> str:
    """Return boxes ``[N, 4]`` as (top, left, bottom, right), of offsets and logarithms of sizes by their anchors."""
    encoded = body("Div", body("Squeeze", boxes, body.constant([0])), body.constant(scales, "float32"))
    (y, x, h, w), (anchor_y, anchor_x, anchor_h, anchor_w) = (
        body.split(value, [1] * 4, 1) for value in (encoded, anchors)
    )
    ends = []
    for offset, size, anchor, extent in ((y, h, anchor_y, anchor_h), (x, w, anchor_x, anchor_w)):
        centre = body("Add", body("Mul", offset, extent), anchor)
        half = body("Mul", body("Mul", body("Exp", size), extent), body.constant(0.5, "float32"))
        ends.append((body("Sub", centre, half), body("Add", centre, half)))
    (top, bottom), (left, right) = ends
    return body("Concat", top, left, bottom, right, axis=1)
