"""CUDA graphs: kernels that follow each other are launched as one.

    main { a(x, s0); b(s0, s1); c(s1, s2); d(s2, out) }
    -->
    main { a(x, s0); run_or_capture(captured); d(s2, out) }     captured { b(s0, s1); c(s1, s2) }
    main_by_kernels { a(x, s0); b(s0, s1); c(s1, s2); d(s2, out) }

A graph has the addresses of the first run, so it may have kernels whose arguments lie where they lay: constants, and
what is planned ahead between kernels. TVM leaves those that read an input or write an output outside; inputs at new
addresses are read, and no output is written to again. The first run captures, for which nothing else may use the GPU
in the process (``runtime/gpu_engine.py``).
"""

from __future__ import annotations

import tvm
from tvm import relax, tirx

BY_KERNELS = "main_by_kernels"
"""The function that launches one by one, for whoever measures kernels; ``runtime/gpu_machine.py`` has the name too."""

FEWEST = 3
"""Launches a graph, on average, below which there are none: a graph has to be launched too."""

_ENABLED = "relax.backend.use_cuda_graph"
_CAPTURE = "vm.builtin.cuda_graph.run_or_capture"
_MAIN = "main"


def with_graphs(mod: tvm.IRModule) -> tvm.IRModule:
    """Return a module, whose memory is planned, with graphs; as it is where they would be of no use."""
    is_main = {
        var: var.name_hint == _MAIN or isinstance(func, tirx.PrimFunc) for var, func in mod.functions.items()
    }
    main = tvm.IRModule({var: func for var, func in mod.functions.items() if is_main[var]}, attrs=mod.attrs)
    context = tvm.transform.PassContext.current()
    config = {**context.config, _ENABLED: True}
    with tvm.transform.PassContext(
        context.opt_level, disabled_pass=list(context.disabled_pass), config=config
    ):
        rewritten = relax.transform.RewriteCUDAGraph()(main)
    (before, _), (after, graphs) = _launches(mod), _launches(rewritten)
    if not graphs or before - after < FEWEST * graphs:
        return mod
    rewritten[BY_KERNELS] = mod[_MAIN].with_attr("global_symbol", BY_KERNELS)
    for var, func in mod.functions.items():
        if not is_main[var]:
            rewritten[var] = func
    return rewritten


def _launches(mod: tvm.IRModule) -> tuple[int, int]:
    """Return how many kernels ``main`` launches, and how many graphs."""
    kernels = graphs = 0

    def visit(expr: relax.Expr) -> None:
        nonlocal kernels, graphs
        if isinstance(expr, relax.Call):
            kernels += isinstance(expr.op, tvm.ir.GlobalVar) and isinstance(mod[expr.op], tirx.PrimFunc)
        elif isinstance(expr, relax.ExternFunc):
            graphs += str(expr.global_symbol) == _CAPTURE

    relax.analysis.post_order_visit(mod[_MAIN], visit)
    return kernels, graphs
