"""What users give, as passes take it: a model to a prepared module, samples to arrays of its inputs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import onnx
import tvm

from .errors import TvmqError
from .frontends.edges import check_edges
from .frontends.files import load_model
from .frontends.relax_module import adopt
from .frontends.samples.files import CalibrationFiles
from .frontends.samples.given import given_samples
from .frontends.samples.labelled import LabelledFiles
from .frontends.shapes import Given as GivenShapes
from .frontends.torch.recognise import is_exported_program, refuse_others
from .memory import give_back
from .passes.annotate.options import QuantizeOptions
from .passes.calibrate.spool import repeatable
from .passes.hub.annotation import has_pairs
from .passes.hub.ffi_errors import explained
from .passes.hub.graph import describe_layer, input_specs
from .passes.prepare.prepare import Prepare
from .schedules.blame import failing_layer

if TYPE_CHECKING:
    from torch.export import ExportedProgram

Model: TypeAlias = "str | os.PathLike[str] | onnx.ModelProto | tvm.IRModule | ExportedProgram"
Samples: TypeAlias = Iterable[Mapping[str, np.ndarray]] | str | os.PathLike[str] | CalibrationFiles
Shapes: TypeAlias = GivenShapes
Dtypes: TypeAlias = Mapping[str, object]
Bound: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Given:
    """What the user says of a model's inputs and outputs; each as ``load_model`` takes it."""

    input_shapes: Shapes | None = None
    input_dtypes: Dtypes | None = None
    bind: Bound | None = None
    outputs: Sequence[str] | None = None

    def refuse_for(self, what: str) -> None:
        """Raise ``TvmqError`` where something is said that can only be done while an ONNX file is imported."""
        if self.bind or self.input_dtypes or self.outputs is not None:
            raise TvmqError(
                f"bind, input_dtypes and outputs are for ONNX models and have no effect on {what}"
            )


def imported(model: Model, given: Given, in_float32: bool = False) -> tvm.IRModule:
    """Return the model as the passes want it; quantized, or to be ``in_float32``, without other floats."""
    if isinstance(model, tvm.IRModule):
        given.refuse_for("a Relax module")
        mod = adopt(model)
    elif is_exported_program(model):
        given.refuse_for("an exported program")
        # Not before there is one: it imports torch.
        from .frontends.torch.load import load_exported_program

        mod = load_exported_program(model, given.input_shapes)
    else:
        refuse_others(model)
        shapes = dict(given.input_shapes or {}) or None
        mod = load_model(model, shapes, given.bind, given.outputs, given.input_dtypes)
    check_edges(mod)
    prepare = Prepare(in_float32=in_float32 or has_pairs(mod))

    def where() -> str:
        return describe_layer(mod, failing_layer(mod, partial(tvm.compile, target="llvm")))

    with explained("preparing", where):
        prepared = prepare(mod)
    give_back()
    return prepared


def samples_for(calibration: Samples, mod: tvm.IRModule) -> Iterable[Mapping[str, np.ndarray]]:
    """Return the samples for the module's inputs; they can be walked through again. None stay ``()``."""
    if isinstance(calibration, tuple) and not calibration:
        return calibration
    if isinstance(calibration, str | os.PathLike):
        calibration = CalibrationFiles(calibration)
    if isinstance(calibration, CalibrationFiles):
        return calibration.open(input_specs(mod))
    return given_samples(repeatable(calibration), input_specs(mod))


def labelled_samples(
    options: QuantizeOptions, mod: tvm.IRModule
) -> Iterable[tuple[Mapping[str, np.ndarray], np.ndarray]] | None:
    """Return the samples with labels that are to be learned from; None where there are none."""
    labels = None if options.fine_tune is None else options.fine_tune.labels
    return labels.open(input_specs(mod)) if isinstance(labels, LabelledFiles) else labels
