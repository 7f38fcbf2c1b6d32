"""What the cost model sees of a kernel for a GPU: a row of numbers for each launch, counted in the kernel as written.

    blocks, threads, how many blocks a multiprocessor holds, rounds of blocks, bytes of shared memory and of registers;
    of a thread: bytes by vector loads, copies and stores, bytes of shared memory, products, waits; the same of all

TVM's own features know no call of a function, and all that counts here is such calls.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir.expr import Call, TensorLoad
from tvm.ir.utils import derived_object
from tvm.runtime import Tensor
from tvm.s_tir.meta_schedule.feature_extractor import PyFeatureExtractor
from tvm.s_tir.meta_schedule.search_strategy import MeasureCandidate
from tvm.s_tir.meta_schedule.tune_context import TuneContext

from ..schedules.blocks import bytes_of
from ..targets.cuda.calls import PREFIX
from ..targets.row import Gpu

COLUMNS = 8
"""Of a product of tensor cores; where its name has a number, it has so many."""

MOST_BLOCKS = 16
"""That a multiprocessor holds, whatever they are."""

_PRODUCTS, _OTHERS, _READS, _WRITES, _FLOATS = "products", "others", "reads", "writes", "floats"

_KINDS = (
    ("load_const", "loaded"),
    ("copy_async", "copied"),
    ("store", "stored"),
    ("shared_load", "from shared"),
    ("shared_store", "to shared"),
    ("ldmatrix", "matrices"),
    ("dp4a", "dots"),
    ("barrier", "barriers"),
    ("copy_wait", "waits"),
    ("wgmma_fence", "waits"),
    ("wgmma_commit", "waits"),
    ("wgmma_wait", "waits"),
    ("wgmma", _PRODUCTS),
    ("mma", _PRODUCTS),
    ("shuffle", "shuffles"),
)
"""How the names of functions begin, without what all have in front, and under what they are counted."""

_OF_BYTES = ("loaded", "copied", "stored", "from shared", "to shared")
COUNTS = (*dict.fromkeys(kind for _, kind in _KINDS), _OTHERS, _READS, _WRITES, _FLOATS)
_EXTERNAL = ("tirx.call_extern", "tirx.call_pure_extern")
_NUMBER = re.compile(r"_(\d+)$")


@derived_object
class KernelFeatures(PyFeatureExtractor):
    """MetaSchedule's interface to ``features``.

    Parameters
    ----------
    gpu : whose blocks are counted.
    """

    def __init__(self, gpu: Gpu) -> None:
        super().__init__()
        self.gpu = gpu

    def extract_from(self, context: TuneContext, candidates: Sequence[MeasureCandidate]) -> list[Tensor]:
        """Return a matrix for each candidate, a row a launch."""
        return [tvm.runtime.tensor(features(candidate.sch.mod["main"], self.gpu)) for candidate in candidates]


def features(kernel: tirx.PrimFunc, gpu: Gpu) -> np.ndarray:
    """Return the rows of a kernel as ``schedules.cuda.kernels`` writes it; logarithms, for numbers of all sizes."""
    launches = _launches(kernel.body)
    return np.log2(1 + np.array([_row(launch, gpu) for launch in launches], np.float32))


class _Launch:
    """What one launch does.

    Attributes
    ----------
    extents : of ``blockIdx.x`` and so on.
    bytes : of a block's shared memory and of a thread's arrays, by scope.
    counts : of a thread, those of ``COUNTS``; both sides of a condition count.
    """

    def __init__(self) -> None:
        self.extents: dict[str, int] = {}
        self.bytes: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()


def _launches(body: tirx.Stmt) -> list[_Launch]:
    launches: list[_Launch] = []

    def visit(stmt: tirx.Stmt, launch: _Launch | None, times: int) -> None:
        def thread(attr: tirx.AttrStmt) -> tvm_ffi.WalkResult | None:
            if str(attr.attr_key) != "thread_extent":
                return None
            own = launch
            if own is None:
                own = _Launch()
                launches.append(own)
            own.extents[str(attr.node.thread_tag)] = int(attr.value)
            visit(attr.body, own, times)
            return tvm_ffi.WalkResult.SKIP

        def loop(each: tirx.For) -> tvm_ffi.WalkResult:
            visit(each.body, launch, times * int(each.extent))
            return tvm_ffi.WalkResult.SKIP

        def note(kind: str, count: int = 1) -> None:
            if launch is not None:
                launch.counts[kind] += times * count

        def call(each: Call) -> None:
            if str(getattr(each.op, "name", "")) not in _EXTERNAL:
                return
            name = str(each.args[0].value)
            if name.startswith(PREFIX):
                note(*_counted(name.removeprefix(PREFIX)))
            elif name == "fmaf":
                note(_FLOATS)

        def allocation(each: tirx.AllocBuffer) -> None:
            if launch is not None:
                launch.bytes[str(each.buffer.scope()).partition(".")[0]] += bytes_of(each.buffer)

        def load(each: TensorLoad) -> None:
            note(_READS, str(each.source.scope()) == "global")

        def store(each: tirx.BufferStore) -> None:
            note(_WRITES, str(each.buffer.scope()) == "global")

        tvm_ffi.structural_walk(
            stmt,
            [
                (tirx.AttrStmt, thread),
                (tirx.For, loop),
                (Call, call),
                (tirx.AllocBuffer, allocation),
                (TensorLoad, load),
                (tirx.BufferStore, store),
            ],
            order="pre",
        )

    visit(body, None, 1)
    return launches


def _counted(name: str) -> tuple[str, int]:
    """Return under what a function is counted, and for how much: its bytes, or its products of 16 by 8 sums."""
    kind = next((kind for start, kind in _KINDS if name.startswith(start)), _OTHERS)
    size = int(match[1]) if (match := _NUMBER.search(name)) else 1
    if kind == _PRODUCTS:
        return kind, max(1, size // COLUMNS)
    return kind, size if kind in _OF_BYTES else 1


def _row(launch: _Launch, gpu: Gpu) -> list[float]:
    blocks, threads = (
        math.prod(extent for tag, extent in launch.extents.items() if tag.startswith(start))
        for start in ("blockIdx", "threadIdx")
    )
    shared, own = launch.bytes["shared"], launch.bytes["local"]
    held = min(gpu.threads // max(threads, 1), gpu.shared_bytes // (shared + 1024), MOST_BLOCKS)
    rounds = blocks / (max(held, 1) * gpu.multiprocessors)
    counts = [launch.counts[kind] for kind in COUNTS]
    whole = [count * threads * max(1, math.ceil(rounds)) * max(held, 1) for count in counts]
    return [blocks, threads, held, rounds, math.ceil(rounds), shared, own, *counts, *whole]
