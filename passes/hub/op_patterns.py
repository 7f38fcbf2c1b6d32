"""TVM's ``OpPatternKind``: what ``FuseOps`` makes one kernel of. It is a function's attribute ``op_pattern``.

TVM finds it from the loops, unless the function says it. It takes an unrolled sum, which has no loop, for an injective
function.
"""

INJECTIVE = 2
"""A function that is fused with what is before and behind it. TVM takes one that reads its indices for opaque."""

OUT_ELEMWISE_FUSABLE = 4
"""Elementwise operators may be fused behind it."""

OPAQUE = 8
"""Nothing is fused with it."""
