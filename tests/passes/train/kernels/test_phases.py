"""Phases of a gradient through a stride."""

from __future__ import annotations

import pytest

from tvmq.passes.train.kernels.phases import phases

AXES = [
    # extent, kernel, stride, dilation, padding in front, and behind
    (9, 3, 1, 1, 1, 1),
    (9, 3, 2, 1, 1, 1),
    (10, 3, 2, 1, 0, 1),
    (10, 1, 2, 1, 0, 0),
    (12, 7, 4, 1, 3, 3),
    (13, 4, 3, 2, 2, 0),
    (11, 3, 2, 3, 1, 1),
    (12, 2, 3, 1, 0, 0),
    (5, 2, 1, 1, 3, 3),
]


@pytest.mark.parametrize("axis", AXES, ids=str)
def test_each_product_of_the_gradient_is_in_one_phase(axis):
    """What phases multiply is what reading forwards does, and nothing else."""
    extent, kernel, stride, dilation, front, behind = axis
    out_extent = (extent + front + behind - (kernel - 1) * dilation - 1) // stride + 1
    forwards = {
        (place * stride + tap * dilation - front, tap, place)
        for place in range(out_extent)
        for tap in range(kernel)
        if 0 <= place * stride + tap * dilation - front < extent
    }
    found = set()
    for start, phase in enumerate(phases(extent, kernel, stride, dilation, front, out_extent)):
        if not phase.taps:
            continue
        length = out_extent - sum(phase.cut) + sum(phase.padding)
        assert length - (len(phase.taps) - 1) * phase.dilation == phase.extent
        for own in range(phase.extent):
            for turn, tap in enumerate(phase.taps):
                place = own + turn * phase.dilation - phase.padding[0] + phase.cut[0]
                if 0 <= place < out_extent:
                    found.add((start + own * stride, tap, place))
    assert found == forwards


def test_no_filter_reaches_between_the_places_of_a_wide_stride():
    assert [len(phase.taps) for phase in phases(10, 1, 2, 1, 0, 5)] == [1, 0]
