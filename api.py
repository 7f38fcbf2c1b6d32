"""The public functions: ``quantize``, ``compile`` and ``load``."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import tvm

from .errors import TvmqError, unknown
from .exports.formats import FORMATS
from .exports.write import save_onnx, to_onnx
from .frontends.samples.files import Samples as FileSamples
from .given import Bound, Dtypes, Given, Model, Samples, Shapes, imported, labelled_samples, samples_for
from .passes.annotate.learning import FineTuneOptions
from .passes.annotate.options import QuantizeOptions
from .passes.calibrate.kept_outputs import KeptOutputs
from .passes.hub.annotation import has_pairs, scheme_of
from .passes.hub.ffi_errors import explained
from .passes.hub.indices import index_ranges
from .passes.hub.layers import Layer, get_layers
from .passes.hub.open_dims import at, ranges_of, top_of
from .passes.hub.pairs import float_form
from .passes.hub.schemes import get_scheme
from .passes.pipeline import CalibrationData, quantization_passes
from .passes.realize.fold_weights import FoldWeights
from .passes.realize.layout import Layout
from .passes.realize.realize import Realize
from .passes.train.binary import float_weights
from .passes.train.fine_tune import slopes_of
from .passes.train.trainable import TrainableModel
from .passes.weight_only.restore import RestoreWeights
from .report.against_float import against_float, float_outputs
from .report.collect import SAMPLES, collect
from .report.compiled import with_package
from .report.nearness import AgainstFloat
from .report.report import Report
from .report.stages import Stages, run_passes
from .runtime.c_library.library import CLibrary, make_library
from .runtime.c_library.tensors import check_name
from .runtime.c_library.tools import tools_for
from .runtime.compilers import linker_for
from .runtime.describe import describe
from .runtime.package import Package, load
from .schedules.blame import build_explained, run_explained
from .schedules.c_library.build import build_for_c
from .schedules.context import pass_context
from .schedules.cuda.archs import check_cuda_archs, common_row
from .schedules.lowering import ALIGNMENT
from .schedules.open.instances import part_sizes
from .schedules.options import CompileOptions
from .schedules.pipeline import Built, build_open
from .schedules.sources import LoweredKernels, check_formats, sources_of
from .search.accuracy_control import Controlled, control_accuracy
from .search.host import KeepsLast, function_on_host, run_on_host
from .search.metrics import Metric
from .search.options import SearchOptions, check_drop
from .search.recipe import Recipe
from .search.search import search_bits, search_key
from .search.state import SearchState
from .targets.features import refuse_gpu, row_of, threads_of, triple_of
from .targets.parse import parse_target
from .targets.row import Extents, TargetRow
from .tuning_logs import shipped_records

if TYPE_CHECKING:
    from .tuning.tasks import Task

logger = logging.getLogger(__name__)

__all__ = [
    "CLibrary",
    "CompileOptions",
    "Controlled",
    "Package",
    "QuantizeOptions",
    "QuantizedModel",
    "SearchOptions",
    "calibration_data",
    "compile",
    "compile_c_library",
    "load",
    "quantize",
    "quantize_with_accuracy_control",
    "run_on_host",
]

TargetSpec: TypeAlias = str | os.PathLike[str] | Mapping[str, Any] | tvm.target.Target
Progress: TypeAlias = Callable[[str, int | None], AbstractContextManager[Any]]


@dataclass(frozen=True)
class QuantizedModel:
    """A model in Q/DQ form: still float in its interfaces, runnable and editable as a Relax module.

    Attributes
    ----------
    mod : the Q/DQ hub (``docs/architecture.md``).
    scheme : name of its quantization scheme.
    stages : modules on the way to it, with which ``report`` compares it; None where it came quantized.
    float_mod : the prepared float model; None where it came quantized.
    float_outputs : what that gives for the first samples, where it ran on them for the calibration.
    """

    mod: tvm.IRModule
    scheme: str
    stages: Stages | None = field(default=None, repr=False)
    float_mod: tvm.IRModule | None = field(default=None, repr=False)
    float_outputs: KeptOutputs = field(default_factory=KeptOutputs, repr=False, compare=False)

    @property
    def layers(self) -> list[Layer]:
        """What was decided for each node of the user's model, in graph order."""
        return get_layers(self.mod)

    def to_onnx(self, path: str | os.PathLike[str], format: str = "qdq") -> None:  # noqa: A002 (as in tvmc)
        """Write the model as an ONNX file, for other runtimes or ``compile``.

        Inputs, outputs and nodes have the names of the user's model. Weights beyond 2 GB go to ``<path>.data``.

        Parameters
        ----------
        format : ``"qdq"``: float operators between QuantizeLinear and DequantizeLinear; ``"qoperator"``: operators on
            integers where onnxruntime has any, for runtimes that do not know what to make of the former.

        Raises
        ------
        TvmqError : an operator has no form in ONNX, or nothing one on integers; a dimension is open; the file cannot be
            written.
        """
        if format not in FORMATS:
            raise unknown("format of ONNX files", format, FORMATS)
        with explained("writing ONNX"):
            save_onnx(FORMATS[format](to_onnx(self.mod)), path)

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
            found = samples_for(samples, self.mod)
            report = collect(stages, self.scheme, found, limit, run_on_host, progress)
            return report if package is None else with_package(report, package, next(iter(found)))

    def trainable(self, batch: int = 16, sign_gradient: str = "straight") -> TrainableModel:
        """Return the model for a training loop of one's own: its parameters, and their gradients of any loss.

        ``trained`` makes a model of what has been learned. Raises ``TvmqError`` where the model came quantized, and for
        an unknown gradient.

        Parameters
        ----------
        batch : how many samples go through at a time.
        sign_gradient : as in ``FineTuneOptions``.
        """
        slopes = slopes_of(FineTuneOptions(sign_gradient=sign_gradient))
        if self.stages is None:
            raise TvmqError(
                "a model that came quantized has no float weights to train: give quantize the float model"
            )
        with explained("training"):
            originals = {} if self.float_mod is None else float_weights(self.float_mod)
            return TrainableModel(self.stages.simulated, function_on_host, batch, originals, slopes)

    def trained(self, model: TrainableModel) -> QuantizedModel:
        """Return this model with what ``trainable`` has learned since."""
        with explained("training"):
            learned = model.learned()
            stages = None if self.stages is None else replace(self.stages, simulated=learned)
            # Compressed weights are stored as they are.
            folded = FoldWeights()(learned) if has_pairs(learned) else learned
            return replace(self, mod=folded, stages=stages)

    def against_float(self, package: Package | None, samples: Samples = ()) -> AgainstFloat | None:
        """Return how near what ``compile`` made of this model is to float, by running it; None without samples.

        A few ``samples`` are taken, as for ``quantize``; the default is the first ones of the calibration. Where there
        is no package, or none that this machine can run, the same integers are compiled for this machine, as the result
        says. Raises ``TvmqError`` for a sample that does not fit the model's inputs.
        """
        kept = self.float_outputs
        if samples != () or not kept.pairs:
            mod = float_form(self.mod) if self.float_mod is None else self.float_mod
            kept = float_outputs(mod, samples_for(samples, mod), run_on_host)
        return against_float(package, kept.pairs, partial(compile, self)) if kept.pairs else None


def quantize(
    model: Model,
    scheme: str = "int8",
    target: TargetSpec = "llvm -mcpu=native",
    calibration: Samples | None = None,
    *,
    input_shapes: Shapes | None = None,
    input_dtypes: Dtypes | None = None,
    bind: Bound | None = None,
    outputs: Sequence[str] | None = None,
    options: QuantizeOptions | None = None,
    search: SearchOptions | None = None,
    progress: Progress | None = None,
) -> QuantizedModel:
    """Quantize a trained float model after training.

    Parameters
    ----------
    model : path of an ONNX file, an ONNX model, a ``torch.export.ExportedProgram``, or a Relax module.
    scheme : name of a row of ``passes.hub.schemes.SCHEMES``.
    target : what the model will be compiled for, as for ``compile``; it decides which operators are quantized.
    calibration : samples, each ``{input name: array}`` of the input's shape, its dtype converted where the values
        survive (``passes.calibrate.sample_check``); or a path that
        ``frontends.samples.files.read_samples`` reads, or ``CalibrationFiles``, such a path with options. What is left
        out of files is logged as a warning. A model that comes quantized needs none.
        Nor does one whose calibration cache has every tensor, without the passes that look at values, nor a
        weight-only scheme, which takes them for its biases alone, nor a dynamic one, which leaves convolutions in
        float without them.
    input_shapes : shapes of the inputs that the model, of ONNX or torch, leaves open.
    input_dtypes : dtypes of the inputs of an ONNX model that leaves them open, by name: ``{"x": "float32"}``.
    bind : inputs of an ONNX model that become constants, each with a number, list or array: ``{"sr": 16000}``.
    outputs : names of values or nodes of an ONNX model at which it ends, in place of its own outputs.
    options : what is skipped, which observer is used, and so on.
    search : the budget of the search for bits, with the scheme ``"mixed"``; None keeps the cosine of the outputs.
    progress : ``(description, total) -> context of a bar with update(n)``; None shows nothing.

    Raises
    ------
    TvmqError : whatever the model, the samples or the options are at fault for.
    """
    given = Given(input_shapes, input_dtypes, bind, outputs)
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
    input_dtypes: Dtypes | None = None,
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
    model, scheme, target, calibration, input_shapes, input_dtypes, bind, outputs, options, search, progress : as for
        ``quantize``.

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
    given = Given(input_shapes, input_dtypes, bind, outputs)
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
    input_dtypes: Dtypes | None = None,
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
    input_shapes, input_dtypes, bind, outputs, progress : as for ``quantize``.
    options : linker, tuned records, configuration of TVM's passes, code as text.

    Raises
    ------
    TvmqError : whatever the model, the target or the options are at fault for.
    """
    target = parse_target(target)
    options = options or CompileOptions()
    row = common_row(row_of(target, options.float_type), options.cuda_archs)
    linker_for(triple_of(target), options.cross_compiler, options.cross_compiler_options)
    check_cuda_archs(target, options.cuda_archs)
    check_formats(options.dump_code, target)
    prepared = _prepared(model, Given(input_shapes, input_dtypes, bind, outputs))
    with _compiling(options, progress) as lowered:
        records = options.tuning_records or shipped_records(row, threads_of(target))
        graph, built = _built(prepared.mod, target, row, records, options.cuda_graph)
        metadata = describe(
            *(built.mod, target, prepared.scheme),
            kernels=built.kernels,
            activation_bytes=built.activation_bytes,
            alignment=ALIGNMENT,
            ranges=index_ranges(graph),
        )
    package = Package.from_executable(
        built.executable,
        metadata,
        cross_compiler=options.cross_compiler,
        cross_compiler_options=options.cross_compiler_options,
    )
    package.sources = sources_of(
        options.dump_code,
        graph,
        built.executable.mod.imports,
        lowered[0] if lowered else None,
        getattr(built.executable, "device_code", ()),
    )
    return package


def _built(
    mod: tvm.IRModule, target: tvm.target.Target, row: TargetRow, records: Path | None, cuda_graph: bool
) -> tuple[tvm.IRModule, Built]:
    """Return the module of integer operators, of open dimensions at their greatest, and what is made of it."""

    laid = Layout()(mod)
    ranges = ranges_of(laid)
    if not ranges:
        graph = Realize(row)(laid)
        return graph, build_explained(graph, target, row, records, cuda_graph)
    if row.gpu is not None:
        raise _not_open(mod, "a GPU")
    build = partial(build_open, lower=lambda static, own_row: Realize(own_row)(static))
    graph = Realize(row)(at(laid, top_of(ranges)))
    return graph, run_explained(build, laid, target, row, records)


def _not_open(mod: tvm.IRModule, what: str) -> TvmqError:
    dimensions = ", ".join(map(repr, ranges_of(mod)))
    return TvmqError(f"open dimensions ({dimensions}) are not supported for {what} yet: give them one size")


@contextmanager
def _compiling(options: CompileOptions, progress: Progress | None) -> Iterator[list[LoweredKernels]]:
    """Give the block what ``options`` ask of TVM; yield what keeps the kernels' code, where that is dumped."""
    lowered = [LoweredKernels()] if "tir" in options.dump_code else []
    with (
        explained("compiling"),
        nullcontext() if progress is None else progress("compile", None),
        pass_context(options, *lowered),
    ):
        yield lowered


def compile_c_library(
    model: Model | QuantizedModel,
    target: TargetSpec = "llvm -mcpu=native",
    *,
    name: str = "model",
    input_shapes: Shapes | None = None,
    input_dtypes: Dtypes | None = None,
    bind: Bound | None = None,
    outputs: Sequence[str] | None = None,
    options: CompileOptions | None = None,
    progress: Progress | None = None,
) -> CLibrary:
    """Compile a model to a C library of one thread, which needs no TVM (``docs/c-static.md``).

    Parameters
    ----------
    name : what the library's files and functions are named by: letters, digits and underscores.
    model, target, input_shapes, input_dtypes, bind, outputs, options, progress : as for ``compile``; the cross compiler
        is one of C, and None takes the usual one of the target's triple.

    Raises
    ------
    TvmqError : as ``compile`` does; a layer takes TVM's runtime; there is no C compiler for the target.
    """
    check_name(name)
    target = parse_target(target, num_cores=1)
    refuse_gpu(target, "a C library")
    options = options or CompileOptions()
    row = row_of(target, options.float_type)
    tools = tools_for(triple_of(target), options.cross_compiler, options.cross_compiler_options)
    prepared = _prepared(model, Given(input_shapes, input_dtypes, bind, outputs))
    if ranges_of(prepared.mod):
        raise _not_open(prepared.mod, "a C library")
    with _compiling(options, progress) as lowered:
        records = options.tuning_records or shipped_records(row, threads_of(target))
        graph = Realize(row)(Layout()(RestoreWeights()(prepared.mod)))
        built = run_explained(partial(build_for_c, prefix=f"{name}_"), graph, target, row, records)
        metadata = describe(
            *(built.mod, target, prepared.scheme),
            kernels=built.kernels,
            activation_bytes=built.plan.workspace_bytes,
            alignment=ALIGNMENT,
            ranges=index_ranges(graph),
        )
    library = make_library(name, built.code, built.plan, metadata, tools)
    library.sources.update(sources_of(options.dump_code, graph, built.code, lowered[0] if lowered else None))
    return library


def calibration_data(
    calibration: Samples, mod: tvm.IRModule, progress: Progress | None = None
) -> CalibrationData:
    """Return samples as passes take them, run on this project's own kernels.

    Parameters
    ----------
    calibration, progress : as for ``quantize``.
    mod : the model, whose inputs say what arrays a file must hold.

    Raises
    ------
    TvmqError : a file that cannot be read, or holds nothing that fits.
    """
    samples = samples_for(calibration, mod)
    count = len(samples) if isinstance(samples, Sized) else None
    return CalibrationData(
        samples,
        runner=KeepsLast(partial(run_on_host, cores=1, samples=count)),
        progress=progress,
        serial_runner=partial(run_on_host, cores=1),
        compile_function=function_on_host,
        outputs=KeptOutputs(),
    )


def tuning_tasks(
    model: Model | QuantizedModel,
    target: TargetSpec = "llvm -mcpu=native",
    *,
    input_shapes: Shapes | None = None,
    input_dtypes: Dtypes | None = None,
    bind: Bound | None = None,
    outputs: Sequence[str] | None = None,
) -> list[Task]:
    """Return the kernels of a model that ``tuning.tune.tune`` can tune; parameters and errors as for ``compile``."""
    from .tuning.tasks import extract_tasks

    target = parse_target(target)
    row = row_of(target)
    prepared = _prepared(model, Given(input_shapes, input_dtypes, bind, outputs))
    with explained("looking for kernels"):
        laid = Layout()(RestoreWeights()(prepared.mod))
        ranges = ranges_of(laid)
        if not ranges:
            return extract_tasks(Realize(row)(laid), target, row)
        row = replace(row, extents=Extents.PART)
        of_parts = [extract_tasks(Realize(row)(at(laid, sizes)), target, row) for sizes in part_sizes(ranges)]
        return list({task.hash: task for tasks in of_parts for task in tasks}.values())


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
        return QuantizedModel(mod, recipe.scheme.name, stages, self.mod, recipe.data.outputs or KeptOutputs())


def _start(
    model: Model,
    scheme: str,
    target: TargetSpec,
    calibration: Samples | None,
    given: Given,
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
    mod = imported(model, given, in_float32=True)
    if has_pairs(mod):
        return QuantizedModel(mod, chosen.name)
    if calibration is None:
        if (
            not (chosen.weight_only or chosen.dynamic)
            and options.calibration_cache is None
            and not options.parameters.activations
        ):
            raise TvmqError(
                "quantization of a float model needs calibration samples (calibration=, --calibration-data); the "
                "schemes 'dynamic' and 'weight-only' need none"
            )
        calibration = ()  # where the cache has every range, only the passes that look at values need samples
    data = replace(calibration_data(calibration, mod, progress), labelled=labelled_samples(options, mod))
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


def _prepared(model: Model | QuantizedModel, given: Given) -> QuantizedModel:
    """Return the module that is to be realized, with the name of the scheme that it is compiled in."""
    if isinstance(model, QuantizedModel):
        given.refuse_for("a model that quantize returned")
        mod, scheme = model.mod, model.scheme
    else:
        mod = imported(model, given)
        scheme = "int8" if has_pairs(mod) else "float"
    if scheme_of(mod) is not None and not has_pairs(mod):
        scheme = "float"
    return QuantizedModel(mod, scheme)
