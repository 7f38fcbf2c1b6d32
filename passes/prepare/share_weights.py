"""Equal weights of several operators --> one constant that all of them read.

    conv2d(x, w), conv2d(y, w')  -->  conv2d(x, w), conv2d(y, w)       where w' equals w

A head that several branches share is one initializer of the ONNX file, but the rewrites before make a constant of each
use. Behind this pass it has one pair, and so one set of scales and integers, and each branch its own activation's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import tvm
from tvm import IRModule, relax

from ..hub.graph import is_constant, op_name, rebuild, to_numpy
from ..hub.operators import WEIGHT_AXIS


@tvm.transform.module_pass(opt_level=0, name="tvmq.ShareWeights")
@dataclass(frozen=True)
class ShareWeights:
    """Let weighted operators with equal weights read the first one's."""

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module in which no two weights are equal."""
        first: dict[Hashable, relax.Expr] = {}

        def rewrite(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
            if op_name(value) not in WEIGHT_AXIS or not is_constant(value.args[1]):
                return value
            weight = np.ascontiguousarray(to_numpy(value.args[1]))
            key = (str(weight.dtype), weight.shape, hashlib.sha256(weight.tobytes()).digest())
            args = [value.args[0], first.setdefault(key, value.args[1])]
            return relax.Call(value.op, args, value.attrs, value.ty_args, span=value.span)

        return rebuild(mod, rewrite)
