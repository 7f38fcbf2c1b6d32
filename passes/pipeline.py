"""The phases of quantization in their order: from a float module to the Q/DQ hub with integer weights."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from tvm.ir.transform import Pass
from tvm.target import Target

from ..errors import TvmqError
from ..targets.features import row_of
from ..targets.parse import parse_target
from ..targets.row import TargetRow
from .annotate.annotate import Annotate
from .annotate.options import QuantizeOptions
from .annotate.scheme_options import check_samples
from .calibrate.calibrate import Calibrate
from .calibrate.kept_outputs import KeptOutputs
from .calibrate.observers import LOSS_AWARE
from .calibrate.on_samples import ReadsSamples
from .calibrate.sample_check import Sample
from .calibrate.set_parameters import SetParameters, WriteParameters
from .calibrate.spool import repeatable
from .calibrate.watch import Runner
from .hub.calibration_cache import read_cache
from .hub.schemes import Scheme, get_scheme
from .improve.absorb_bias import AbsorbBias
from .improve.analytic_bias import CorrectBiasFromWeights
from .improve.bias_correction import CorrectBias
from .improve.binarize import ONE_BIT, Binarize, without_one_bit
from .improve.center import CenterActivations
from .improve.equalize import Equalize
from .improve.equalize_activations import EqualizeActivations
from .improve.fit_products import FitProducts
from .improve.loss_aware import LossAwareClip
from .improve.reconstruct import Reconstruct
from .improve.rounding import RoundWeights
from .improve.sequential_bias import CorrectBiasSequentially
from .improve.smooth import Smooth
from .improve.spare_layers import SpareLayers
from .improve.tune_mixed_bits import TuneMixedBits
from .prepare.prepare import Prepare
from .realize.fold_weights import FoldWeights
from .scripting.pass_list import Pipeline
from .train.fine_tune import FineTune, KeepTeacher, Teacher
from .train.held_out import Learned
from .train.network import Compile, compile_in_place
from .weight_only.compress import CompressWeights


@dataclass(frozen=True)
class CalibrationData(ReadsSamples):
    """What every pass that looks at values needs.

    Attributes
    ----------
    samples : can be walked through more than once: each pass runs the model on them anew.
    serial_runner : a runner on one thread, for passes that multiply matrices between two runs: the threads that NumPy
        has for that go on spinning on all cores for a while. None takes ``runner``.
    compile_function : as for ``FineTune``.
    labelled : as for ``FineTune``.
    outputs : as for ``Calibrate``.
    """

    serial_runner: Runner | None = field(default=None, kw_only=True)
    compile_function: Compile = field(default=compile_in_place, kw_only=True)
    labelled: Iterable[tuple[Sample, np.ndarray]] | None = field(default=None, kw_only=True)
    outputs: KeptOutputs | None = field(default=None, kw_only=True)

    @property
    def arguments(self) -> dict[str, Any]:
        """The same as arguments of a pass."""
        return {"samples": self.samples, "runner": self.runner, "progress": self.progress}

    @property
    def serial_arguments(self) -> dict[str, Any]:
        """The same for passes that multiply matrices between two runs."""
        return {**self.arguments, "runner": self.serial_runner or self.runner}


def default_pipeline(
    scheme: str | Scheme,
    target: str | Mapping[str, Any] | Target | TargetRow | None,
    samples: Iterable[Sample],
    *,
    options: QuantizeOptions | None = None,
) -> Pipeline:
    """Return the passes of ``tvmq.quantize``, from a model as it was read to one that ``tvmq.compile`` takes.

    Parameters
    ----------
    scheme : a scheme or its name.
    target : what the model will be compiled for; None for no target in particular.
    samples : as ``Calibrate`` takes them, or ``CalibrationData``, which also says how the model is run on them:
        ``tvmq.calibration_data`` does it on this project's own kernels.

    Raises
    ------
    TvmqError : an unknown scheme or target; options that do not go together; a scheme whose bits are searched for,
        which takes more than passes.
    """
    scheme = get_scheme(scheme) if isinstance(scheme, str) else scheme
    if scheme.searched:
        raise TvmqError(
            f"the bits of scheme {scheme.name!r} are searched for, which tvmq.quantize does and no list of passes"
        )
    if target is not None and not isinstance(target, TargetRow):
        target = row_of(parse_target(target))
    data = samples if isinstance(samples, CalibrationData) else CalibrationData(repeatable(samples))
    return Pipeline(
        [Prepare(in_float32=True), *quantization_passes(scheme, target, options or QuantizeOptions(), data)]
    )


def quantization_passes(
    scheme: Scheme, row: TargetRow | None, options: QuantizeOptions, data: CalibrationData
) -> Pipeline:
    """Return the passes that quantize a module which ``Prepare`` has rewritten."""
    check_samples(scheme, options, data.samples != ())
    teacher, learned = Teacher(), _learned_from(options, data)
    if scheme.weight_only:
        return Pipeline(
            [
                *_keeping(teacher, options.fine_tune is not None),
                CompressWeights(scheme, options, **learned.arguments),
                *_learning_passes(options, data, teacher),
            ]
        )
    return Pipeline(
        [
            *_keeping(teacher, options.fine_tune is not None and _has_bits(scheme, options)),
            *calibration_passes(scheme, row, options, learned),
            *_sparing_passes(scheme, options, learned),
            *_keeping(teacher, options.fine_tune is not None and not _has_bits(scheme, options)),
            *_rounding_passes(scheme, options, learned),
            *_learning_passes(options, data, teacher),
            FoldWeights(),
        ]
    )


def calibration_passes(
    scheme: Scheme, row: TargetRow | None, options: QuantizeOptions, data: CalibrationData
) -> Pipeline:
    """Return the first of them: those behind which every pair has parameters, and weights are rounded to nearest."""
    cache = options.calibration_cache
    cached = cache is not None and os.path.exists(cache)
    given = [read_cache(cache)] if cached else []  # what the options say wins
    given.append(options.parameters)
    observer = options.observer or scheme.observer
    of_integers = without_one_bit(options)
    float_passes = _float_passes(scheme, options, data)
    same = not any(isinstance(each, Binarize) for each in float_passes)  # as the float model's
    passes: list[Pass] = [
        *float_passes,
        TuneMixedBits(scheme, row, of_integers, **data.arguments)
        if options.mixed_auto_tune
        else Annotate(scheme, row, of_integers, has_samples=_has_scales(options, data)),
        *map(SetParameters, given),
        Calibrate(
            observer=observer,
            weight_observer=options.weight_observer or scheme.weight_observer,
            outputs=data.outputs if same else None,
            **data.arguments,
        ),
    ]
    if observer == LOSS_AWARE:
        fixed = frozenset().union(*(parameters.activations for parameters in given))
        passes.append(LossAwareClip(keep=fixed, **data.arguments))
    if cache is not None and not cached:
        passes.append(WriteParameters(cache))
    return Pipeline(passes)


def _learned_from(options: QuantizeOptions, data: CalibrationData) -> CalibrationData:
    """Return the data without the samples that fine-tuning holds out; all of them where it has others, with labels."""
    if options.fine_tune is None or data.labelled is not None:
        return data
    return replace(data, samples=Learned(data.samples, options.fine_tune.held_out))


def _keeping(teacher: Teacher, wanted: bool) -> list[Pass]:
    """Return the pass that keeps the float model, where that is wanted here."""
    return [KeepTeacher(teacher)] if wanted else []


def _has_bits(scheme: Scheme, options: QuantizeOptions) -> bool:
    return scheme.binary or any(bits in ONE_BIT for bits in options.bits.values())


def _learning_passes(options: QuantizeOptions, data: CalibrationData, teacher: Teacher) -> list[Pass]:
    """Return the pass that lets all parameters learn, where that is wanted."""
    if options.fine_tune is None:
        return []
    return [
        FineTune(
            options=options.fine_tune,
            teacher=teacher,
            labelled=data.labelled,
            compile_function=data.compile_function,
            **data.arguments,
        )
    ]


def _has_scales(options: QuantizeOptions, data: CalibrationData) -> bool:
    """Tell whether there is anything that scales of tensors could be from."""
    given = options.calibration_cache is not None or bool(options.parameters.activations)
    return given or data.samples != ()


def _float_passes(scheme: Scheme, options: QuantizeOptions, data: CalibrationData) -> list[Pass]:
    """Return the passes that make the float model easier to quantize, and leave what it computes."""
    passes: list[Pass] = []
    if options.smooth is not None:
        passes.append(Smooth(alpha=options.smooth, **data.arguments))
    elif not scheme.dynamic and (scales := options.activation_scales or scheme.activation_scales):
        passes.append(FitProducts(scales=scales, **data.arguments))
    if options.equalize:
        passes.append(Equalize(**data.arguments))
    if options.absorb_bias:
        passes.append(AbsorbBias(**data.arguments))
    strength = options.equalize_activations
    if strength is None:
        strength = scheme.equalize_activations
    if strength:
        passes.append(CenterActivations(**data.arguments))
        passes.append(EqualizeActivations(strength=strength, **data.arguments))
    if _has_bits(scheme, options):
        kept = data.outputs or KeptOutputs()
        passes.append(Binarize(options=options, all_layers=scheme.binary, outputs=kept, **data.arguments))
    return passes


def _sparing_passes(scheme: Scheme, options: QuantizeOptions, data: CalibrationData) -> list[Pass]:
    """Return the pass that leaves layers in float; none where the user has said which, or what runs has no float."""
    below = scheme.float_below if options.float_below is None else options.float_below
    said = options.quantize_only or options.bits or options.hardware is not None
    if not below or (said and options.float_below is None):
        return []
    return [SpareLayers(below=below, **data.arguments)]


def _rounding_passes(scheme: Scheme, options: QuantizeOptions, data: CalibrationData) -> list[Pass]:
    """Return the passes that choose integers and biases; raises ``TvmqError`` for a correction without effect."""
    rounding, bias_correction = options.rounding or scheme.rounding, options.bias_correction
    if rounding in ("hessian", "reconstruct"):
        if bias_correction is not None:
            raise TvmqError(
                f"bias_correction {bias_correction!r} has no effect: the rounding {rounding!r} chooses the biases "
                "itself"
            )
        return [(RoundWeights if rounding == "hessian" else Reconstruct)(**data.serial_arguments)]
    corrections: dict[str, Pass] = {
        "empirical": CorrectBias(**data.arguments),
        "sequential": CorrectBiasSequentially(**data.arguments),
        "analytic": CorrectBiasFromWeights(),
    }
    wanted = bias_correction or ("empirical" if not scheme.dynamic or data.samples != () else "none")
    return [corrections[wanted]] if wanted in corrections else []
