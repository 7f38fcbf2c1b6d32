"""Kernels of statements as they stand: a thread for each element of their axes.

    argmax: for each row: best = first; for each number: if it is better: best = it

It is what is left for steps that are no expressions: ordering, running sums, reductions of pairs. Statements that
launch threads of their own, such as those of TVM's scattering, are left alone.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from . import teams
from .definition import Opaque
from .moving import moved
from .vectors import place_of, under

logger = logging.getLogger(__name__)

THREADS = 64


def emit(step: Opaque, stored: Mapping[tirx.Buffer, tirx.Buffer]) -> None:
    """Emit the launch of the kernel.

    Parameters
    ----------
    stored : buffers that are no parameters, and where they are.
    """
    if step.launches:
        T.add_to_parent(moved(step.body, stored, {}))
        return
    if teams.is_shared_out(step):
        teams.emit(step, stored)
        return
    if not step.axes and not step.taps:
        logger.warning("%s runs in one thread of the GPU, which is slow", step.name)
    count = math.prod(step.extents)
    blocks = -(-count // THREADS)
    with T.launch_thread("blockIdx.x", blocks) as block, T.launch_thread("threadIdx.x", THREADS) as thread:
        number = block * THREADS + thread
        own = {
            buffer: T.alloc_buffer([int(extent) for extent in buffer.shape], str(buffer.dtype), scope="local")
            for buffer in step.own
        }
        places = dict(zip(step.axes, place_of(number, step.extents), strict=True))
        buffers = {**stored, **own}

        def element() -> None:
            if step.start is not None:
                T.add_to_parent(moved(step.start, buffers, places))
            _taps(step, buffers, places, list(zip(step.taps, step.tap_extents, strict=True)))

        under([number < count] if count % THREADS else [], element)


def _taps(
    step: Opaque,
    buffers: Mapping[tirx.Buffer, tirx.Buffer],
    places: Mapping[tirx.Var, tirx.Expr],
    taps: Sequence[tuple[tirx.Var, int]],
) -> None:
    if not taps:
        T.add_to_parent(moved(step.body, buffers, places))
        return
    (tap, extent), *rest = taps
    with T.serial(extent) as place:
        _taps(step, buffers, {**places, tap: place}, rest)
