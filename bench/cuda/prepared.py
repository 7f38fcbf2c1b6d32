"""What a run needs, made ahead, also without a GPU: kernels in one library, whole models as packages.

folder/kernels.json    each kernel: its functions, the shapes of their arguments, what it multiplies
folder/kernels.so      the functions
folder/NAME-BATCH.tar  packages
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tvm

from ...errors import TvmqError
from ...runtime import gpu
from ...runtime.compilers import linker_for
from ...runtime.link import link
from ...schedules.cuda.archs import ARCHS, common_row
from ...schedules.cuda.code import compile_kernels
from ...targets.features import row_of, triple_of
from ...targets.parse import parse_target
from .kernels import Call, Kernel, memory, products, vectors

PARTS: Mapping[str, Callable[[bool], list[Kernel]]] = {
    "products": products,
    "vectors": vectors,
    "memory": memory,
}
"""Kernels of each part, by ``tiny``."""
MODELS = (("resnet50", 64), ("resnet50", 1), ("mobilenetv2", 64), ("mobilenetv2", 1))
"""Name and batch."""
DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits" / "digits.onnx"
"""A network that an emulator can do."""


@dataclass(frozen=True)
class Ready:
    """A kernel that is compiled.

    Attributes
    ----------
    part, name, family, macs, peer, times : as in ``Kernel``.
    functions : names, with shapes and dtypes of the arguments, the result last.
    """

    part: str
    name: str
    family: str
    macs: int
    peer: tuple[int, ...]
    times: int
    functions: tuple[tuple[str, tuple[tuple[tuple[int, ...], str], ...]], ...]

    @property
    def moved(self) -> int:
        """Bytes of all arguments."""
        return sum(
            int(np.prod(shape)) * np.dtype(dtype).itemsize
            for _, arrays in self.functions
            for shape, dtype in arrays
        )


def prepare(
    folder: Path, archs: Sequence[str], tiny: bool, say: Callable[[str], None], models: bool = True
) -> None:
    """Write everything into a folder; what fails is told, and left out.

    Raises
    ------
    TvmqError : the kernels cannot be compiled.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = parse_target(f"cuda -arch={archs[0]}")
    row = common_row(row_of(target), archs)
    functions: dict[str, tvm.tirx.PrimFunc] = {}
    ready: list[dict[str, Any]] = []
    for part, make in PARTS.items():
        for kernel in make(tiny):
            try:
                calls: Sequence[Call] = kernel.calls(row)
            except Exception as error:  # one kernel that cannot be made spoils no other
                say(f"{kernel.name}: {type(error).__name__}: {str(error).splitlines()[:1]}")
                continue
            names = [f"f{len(functions) + place}" for place in range(len(calls))]
            functions |= dict(zip(names, (call.function for call in calls), strict=True))
            found = [(name, call.arrays) for name, call in zip(names, calls, strict=True)]
            ready.append(
                {
                    **{"part": part, "name": kernel.name, "family": kernel.family, "macs": kernel.macs},
                    **{"peer": kernel.peer, "times": kernel.times, "functions": found},
                }
            )
    say(f"compiling {len(functions)} kernels for {', '.join(archs)}")
    named = {name: func.with_attr("global_symbol", name) for name, func in functions.items()}
    token = ARCHS.set(tuple(archs))
    try:
        library, code = compile_kernels(tvm.IRModule(named), target)
    finally:
        ARCHS.reset(token)
    link(library, folder / "kernels.so", linker_for(triple_of(target)), code)
    (folder / "kernels.json").write_text(json.dumps(ready))
    if models:
        for name, batch in ((str(DIGITS), 1),) if tiny else MODELS:
            try:
                stem = Path(name).stem
                say(f"compiling {stem} at batch {batch}")
                model_package(name, batch, archs).export(folder / f"{stem}-{batch}.tar")
            except Exception as error:  # a model whose file is missing, for one
                say(f"{name}: {type(error).__name__}: {error}")


def model_package(name: str, batch: int, archs: Sequence[str]) -> Any:
    """Return the int8 package of a synthetic network, or of a file's: random weights, one sample, for its speed."""
    import onnx

    import tvmq

    from .. import synthetic
    from ..throughput import with_batch

    model = onnx.load(name) if name.endswith(".onnx") else getattr(synthetic, name)()
    (given,) = model.graph.input
    model = with_batch(model, batch)
    shape = (batch, *(dim.dim_value for dim in given.type.tensor_type.shape.dim[1:]))
    sample = {given.name: np.random.default_rng(0).standard_normal(shape).astype(np.float32)}
    target = f"cuda -arch={archs[0]}"
    options = tvmq.QuantizeOptions(rounding="nearest", float_below=0.0)
    quantized = tvmq.quantize(model, "int8", target, [sample], options=options)
    return tvmq.compile(quantized, target, options=tvmq.CompileOptions(cuda_archs=tuple(archs)))


class Prepared:
    """A folder that ``prepare`` wrote."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / "kernels.json").is_file():
            raise TvmqError(f"{folder} has no kernels.json: write it with --compile-only {folder}")

    def kernels(self, part: str) -> list[Ready]:
        """Return the kernels of a part, in the order in which they are to be measured."""
        rows = json.loads((self.folder / "kernels.json").read_text())
        return [
            Ready(**{**row, "peer": tuple(row["peer"]), "functions": tuple(row["functions"])})
            for row in rows
            if row["part"] == part
        ]

    @cached_property
    def _library(self) -> Any:
        gpu.load_gpu_runtime()
        return tvm.runtime.load_module(str((self.folder / "kernels.so").resolve()))

    def run_of(self, kernel: Ready, seed: int = 0) -> Callable[[], None]:
        """Return what runs a kernel on random arrays of its own."""
        rng = np.random.default_rng(seed)
        calls = [
            (self._library[name], [_random(rng, shape, dtype) for shape, dtype in arrays])
            for name, arrays in kernel.functions
        ]

        def run() -> None:
            for function, arrays in calls:
                function(*arrays)

        return run

    def models(self) -> list[Path]:
        """Return the packages that are there."""
        return sorted(self.folder.glob("*.tar"), key=lambda path: path.name.startswith("mobilenet"))


def _random(rng: np.random.Generator, shape: Sequence[int], dtype: str) -> gpu.Tensor:
    """Return an array on the GPU: a random row, repeated, so that it is there at once."""
    size = int(np.prod(shape))
    count = min(size, 1 << 20)
    if dtype == "float32":
        numbers = rng.standard_normal(count, np.float32) * np.float32(0.01)
    elif dtype == "int32":
        numbers = rng.integers(-1000, 1000, count).astype(np.int32)
    else:
        numbers = rng.integers(0, 256, count).astype(np.uint8).view(dtype)
    return tvm.runtime.tensor(np.resize(numbers, tuple(shape)), tvm.cuda(0))
