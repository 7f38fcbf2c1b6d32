"""Block annotations: what an operator's definition tells the schedule rules."""

from __future__ import annotations

KERNEL = "tvmq.kernel"
"""Kernel family: of an accumulator block ``"contraction"``, ``"depthwise"`` or ``"pool"``; ``"table"`` of a look-up,
``"bits"`` of making bits of floats; ``"attention"``.
"""

ATTENTION = "tvmq.attention"
"""Of an attention's result: which one it is, as ``compute.attention.Attention`` writes it."""

START = "tvmq.start"
"""Marks the block that adds an accumulator's offset: ``schedules.start`` makes it the accumulator's start."""

FLAT = "tvmq.flat"
"""Marks a scheduled block that reads each tensor where it writes, so that all of them may be taken as one long row."""

INSIDE = "tvmq.inside"
"""Of a convolution's accumulator whose padding adds nothing: stride, dilation, padding in front and extent of the data,
first down, then across.
"""

MATRIX = "tvmq.matrix"
"""Of an accumulator of two rows at a time, which lies as (rows / 2, blocks, lanes / 2, 2 rows, 2 lanes)."""

INTO_ROWS = "tvmq.into_rows"
"""Marks the block that brings such an accumulator into rows."""

DATA_BITS = "tvmq.data_bits"
"""Of an accumulator whose activations are of so few bits, not below 0, that the target has products for them."""

HELD = "tvmq.held"
"""Of an accumulator: registers that its weights take beside a tile."""

STEPS = "tvmq.steps"
"""How many groups of the inner product an instruction of the accumulator takes at a time."""

MERGED = "tvmq.merged"
"""Marks an accumulator whose rows are those of several axes of the result; its value is how long a row of that is."""

WORDS = "tvmq.words"
"""How many packed words an instruction of the accumulator takes at a time, where it unpacks them."""

PACK = "tvmq.pack"
"""Marks the block that brings an activation into the layout of weights: all of it once, before the accumulator."""

INDEPENDENT = "tvmq.independent"
"""Marks a block of one loop whose steps know nothing of each other; what the block allocates is for one step."""

BY_THREADS = "tvmq.by_threads"
"""Marks a loop, within an ``INDEPENDENT`` block, whose steps may be done in any order: a GPU has a block of threads for
each step of the block's loop, which share out the steps of the marked ones. CPUs do not look at it.
"""

ROWS = "tvmq.rows"
"""Marks the blocks of a function that works row by row; its value is how many leading axes count the rows."""

TAIL = "tvmq.tail"
"""Of narrow sums of one-bit products: as in ``targets.bit_products``."""

THRESHOLD = "tvmq.threshold"
"""From which number on floats are the bit 1."""

BITS = "tvmq.bits"
"""Marks a kernel's result that has a bit for each lane of the accumulator."""

NARROW = "tvmq.narrow"
"""Marks the block of sums in a dtype narrower than the accumulator's, which reads them; its value is the extents of the
loops of the whole sum.
"""

SCALED = "tvmq.scaled"
"""Of a block that unpacks float weights ``[columns, inner]`` from ``packing.pack_words`` and scales: bits of a weight,
and how many neighbours share a scale.
"""

UNPACK = "tvmq.unpack"
"""Marks the block that unpacks weights; its value is how many neighbouring steps lie in one word."""

WINDOWS = "tvmq.windows"
"""Of the sums of a gradient by weights: the convolution's geometry, the JSON of ``compute.contraction.Conv2d``."""

PHASES = "tvmq.phases"
"""Marks a block whose rows and columns take turns in what they read: every so manieth, down and across, reads alike."""

PACKED = "tvmq.packed"
"""Marks the block of a function that only brings weights into a kernel's layout, ``[..., taps, steps, lanes, depth]``;
its value is how many axes are in front of the taps.
"""
