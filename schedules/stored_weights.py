"""Compressed weights: unpacked once when a package is loaded, not in each run.

    main(x) { w = unpack(stream, table); conv2d(x, w) }
    -->
    main(x, w) { kernel(x, w) }        load_weights() { unpack(arranged stream, table) }

The codes are arranged as the kernel reads its weights before they are packed, so that unpacking is all that there is to
do. In memory the weights are float32, as those of a float model; in the package they have their few bits.
"""

from __future__ import annotations

from tvm import IRModule, relax

from ..passes.hub.codes import Codes
from ..passes.hub.compressed import compressed
from ..passes.hub.graph import bindings_of, layer_name, op_name, rebuild
from ..passes.hub.operators import WEIGHT_AXIS
from ..passes.realize.compute.dots import Dot
from ..passes.weight_only.emit import emit
from .weighted_kernels import WeightedKernel, weighted_kernel

LOADER = "load_weights"
INPUTS = "num_input"
"""Attribute of a function in TVM's own pipelines: how many of its parameters are inputs; the others are weights."""


def inputs_of(mod: IRModule) -> list[relax.Var]:
    """Return the parameters of ``main`` that a user gives."""
    function = mod["main"]
    count = function.attrs[INPUTS] if function.attrs is not None and INPUTS in function.attrs else None
    return list(function.params)[:count]


def lift_weights(mod: IRModule, dot: Dot) -> tuple[IRModule, list[Codes]]:
    """Return the module with compressed weights as parameters of ``main``, and what each stands for.

    The operators that read them become calls of their kernels. One that has none of ours keeps its weights where they
    are, and they become a float constant.

    Parameters
    ----------
    dot : how products of float32 are laid out.
    """
    weights = compressed(mod)
    kernels: dict[relax.Var, WeightedKernel] = {}
    params: dict[tuple, relax.Var] = {}
    stored: list[Codes] = []
    for binding in bindings_of(mod):
        call = binding.value
        if op_name(call) not in WEIGHT_AXIS or call.args[1] not in weights:
            continue
        kernel = weighted_kernel(call, dot)
        if kernel is None:
            continue
        kernels[binding.var] = kernel
        key = (call.args[1], kernel.layout)
        if key not in params:
            codes = weights[call.args[1]].arranged(kernel.arrange, WEIGHT_AXIS[op_name(call)])
            params[key] = relax.Var(f"weight_{len(stored)}", relax.TensorType(codes.codes.shape, "float32"))
            stored.append(codes)
    if not stored:
        return mod, []
    values = {binding.var: binding.value for binding in bindings_of(mod)}

    def rewrite(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
        if var not in kernels:
            return value
        weight = params[values[var].args[1], kernels[var].layout]
        return kernels[var].call(builder, value.args[0], weight, layer_name(value))

    count = len(mod["main"].params)
    lifted = rebuild(mod, rewrite, [*mod["main"].params, *params.values()])
    lifted.update_func(lifted.get_global_var("main"), lifted["main"].with_attr(INPUTS, count))
    return relax.transform.DeadCodeElimination()(lifted), stored


def with_loader(mod: IRModule, stored: list[Codes]) -> IRModule:
    """Return the module with the function ``load_weights``, which returns these weights as a tuple."""
    if not stored:
        return mod
    builder = relax.BlockBuilder(mod)
    with builder.function(LOADER, []):
        with builder.dataflow():
            weights = [emit(builder, codes, "") for codes in stored]
            output = builder.emit_output(relax.Tuple(weights))
        builder.emit_func_output(output)
    return builder.get()
