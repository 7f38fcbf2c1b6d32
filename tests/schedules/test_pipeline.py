"""Building: memory is planned and reported, and kernels know the user's nodes."""

from __future__ import annotations

import numpy as np
import tvm
from tvm import relax

from tvmq.passes.hub.graph import with_layer_name
from tvmq.schedules import pipeline
from tvmq.targets.rows import PORTABLE as ROW

TARGET = tvm.target.Target({"kind": "llvm"})


def chain(length: int) -> tvm.IRModule:
    """Return a chain of matmuls over 16 x 64 numbers, each behind the node ``dense_i``."""
    x = relax.Var("x", relax.TensorType((16, 64), "float32"))
    builder = relax.BlockBuilder()
    rng = np.random.default_rng(0)
    with builder.function("main", [x]):
        with builder.dataflow():
            value = x
            for index in range(length):
                weight = relax.const(rng.standard_normal((64, 64)).astype(np.float32))
                value = builder.emit(with_layer_name(relax.op.matmul(value, weight), f"dense_{index}"))
                value = builder.emit(with_layer_name(relax.op.nn.relu(value), f"relu_{index}"))
            out = builder.emit_output(value)
        builder.emit_func_output(out)
    return builder.get()


def test_values_between_kernels_share_memory():
    """However long the chain, two buffers of 4 kB take turns."""
    tensor = 16 * 64 * 4
    assert pipeline.build(chain(2), TARGET, ROW).activation_bytes == tensor
    assert pipeline.build(chain(6), TARGET, ROW).activation_bytes == 2 * tensor


def test_a_fused_kernel_names_all_its_nodes():
    built = pipeline.build(chain(3), TARGET, ROW)
    assert [names for _, names in built.kernels] == [[f"dense_{i}", f"relu_{i}"] for i in range(3)]
    # Equal shapes share one function.
    assert len({name for name, _ in built.kernels}) == 1


def test_a_constant_without_elements_can_be_loaded(tmp_path):
    x = relax.Var("x", relax.TensorType((2, 4), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            empty = relax.const(np.zeros((2, 0), np.float32))
            out = builder.emit_output(builder.emit(relax.op.concat([x, empty], 1)))
        builder.emit_func_output(out)
    library = tmp_path / "mod.so"
    pipeline.build(builder.get(), TARGET, ROW).executable.export_library(str(library))
    tvm.runtime.load_module(str(library))
