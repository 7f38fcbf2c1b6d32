"""tvmq's models as programs for a core."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...runtime import archive
from ...runtime.board import make_bundle
from ...runtime.runner import RUNNER
from ..engines import calibration_feeds
from ..subjects import Subject
from .cores import Core
from .emulator import Program

if TYPE_CHECKING:
    from ...tuning.tasks import Task

Prepared = tuple[Program, dict[str, float]]
"""A program, and multiply-adds of one run by function, where they are known."""
Prepare = Callable[[Core, Path], Prepared]
"""``(core, folder) -> Prepared``; the folder is empty, and stays while the program runs."""

LINKER = "aarch64-linux-gnu-gcc"
KEPT_SYMBOLS = "-Wl,-S"
"""Takes back that symbols are left out, so that functions have names."""


def prepare_model(subject: Subject, scheme: str, core: Core, folder: Path) -> Prepared:
    """Compile a model for a core; ``scheme`` is ``"float"`` or one of quantization."""
    # Imported here: it brings TVM, which the command's help and its bad arguments must not wait for.
    from ... import api

    model: Any = str(subject.path)
    given: dict[str, Any] = {"input_shapes": {subject.model.input: subject.input_shape}}
    if scheme != "float":
        feeds = calibration_feeds(subject)
        model, given = api.quantize(model, scheme=scheme, target=core.target, calibration=feeds, **given), {}
    options = api.CompileOptions(cross_compiler=LINKER, cross_compiler_options=(KEPT_SYMBOLS,))
    package = folder / "model.tar"
    compiled = api.compile(model, core.target, options=options, **given)
    compiled.export(package)
    macs = _macs(compiled.metadata["kernels"], api.tuning_tasks(model, core.target, **given))
    return _program(package, {subject.model.input: subject.data.samples[:1]}, folder), macs


def prepare_package(package: Path, core: Core, folder: Path) -> Prepared:
    """Take a package as it is, and give it random inputs; it must be for a CPU whose instructions the core has."""
    rng = np.random.default_rng(1)
    inputs = {
        tensor["name"]: np.asarray(rng.standard_normal(tensor["shape"])).astype(tensor["dtype"])
        for tensor in archive.read_metadata(package)["inputs"]
    }
    return _program(package, inputs, folder), {}


def _macs(calls: Iterable[Mapping[str, Any]], tasks: Sequence[Task]) -> dict[str, float]:
    """Return multiply-adds of one run by kernel; a task stands for all kernels that are alike but for constants.

    ``calls`` are as in a package's metadata: each call's kernel and its layers.
    """
    macs: Counter[str] = Counter()
    for call in calls:
        for task in tasks:
            if set(call["layers"]) <= set(task.layers) and _family(call["name"]) == _family(task.name):
                macs[call["name"]] += task.macs
    return dict(macs)


def _family(kernel: str) -> str:
    """Return a kernel's name without the number that tells it from those of the same name."""
    return kernel.rstrip("0123456789")


def _program(package: Path, inputs: dict[str, np.ndarray], folder: Path) -> Program:
    bundle = make_bundle(package, folder / "bundle")
    arguments = ["--output-dir", str(folder)]
    for index, (name, array) in enumerate(inputs.items()):
        file = folder / f"input{index}.npy"
        np.save(file, array)
        arguments += ["--input", f"{name}={file}"]

    def command(runs: int) -> list[str]:
        # The runner runs once before it repeats.
        return [str(bundle / RUNNER), str(bundle), *arguments, "--repeat", str(runs - 1)]

    return Program(command, {"TVM_NUM_THREADS": "1"})
