"""Compressed weights --> float constants: the same numbers, as simulation and tuning want them."""

from __future__ import annotations

from dataclasses import dataclass

import tvm
from tvm import IRModule, relax

from ..hub.compressed import compressed
from ..hub.graph import constant, rebuild


@tvm.transform.module_pass(opt_level=0, name="tvmq.RestoreWeights")
@dataclass(frozen=True)
class RestoreWeights:
    """Put float constants for compressed weights: the same numbers, as simulation and tuning want them."""

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module without compressed weights."""
        values = {var: constant(codes.values()) for var, codes in compressed(mod).items()}
        if not values:
            return mod
        restored = rebuild(mod, lambda builder, var, value: values.get(var, value))
        return relax.transform.DeadCodeElimination()(restored)
