"""From a Relax module to code: the phases, top to bottom."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import tvm
from tvm import relax

from ..passes.hub.codes import Codes
from ..passes.hub.empty import allocate_empty
from ..passes.hub.graph import op_name
from ..passes.hub.open_dims import ranges_of, top_of, with_ranges
from ..targets.features import threads_of
from ..targets.row import TargetRow
from .attention import fuse_attention
from .bits import WriteBits
from .code import generate
from .cuda.graphs import with_graphs
from .cuda.scratch import plan_scratch
from .float_kernels import float32_dot, legalize_map
from .kernel_table import KernelTable
from .open.build import open_kernels
from .open.instances import LADDER, Named, instances_of
from .packed_weights import keep_packed
from .padding import SkipPadding
from .records import apply_records, read_records
from .rules import ScheduleKernels
from .start import StartFromOffset
from .stored_weights import lift_weights, with_loader


@dataclass(frozen=True)
class Built:
    """What ``build`` made.

    Attributes
    ----------
    executable : the code.
    kernels : for each kernel call in order, the kernel's name and the nodes of the user's model that it computes.
    mod : the scheduled module that the code was made from.
    activation_bytes : memory that is planned for values between kernels, in bytes.
    """

    executable: relax.VMExecutable
    kernels: list[tuple[str, list[str]]]
    mod: tvm.IRModule
    activation_bytes: int


def legalize(row: TargetRow) -> tvm.transform.Pass:
    """Phase 1: operators become loops."""
    return tvm.transform.Sequential(
        [
            relax.transform.LegalizeOps(legalize_map(row)),
            relax.transform.AnnotateTIROpPattern(),
            relax.transform.FoldConstant(),
        ]
    )


def fuse() -> tvm.transform.Pass:
    """Phase 2: chains of operators become one function each."""
    return tvm.transform.Sequential(
        [
            relax.transform.FuseOps(),
            relax.transform.FuseTIR(),
            relax.transform.DeadCodeElimination(),
            StartFromOffset(),
        ]
    )


def into_destinations() -> tvm.transform.Pass:
    """First half of phase 4: kernels write into tensors that are allocated before."""
    return tvm.transform.Sequential(
        [
            relax.transform.ToNonDataflow(),
            relax.transform.RemovePurityChecking(),
            relax.transform.CallTIRRewrite(),
        ]
    )


def plan_memory() -> tvm.transform.Pass:
    """Phase 4: values between kernels share memory that is planned ahead."""
    return tvm.transform.Sequential([into_destinations(), relax.transform.StaticPlanBlockMemory()])


def to_virtual_machine() -> tvm.transform.Pass:
    """Phase 5: Relax becomes calls of the virtual machine."""
    return tvm.transform.Sequential(
        [
            relax.transform.LowerAllocTensor(),
            relax.transform.KillAfterLastUse(),
            relax.transform.LowerRuntimeBuiltin(),
            relax.transform.ComputePrimValue(),
            relax.transform.VMShapeLower(),
            relax.transform.AttachGlobalSymbol(),
        ]
    )


def to_kernels(
    mod: tvm.IRModule, target: tvm.target.Target, row: TargetRow
) -> tuple[tvm.IRModule, list[tuple[str, list[str]]]]:
    """Run phases 1 and 2: return the module with its kernels not yet scheduled, and ``Built.kernels``."""
    mod, stored = _lifted(mod, row)
    table = KernelTable(mod)
    with target:
        mod, kernels = table.unmark(fuse()(table.mark(legalize(row)(table.mod))))
        return with_loader(mod, stored), kernels


def to_nameless_kernels(mod: tvm.IRModule, target: tvm.target.Target, row: TargetRow) -> tvm.IRModule:
    """Return the kernels that ``to_kernels`` does, without saying what they compute, nor how weights are loaded."""
    mod, _ = _lifted(mod, row)
    with target:
        return fuse()(legalize(row)(mod))


def _lifted(mod: tvm.IRModule, row: TargetRow) -> tuple[tvm.IRModule, list[Codes]]:
    mod = fuse_attention(mod, row.converts_by) if row.gpu is None else keep_packed(mod)
    return lift_weights(mod, float32_dot(row))


def to_scheduled_kernels(
    mod: tvm.IRModule, target: tvm.target.Target, row: TargetRow, records: Path | None = None
) -> tuple[tvm.IRModule, list[tuple[str, list[str]]]]:
    """Run phases 1 to 3: as ``to_kernels``, with every kernel scheduled; parameters and errors as for ``build``."""
    mod, kernels = to_kernels(mod, target, row)
    mod = relax.transform.RewriteDataflowReshape()(mod)  # kernels that move nothing are no kernels
    return _scheduled(mod, target, row, records), kernels


def _scheduled(
    mod: tvm.IRModule, target: tvm.target.Target, row: TargetRow, records: Path | None
) -> tvm.IRModule:
    """Run phase 3."""
    threads = threads_of(target)
    with target:
        if records is not None:
            mod = apply_records(mod, read_records(records, row, threads))
        return WriteBits()(SkipPadding()(ScheduleKernels(row, threads)(mod)))


def build_open(
    mod: tvm.IRModule,
    target: tvm.target.Target,
    row: TargetRow,
    records: Path | None = None,
    *,
    lower: Callable[[tvm.IRModule, TargetRow], tvm.IRModule],
    ladder: Sequence[int] = LADDER,
) -> Built:
    """Compile a module of the hub with open dimensions.

    Parameters
    ----------
    lower : makes of a static module of the hub one that ``build`` takes.
    ladder : sizes of the parts that kernels are composed of.

    Raises
    ------
    TvmqError : as ``build`` does; what the model computes depends on its sizes.
    """

    def named(static: tvm.IRModule, own_row: TargetRow) -> Named:
        return to_kernels(lower(static, own_row), target, own_row)

    def nameless(static: tvm.IRModule, own_row: TargetRow) -> tvm.IRModule:
        return to_nameless_kernels(lower(static, own_row), target, own_row)

    def scheduled(kernels: tvm.IRModule) -> tvm.IRModule:
        return _scheduled(kernels, target, row, records)

    instances = instances_of(mod, row, named, nameless, ladder)
    with target:
        composed = with_ranges(
            open_kernels(mod, instances, row, threads_of(target), scheduled), ranges_of(mod)
        )
        main = composed.get_global_var("main")
        composed.update_func(main, composed["main"].with_attr("tir_var_upper_bound", top_of(ranges_of(mod))))
        planned = plan_memory()(allocate_empty(composed))
        executable = generate(to_virtual_machine()(planned), target)
    return Built(executable, instances.kernels, composed, _storage_bytes(planned))


def build(
    mod: tvm.IRModule,
    target: tvm.target.Target,
    row: TargetRow,
    records: Path | None = None,
    cuda_graph: bool = False,
) -> Built:
    """Compile a Relax module in NHWC, integer or float or both.

    The kernels are cut up for the target's ``num-cores``. Where weights are compressed, ``main`` takes them behind its
    inputs, as the function ``load_weights`` returns them.

    Parameters
    ----------
    records : folder of tuned records; kernels that have one are scheduled by it, all others by the rules.
    cuda_graph : of ``CompileOptions``.

    Raises
    ------
    TvmqError : the records cannot be read.
    """
    mod, kernels = to_scheduled_kernels(mod, target, row, records)
    with target:
        planned = plan_memory()(allocate_empty(mod if row.gpu is None else plan_scratch(mod)))
        launched = with_graphs(planned) if cuda_graph and row.gpu is not None else planned
        executable = generate(to_virtual_machine()(launched), target)
    return Built(executable, kernels, mod, _storage_bytes(planned))


def _storage_bytes(mod: tvm.IRModule) -> int:
    """Return the size of all storage that ``main`` allocates, in bytes."""
    sizes: list[int] = []

    def visit(expr: relax.Expr) -> None:
        if op_name(expr) == "relax.memory.alloc_storage":
            sizes.append(math.prod(int(extent) for extent in expr.args[0].values))

    relax.analysis.post_order_visit(mod["main"], visit)
    return sum(sizes)
