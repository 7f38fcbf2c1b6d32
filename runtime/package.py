"""A compiled model: one file that runs on the machine it was compiled for."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import TvmqError
from . import archive
from .compilers import linker_for
from .engine import Engine
from .gpu_engine import GpuEngine
from .gpu_inputs import bind_gpu_inputs, stays_on_gpu
from .inputs import bind_inputs
from .library import Library
from .link import link
from .metadata import ALIGNMENT, check, cpu_target, cpu_triple, is_for_gpu, refuse_other_machines
from .outputs import bind_outputs
from .recorder import KernelTime

if TYPE_CHECKING:
    from tvm.relax import VMExecutable


class Package:
    """A compiled model with what it says of itself.

    Any number of threads may run one package at once, and so may forked children. It pickles: the bytes travel. A copy
    shares the loaded code. A package may be for another machine than this one: it can be exported and inspected
    here, not run.

    Parameters
    ----------
    library : content of ``mod.so``.
    metadata : content of ``mod.json``, see ``docs/package-format.md``.
    source : name of the package in messages.

    Attributes
    ----------
    sources : its code as text by format, where ``CompileOptions.dump_code`` asked for it; not part of the file.
    """

    def __init__(self, library: bytes, metadata: Mapping[str, Any], source: str = "the package") -> None:
        check(metadata, source)
        self._library = Library(library)
        self._metadata = dict(metadata)
        self._source = source
        self.sources: dict[str, str] = {}

    @classmethod
    def from_executable(
        cls,
        executable: VMExecutable,
        metadata: Mapping[str, Any],
        cross_compiler: str | None = None,
        cross_compiler_options: Sequence[str] = (),
    ) -> Package:
        """Return the package of a compiled Relax module.

        Parameters
        ----------
        executable : what ``tvm.compile`` gave.
        metadata : as ``runtime.describe.describe`` makes it; ``bytes`` gains the sizes that linking decides.
        cross_compiler, cross_compiler_options : see ``runtime.compilers.linker_for``.

        Raises
        ------
        TvmqError : linking fails, or the metadata lacks a field.
        """
        with tempfile.TemporaryDirectory(prefix="tvmq-") as folder:
            output = Path(folder) / archive.LIBRARY
            command = linker_for(cpu_triple(metadata), cross_compiler, cross_compiler_options)
            code = getattr(executable, "device_code", ())
            link(executable.mod, output, command, code)
            library = output.read_bytes()
        weights = int(metadata["bytes"]["weights"])
        sizes = {**metadata["bytes"], "code": len(library) - weights, "total": len(library)}
        gpu = {"gpu": executable.gpu} if code else {}
        return cls(library, {**metadata, "bytes": sizes, **gpu})

    @property
    def metadata(self) -> dict[str, Any]:
        """What the package says of itself: ``mod.json``, see ``docs/package-format.md``."""
        return self._metadata

    @property
    def library(self) -> bytes:
        """The content of ``mod.so``."""
        return self._library.content

    def export(self, path: str | os.PathLike[str]) -> None:
        """Write the package to one file, whole or not at all; see ``runtime.archive.write`` for errors."""
        archive.write(path, self._metadata, self._library.content)

    def run(self, inputs: Any, out: Any = None, *, device_outputs: bool | None = None) -> dict[str, Any]:
        """Run the model once.

        Parameters
        ----------
        inputs : an array for each input name, or the array itself of a model that has one input: NumPy's, or what has
            DLPack, the array interface or the buffer protocol. C-contiguous ones of the model's dtype that start at a
            multiple of 16 bytes are not copied. See ``runtime.inputs`` for the dtypes that are converted.
        out : arrays to write outputs to, by name, or the array itself for a model of one output; of the output's shape
            and dtype, in any layout.
        device_outputs : of a package for a GPU, where the outputs are to be: True leaves them on the GPU, False brings
            them back; None leaves them there where an input was there too.

        Returns
        -------
        An array for each output name: one that is the caller's alone, or the memory given in ``out``. What stays on the
        GPU is a tensor with DLPack, which ``torch.from_dlpack`` takes; ``docs/cuda.md`` has when it is computed.

        A package for a GPU takes arrays as above, and tensors of other libraries in the GPU's memory without a copy.

        Raises
        ------
        TvmqError : an input is missing, unknown, of another shape or dtype, or an index beyond its table; an array of
            ``out`` is none of an output's, or read-only; or the package was compiled for another machine.
        """
        arrays, places = self._bind(inputs), bind_outputs(self._metadata["outputs"], out)
        engine = self._engine
        if isinstance(engine, GpuEngine):
            outputs = engine.run(arrays, places, stays_on_gpu(arrays, out, device_outputs))
        elif device_outputs:
            raise TvmqError(f"{self._source} is for a CPU: device_outputs has no effect")
        else:
            outputs = engine.run(arrays, places)
        names = [tensor["name"] for tensor in self._metadata["outputs"]]
        return dict(zip(names, outputs, strict=True))

    def time(self, inputs: Any, number: int = 1, repeat: int = 10) -> list[float]:
        """Return ``repeat`` times in seconds, each the mean of ``number`` runs; errors as ``run``."""
        if number < 1 or repeat < 1:
            raise TvmqError(f"number and repeat must be at least 1, got {number} and {repeat}")
        return self._engine.time(self._bind(inputs), number, repeat)

    def profile(self, inputs: Any, runs: int = 10) -> list[KernelTime]:
        """Return the mean time of each kernel call, in the order of the calls; errors as ``run``."""
        if runs < 1:
            raise TvmqError(f"runs must be at least 1, got {runs}")
        times = self._engine.profile(self._bind(inputs), runs)
        # One kernel may serve several layers: its n-th call is the n-th entry of its name.
        layers: dict[str, list[tuple[str, ...]]] = {}
        for entry in reversed(self._metadata["kernels"]):
            layers.setdefault(entry["name"], []).append(tuple(entry["layers"]))
        return [
            replace(row, layers=layers[row.kernel].pop()) if layers.get(row.kernel) else row for row in times
        ]

    def __repr__(self) -> str:
        """Name scheme, target, inputs and outputs: ``Package(int8, llvm znver3, x: int8[8] -> y: int8[2])``."""
        target = self._metadata["target"]
        machine = " ".join(str(target[key]) for key in ("kind", "arch", "mcpu") if key in target)
        inputs, outputs = (
            ", ".join(
                f"{tensor['name']}: {tensor['dtype']}{tensor['shape']}" for tensor in self._metadata[side]
            )
            for side in ("inputs", "outputs")
        )
        return f"Package({self._metadata['scheme']}, {machine}, {inputs} -> {outputs})"

    @property
    def _engine(self) -> Engine | GpuEngine:
        """The loaded library, loaded at the first run: a package for another machine can be exported."""
        engine = self._library.loaded
        if engine is None:
            refuse_other_machines(self._metadata, self._source)
            if is_for_gpu(self._metadata):
                return self._library.load_for_gpu(self._metadata, self._source)
            engine = self._library.load(
                cpu_target(self._metadata).get("num-cores"), self._metadata.get("alignment", ALIGNMENT)
            )
        return engine

    def _bind(self, inputs: Any) -> list[Any]:
        if is_for_gpu(self._metadata):
            return bind_gpu_inputs(self._metadata["inputs"], inputs)
        return bind_inputs(self._metadata["inputs"], inputs, self._metadata.get("dimensions"))


def load(path: str | os.PathLike[str]) -> Package:
    """Load a package for this machine. ``runtime.archive.read_metadata`` reads one for any machine.

    Raises
    ------
    TvmqError : no such file, not a package, of a newer format, or compiled for another machine.
    """
    metadata, library = archive.read(path)
    refuse_other_machines(metadata, str(path))
    return Package(library, metadata, str(path))
