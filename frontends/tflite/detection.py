"""The kernel of TFLite's detection postprocessing: of boxes that overlap, the one with the highest score remains.

    for each class:  take the active box of the highest score, as long as it reaches the threshold and there is room,
                     and make those inactive whose intersection with it, over their union, is beyond a limit
    of all taken, the ones of the highest scores remain, the earlier of equal ones

Definition: ``tensorflow/lite/kernels/detection_postprocess.cc`` of TFLite. There it is one class with the highest score
of each box ("fast"), or each class alone ("regular").
"""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T


@dataclass(frozen=True)
class Limits:
    """What remains: so many boxes a class, and of all; from this score on, and up to this overlap."""

    of_class: int
    of_all: int
    score: float
    overlap: float


def detections(classes: int, count: int, limits: Limits) -> tirx.PrimFunc:
    """Return the function ``(boxes [N, 4], scores [C, N], labels [C, N], boxes, labels, scores, number that remain)``.

    Boxes are (top, left, bottom, right), float32; labels int32; results float32 of ``[1, M, 4]``, ``[1, M]``,
    ``[1, M]`` and ``[1]``, zeros behind the last that remains.
    """
    taken = classes * limits.of_class
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        boxes = T.arg("boxes", T.buffer((count, 4), "float32"))
        scores = T.arg("scores", T.buffer((classes, count), "float32"))
        labels = T.arg("labels", T.buffer((classes, count), "int32"))
        shapes = ((1, limits.of_all, 4), (1, limits.of_all), (1, limits.of_all), (1,))
        results = [T.arg(f"result_{at}", T.buffer(shape, "float32")) for at, shape in enumerate(shapes)]
        with T.sblock("root"):
            active = T.sblock_alloc_buffer((count,), "int32")
            kept = T.sblock_alloc_buffer(
                (3, taken), "int32"
            )  # class and box, and whether it waits to be chosen
            state = T.sblock_alloc_buffer((2,), "int32")  # how many are taken, and the best, -1 for none
            with T.sblock("detections"):
                T.reads(boxes[0:count, 0:4], scores[0:classes, 0:count], labels[0:classes, 0:count])
                T.writes(*(result[tuple(slice(0, extent) for extent in result.shape)] for result in results))
                T.buffer_store(state, _int(0), [0])
                with T.serial(classes) as own:
                    _take_class(boxes, scores, active, kept, state, own, count, limits)
                _choose(boxes, scores, labels, kept, state, results, taken, limits)
    return builder.get()


def _int(value: int) -> tirx.Expr:
    return tirx.const(value, "int32")


def _float(value: float) -> tirx.Expr:
    return tirx.const(value, "float32")


def _take_class(boxes, scores, active, kept, state, own, count: int, limits: Limits) -> None:
    """Take the boxes of one class."""
    with T.serial(count) as at:
        T.buffer_store(active, tirx.Cast("int32", scores[own, at] >= _float(limits.score)), [at])
    with T.serial(limits.of_class):
        T.buffer_store(state, _int(-1), [1])
        with T.serial(count) as at, T.If(active[at] > _int(0)), T.Then():
            _prefer(state, at, scores[own, at], lambda best: scores[own, best])
        with T.If(state[1] >= _int(0)), T.Then():
            best = T.Bind(state[1])
            for row, value in enumerate((own, best, _int(1))):
                T.buffer_store(kept, value, [row, state[0]])
            T.buffer_store(state, state[0] + _int(1), [0])
            T.buffer_store(active, _int(0), [best])
            with T.serial(count) as other, T.If(active[other] > _int(0)), T.Then():
                overlap = _overlap(boxes, best, other)
                with T.If(overlap > _float(limits.overlap)), T.Then():
                    T.buffer_store(active, _int(0), [other])


def _prefer(state, at, score, score_of) -> None:
    """Make ``at`` the best where there is none, or one of a lower score."""
    with T.If(state[1] < _int(0)):
        with T.Then():
            T.buffer_store(state, at, [1])
        with T.Else(), T.If(score > score_of(state[1])), T.Then():
            T.buffer_store(state, at, [1])


def _overlap(boxes, one, other) -> tirx.Expr:
    """Return the intersection of two boxes over their union; 0 where one of them is empty."""

    def area(top, left, bottom, right) -> tirx.Expr:
        return (bottom - top) * (right - left)

    corners = [[boxes[box, axis] for axis in range(4)] for box in (one, other)]
    areas = [T.Bind(area(*each)) for each in corners]
    low = [T.Bind(tirx.max(corners[0][axis], corners[1][axis])) for axis in (0, 1)]
    high = [T.Bind(tirx.min(corners[0][axis], corners[1][axis])) for axis in (2, 3)]
    sides = [tirx.max(end - start, _float(0)) for start, end in zip(low, high, strict=True)]
    common = T.Bind(sides[0] * sides[1])
    union = areas[0] + areas[1] - common
    is_empty = tirx.any(areas[0] <= _float(0), areas[1] <= _float(0))
    return T.Bind(tirx.Select(is_empty, _float(0), common / tirx.Select(is_empty, _float(1), union)))


def _choose(boxes, scores, labels, kept, state, results, taken: int, limits: Limits) -> None:
    """Write the taken boxes of the highest scores."""
    out_boxes, out_labels, out_scores, out_number = results
    T.buffer_store(out_number, _float(0), [0])
    with T.serial(limits.of_all) as place:
        T.buffer_store(state, _int(-1), [1])
        with T.serial(taken) as at, T.If(at < state[0]), T.Then(), T.If(kept[2, at] > _int(0)), T.Then():
            _prefer(
                state, at, scores[kept[0, at], kept[1, at]], lambda best: scores[kept[0, best], kept[1, best]]
            )
        with T.If(state[1] >= _int(0)):
            with T.Then():
                best = T.Bind(state[1])
                own, box = T.Bind(kept[0, best]), T.Bind(kept[1, best])
                T.buffer_store(kept, _int(0), [2, best])
                for axis in range(4):
                    T.buffer_store(out_boxes, boxes[box, axis], [0, place, axis])
                T.buffer_store(out_labels, tirx.Cast("float32", labels[own, box]), [0, place])
                T.buffer_store(out_scores, scores[own, box], [0, place])
                T.buffer_store(out_number, out_number[0] + _float(1), [0])
            with T.Else():
                for axis in range(4):
                    T.buffer_store(out_boxes, _float(0), [0, place, axis])
                T.buffer_store(out_labels, _float(0), [0, place])
                T.buffer_store(out_scores, _float(0), [0, place])
