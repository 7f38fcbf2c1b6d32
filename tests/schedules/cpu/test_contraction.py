"""What the contraction rule accepts from fusion."""

from __future__ import annotations

import numpy as np
import tvm
from tvm import relax

from tvmq.schedules import pipeline
from tvmq.targets.rows import PORTABLE as ROW

TARGET = tvm.target.Target({"kind": "llvm"})


def test_a_producer_of_the_other_operand_is_fused_in():
    """``matmul(x, w) + relu(y)`` is one function, with the relu in front: it stays a kernel in tiles."""
    rng = np.random.default_rng(0)
    weight = rng.integers(-3, 4, (48, 32)).astype(np.float32)
    left, right = (rng.integers(-3, 4, shape).astype(np.float32) for shape in ((24, 48), (24, 32)))
    x, y = (relax.Var(name, relax.TensorType(a.shape, "float32")) for name, a in (("x", left), ("y", right)))
    builder = relax.BlockBuilder()
    with builder.function("main", [x, y]):
        with builder.dataflow():
            other = builder.emit(relax.op.nn.relu(y))
            product = builder.emit(relax.op.matmul(x, relax.const(weight)))
            out = builder.emit_output(builder.emit(relax.op.add(product, other)))
        builder.emit_func_output(out)
    built = pipeline.build(builder.get(), TARGET, ROW)
    (func,) = [func for func in built.mod.functions.values() if isinstance(func, tvm.tirx.PrimFunc)]
    assert "accumulator_init" in func.script()
    main = relax.VirtualMachine(built.executable, tvm.cpu())["main"]
    result = main(tvm.runtime.tensor(left), tvm.runtime.tensor(right)).numpy()
    np.testing.assert_array_equal(result, left @ weight + np.maximum(right, 0))  # small integers: exact
