"""The public functions: ``quantize``, ``compile`` and ``load``."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import onnx
import tvm
from tvm import relax

from .errors import TvmqError
from .frontends.given_samples import given_samples
from .frontends.onnx import load_onnx
from .frontends.relax_module import adopt
from .frontends.samples import CalibrationFiles
from .frontends.samples import Samples as FileSamples
from .passes.annotate import has_pairs, scheme_of
from .passes.ffi_errors import explained
from .passes.graph import describe_layer, dtype_of, shape_of
from .passes.layers import Layer, get_layers
from .passes.layout import Layout
from .passes.options import QuantizeOptions
from .passes.pipeline import CalibrationData, quantization_passes
from .passes.prepare import Prepare
from .passes.realize import Realize
from .passes.schemes import get_scheme
from .passes.spool import repeatable
from .passes.weight_only.hub import RestoreWeights
from .report.collect import SAMPLES, collect
from .report.compiled import with_package
from .report.records import Report
from .report.stages import Stages, run_passes
from .runtime.describe import describe
from .runtime.package import Package, load
from .runtime.threads import use_threads
from .schedules.blame import failing_layer
from .schedules.options import CompileOptions
from .schedules.pipeline import Built, build
from .search.accuracy_control import Controlled, control_accuracy
from .search.metrics import Metric
from .search.options import SearchOptions, check_drop
from .search.recipe import Recipe
from .search.search import search_bits, search_key
from .search.state import SearchState
from .targets.features import row_of, threads_of
from .targets.parse import parse_target
from .targets.rows import TargetRow
from .tuning_logs import shipped_records

if TYPE_CHECKING:
    from .tuning.tasks import Task

logger = logging.getLogger(__name__)

__all__ = [
    "CompileOptions",
    "Controlled",
    "Package",
    "QuantizeOptions",
    "QuantizedModel",
    "SearchOptions",
    "compile",
    "load",
    "quantize",
    "quantize_with_accuracy_control",
]

Model: TypeAlias = str | os.PathLike[str] | onnx.ModelProto | tvm.IRModule
TargetSpec: TypeAlias = str | os.PathLike[str] | Mapping[str, Any] | tvm.target.Target
Samples: TypeAlias = Iterable[Mapping[str, np.ndarray]] | str | os.PathLike[str] | CalibrationFiles
Shapes: TypeAlias = Mapping[str, tuple[int, ...]]
Bound: TypeAlias = Mapping[str, Any]
Progress: TypeAlias = Callable[[str, int | None], AbstractContextManager[Any]]


@dataclass(frozen=True)
class _Given:
    """What the user says of an ONNX model's inputs and outputs; each as ``load_onnx`` takes it."""

    input_shapes: Shapes | None = None
    bind: Bound | None = None
    outputs: Sequence[str] | None = None

    def refuse_for(self, what: str) -> None:
        """Raise ``TvmqError`` where something is said that can only be done while an ONNX file is imported."""
        if self.bind or self.outputs is not None:
            raise TvmqError(f"bind and outputs are for ONNX models and have no effect on {what}")


@dataclass(frozen=True)
class QuantizedModel:
    """A model in Q/DQ form: still float in its interfaces, runnable and editable as a Relax module.

    Attributes
    ----------
    mod : the Q/DQ hub (``docs/architecture.md``).
    scheme : name of its quantization scheme.
    stages : modules on the way to it, with which ``report`` compares it; None where it came quantized.
    """

    mod: tvm.IRModule
    scheme: str
    stages: Stages | None = field(default=None, repr=False)

    @property
    def layers(self) -> list[Layer]:
        """What was decided for each node of the user's model, in graph order."""
        return get_layers(self.mod)

    def report(
        self,
        samples: Samples,
        *,
        limit: int | None = SAMPLES,
        package: Package | None = None,
        progress: Progress | None = None,
    ) -> Report:
        """Return what quantization did to each tensor: the float model and this one side by side on samples.

        Parameters
        ----------
        samples : as for ``quantize``; better not those of the calibration.
        limit : at most so many of them, from the start; None takes all.
        package : what ``compile`` made of this model; adds the time of each layer where this machine can run it.
        progress : as for ``quantize``.

        Raises
        ------
        TvmqError : no samples, or one that does not fit the model's inputs; a layer that gives NaN or infinity.
        """
        stages = self.stages or Stages(self.mod, self.mod)
        with explained("reporting"):
            found = _samples(samples, self.mod)
            report = collect(stages, self.scheme, found, limit, run_on_host, progress)
            return report if package is None else with_package(report, package, next(iter(found)))


def quantize(
    model: Model,
    scheme: str = "int8",
    target: TargetSpec = "llvm -mcpu=native",
    calibration: Samples | None = None,
    *,
    input_shapes: Shapes | None = None,
    bind: Bound | None = None,
    outputs: Sequence[str] | None = None,
    options: QuantizeOptions | None = None,
    search: SearchOptions | None = None,
    progress: Progress | None = None,
) -> QuantizedModel:
    """Quantize a trained float model after training.

    Parameters
    ----------
    model : path of an ONNX file, an ONNX model, or a Relax module.
    scheme : name of a row of ``passes.schemes.SCHEMES``.
    target : what the model will be compiled for, as for ``compile``; it decides which operators are quantized.
    calibration : samples, each ``{input name: array}`` of the input's shape, its dtype converted where the values
        survive (``passes.sample_check``); or a path that
        ``frontends.samples.read_samples`` reads, or ``CalibrationFiles``, such a path with options. What is left
        out of files is logged as a warning. A model that comes quantized needs none.
        Nor does one whose calibration cache has every tensor, without the passes that look at values, nor a
        weight-only scheme, which takes them for its biases alone.
    input_shapes : shapes of the inputs that the model leaves open.
    bind : inputs of an ONNX model that become constants, each with a number, list or array: ``{"sr": 16000}``.
    outputs : names of values or nodes of an ONNX model at which it ends, in place of its own outputs.
    options : what is skipped, which observer is used, and so on.
    search : the budget of the search for bits, with the scheme ``"mixed"``; None keeps the cosine of the outputs.
    progress : ``(description, total) -> context of a bar with update(n)``; None shows nothing.

    Raises
    ------
    TvmqError : whatever the model, the samples or the options are at fault for.
    """
    given = _Given(input_shapes, bind, outputs)
    with explained("quantizing"):
        started = _start(model, scheme, target, calibration, given, options, search, progress)
        return started if isinstance(started, QuantizedModel) else started.model(started.recipe)


def quantize_with_accuracy_control(
    model: Model,
    metric: Metric,
    scheme: str = "int8",
    target: TargetSpec = "llvm -mcpu=native",
    calibration: Samples | None = None,
    *,
    max_drop: float = 0.01,
    state: str | os.PathLike[str] | None = None,
    input_shapes: Shapes | None = None,
    bind: Bound | None = None,
    outputs: Sequence[str] | None = None,
    options: QuantizeOptions | None = None,
    search: SearchOptions | None = None,
    progress: Progress | None = None,
) -> Controlled[QuantizedModel]:
    """Quantize a model, and put layers back to float one by one, worst first, until a metric holds.

    Parameters
    ----------
    metric : ``metric(run) -> float``, higher is better, where ``run`` maps inputs by name to outputs by name, as
        ``Package.run`` does.
    max_drop : how far the metric may be below the float model's, in its own units.
    state : a file for what has been measured: what was broken off goes on from there.
    model, scheme, target, calibration, input_shapes, bind, outputs, options, search, progress : as for ``quantize``.

    Raises
    ------
    TvmqError : as ``quantize`` does; a metric that raises, or returns no number, before anything was quantized; a
        model that comes quantized; a scheme of weights alone.
    """
    check_drop(max_drop)
    if get_scheme(scheme).weight_only:
        raise TvmqError(
            f"accuracy control is for schemes that quantize activations too, and {scheme!r} does not"
        )
    # Without a search, its samples and its state are those of the control.
    of_control = replace(SearchOptions(), samples=search.samples, state=search.state) if search else None
    bits = None if search == of_control and not get_scheme(scheme).searched else search
    given = _Given(input_shapes, bind, outputs)
    few = (search or SearchOptions()).samples
    with explained("quantizing"):
        started = _start(model, scheme, target, calibration, given, options, bits, progress)
        if isinstance(started, QuantizedModel):
            raise TvmqError("accuracy control needs a float model, and this one comes quantized")
        return control_accuracy(
            started.mod,
            started.recipe,
            started.model,
            metric,
            max_drop,
            few,
            SearchState(state, search_key(started.mod, started.recipe, few)),
        )


def compile(  # noqa: A001 (the name that users expect)
    model: Model | QuantizedModel,
    target: TargetSpec = "llvm -mcpu=native",
    *,
    input_shapes: Shapes | None = None,
    bind: Bound | None = None,
    outputs: Sequence[str] | None = None,
    options: CompileOptions | None = None,
    progress: Progress | None = None,
) -> Package:
    """Compile a quantized model to integer kernels, or a float model to float ones.

    Parameters
    ----------
    model : what ``quantize`` returned, or a model as it takes one. An ONNX file in Q/DQ form is compiled to integers.
    target : a target string such as ``"llvm -mcpu=znver3"``, a dict, a tag, the path of a file that holds one,
        or a ``tvm.target.Target``.
    input_shapes, bind, outputs, progress : as for ``quantize``.
    options : linker, tuned records, configuration of TVM's passes.

    Raises
    ------
    TvmqError : whatever the model, the target or the options are at fault for.
    """
    target = parse_target(target)
    row = row_of(target)
    options = options or CompileOptions()
    prepared = _prepared(model, _Given(input_shapes, bind, outputs))
    with (
        explained("compiling"),
        nullcontext() if progress is None else progress("compile", None),
        tvm.transform.PassContext(opt_level=3, config=dict(options.pass_config)),
    ):
        records = options.tuning_records or shipped_records(row.name, threads_of(target))
        built = _build(Realize(row)(Layout()(prepared.mod)), target, row, records)
        metadata = describe(
            built.mod, target, prepared.scheme, kernels=built.kernels, activation_bytes=built.activation_bytes
        )
    return Package.from_executable(
        built.executable,
        metadata,
        cross_compiler=options.cross_compiler,
        cross_compiler_options=options.cross_compiler_options,
    )


def tuning_tasks(
    model: Model | QuantizedModel,
    target: TargetSpec = "llvm -mcpu=native",
    *,
    input_shapes: Shapes | None = None,
    bind: Bound | None = None,
    outputs: Sequence[str] | None = None,
) -> list[Task]:
    """Return the kernels of a model that ``tuning.tune.tune`` can tune; parameters and errors as for ``compile``."""
    from .tuning.tasks import extract_tasks

    target = parse_target(target)
    row = row_of(target)
    prepared = _prepared(model, _Given(input_shapes, bind, outputs))
    with explained("looking for kernels"):
        return extract_tasks(Realize(row)(Layout()(RestoreWeights()(prepared.mod))), target, row)


def run_on_host(
    mod: tvm.IRModule, cores: int | None = None
) -> Callable[[dict[str, np.ndarray]], list[np.ndarray]]:
    """Compile a float module whose ``main`` returns a tuple with this machine's kernels, for calibration.

    They run on so many cores; None means all of them.
    """
    target = parse_target("llvm -mcpu=native")
    names = [param.name for param in mod["main"].params]
    built = _build(Layout()(RestoreWeights()(mod)), target, row_of(target))
    main = relax.VirtualMachine(built.executable, tvm.cpu())["main"]

    def run(inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        use_threads(cores)
        return [value.numpy() for value in main(*(tvm.runtime.tensor(inputs[name]) for name in names))]

    return run


def _build(
    mod: tvm.IRModule, target: tvm.target.Target, row: TargetRow, records: Path | None = None
) -> Built:
    """Run ``build``; an error of TVM's names the node that it is about."""

    def where() -> str:
        return describe_layer(mod, failing_layer(mod, lambda alone: build(alone, target, row)))

    with explained("compiling", where):
        return build(mod, target, row, records)


@dataclass(frozen=True)
class _Start:
    """A prepared float module and how it is to be quantized."""

    mod: tvm.IRModule
    recipe: Recipe

    def model(self, recipe: Recipe) -> QuantizedModel:
        """Return the module quantized by a recipe."""
        passes = quantization_passes(recipe.scheme, recipe.row, recipe.options, recipe.data)
        mod, stages = run_passes(self.mod, passes)
        if isinstance(recipe.data.samples, FileSamples):
            for note in recipe.data.samples.notes:
                logger.warning(note)
        return QuantizedModel(mod, recipe.scheme.name, stages)


def _start(
    model: Model,
    scheme: str,
    target: TargetSpec,
    calibration: Samples | None,
    given: _Given,
    options: QuantizeOptions | None,
    search: SearchOptions | None,
    progress: Progress | None,
) -> _Start | QuantizedModel:
    """Return what is to be quantized, its bits found where they are to be searched; a model that comes quantized."""
    row = row_of(parse_target(target))
    chosen = get_scheme(scheme)
    options = options or QuantizeOptions()
    if search is not None and not chosen.searched:
        raise TvmqError(
            f"options of the search have no effect with the scheme {chosen.name!r}, only with 'mixed'"
        )
    mod = _imported(model, given)
    if has_pairs(mod):
        return QuantizedModel(mod, chosen.name)
    if calibration is None:
        if (
            not chosen.weight_only
            and options.calibration_cache is None
            and not options.parameters.activations
        ):
            raise TvmqError(
                "quantization of a float model needs calibration samples (calibration=, --calibration-data)"
            )
        calibration = ()  # where the cache has every range, only the passes that look at values need samples
    data = CalibrationData(_samples(calibration, mod), run_on_host, progress, partial(run_on_host, cores=1))
    recipe = Recipe(chosen, row, options, data)
    if chosen.searched:
        found = search_bits(
            mod,
            recipe,
            search or SearchOptions(),
            lambda quantized: compile(QuantizedModel(quantized, chosen.name), target),
        )
        recipe = recipe if found is None else replace(recipe, options=found.options(options))
    return _Start(mod, recipe)


def _prepared(model: Model | QuantizedModel, given: _Given) -> QuantizedModel:
    """Return the module that is to be realized, with the name of the scheme that it is compiled in."""
    if isinstance(model, QuantizedModel):
        given.refuse_for("a model that quantize returned")
        mod, scheme = model.mod, model.scheme
    else:
        mod = _imported(model, given)
        scheme = "int8" if has_pairs(mod) else "float"
    if scheme_of(mod) is not None and not has_pairs(mod):
        scheme = "float"
    return QuantizedModel(mod, scheme)


def _imported(model: Model, given: _Given) -> tvm.IRModule:
    """Return the model as the passes want it."""
    if isinstance(model, tvm.IRModule):
        given.refuse_for("a Relax module")
        mod = adopt(model)
    else:
        mod = load_onnx(model, dict(given.input_shapes or {}) or None, given.bind, given.outputs)
    with explained(
        "preparing", lambda: describe_layer(mod, failing_layer(mod, partial(tvm.compile, target="llvm")))
    ):
        return Prepare()(mod)


def _samples(calibration: Samples, mod: tvm.IRModule) -> Iterable[Mapping[str, np.ndarray]]:
    """Return the samples for the module's inputs; they can be walked through again. None stay ``()``."""
    if isinstance(calibration, tuple) and not calibration:
        return calibration
    specs = {param.name: (shape_of(param), dtype_of(param)) for param in mod["main"].params}
    if isinstance(calibration, str | os.PathLike):
        calibration = CalibrationFiles(calibration)
    if isinstance(calibration, CalibrationFiles):
        return calibration.open(specs)
    return given_samples(repeatable(calibration), specs)
