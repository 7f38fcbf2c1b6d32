"""Relax to Relax: rooms in the order in which a model walks through them (``docs/architecture.md``).

What a script needs is here by name; ``docs/passes.md`` shows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..targets.features import row_of as row_of
    from ..targets.parse import parse_target as parse_target
    from .annotate.annotate import Annotate as Annotate
    from .annotate.learning import FineTuneOptions as FineTuneOptions
    from .annotate.options import QuantizeOptions as QuantizeOptions
    from .calibrate.calibrate import Calibrate as Calibrate
    from .calibrate.on_samples import ReadsSamples as ReadsSamples
    from .calibrate.on_samples import RunsModel as RunsModel
    from .calibrate.set_parameters import SetParameters as SetParameters
    from .calibrate.set_parameters import WriteParameters as WriteParameters
    from .hub.annotation import has_pairs as has_pairs
    from .hub.calibration_cache import CalibrationCache as CalibrationCache
    from .hub.contract import module_pass as module_pass
    from .hub.layers import Layer as Layer
    from .hub.layers import get_layers as get_layers
    from .hub.pairs import ActivationPair as ActivationPair
    from .hub.pairs import ActivationParameters as ActivationParameters
    from .hub.pairs import WeightPair as WeightPair
    from .hub.pairs import WeightParameters as WeightParameters
    from .hub.pairs import activation_pairs as activation_pairs
    from .hub.pairs import edit as edit
    from .hub.pairs import float_form as float_form
    from .hub.pairs import weight_pairs as weight_pairs
    from .hub.parameters import activation_parameters as activation_parameters
    from .hub.parameters import quantize_weight as quantize_weight
    from .hub.schemes import Scheme as Scheme
    from .hub.schemes import get_scheme as get_scheme
    from .improve.absorb_bias import AbsorbBias as AbsorbBias
    from .improve.analytic_bias import CorrectBiasFromWeights as CorrectBiasFromWeights
    from .improve.bias_correction import CorrectBias as CorrectBias
    from .improve.binarize import Binarize as Binarize
    from .improve.center import CenterActivations as CenterActivations
    from .improve.equalize import Equalize as Equalize
    from .improve.equalize_activations import EqualizeActivations as EqualizeActivations
    from .improve.fit_products import FitProducts as FitProducts
    from .improve.loss_aware import LossAwareClip as LossAwareClip
    from .improve.reconstruct import Reconstruct as Reconstruct
    from .improve.rounding import RoundWeights as RoundWeights
    from .improve.sequential_bias import CorrectBiasSequentially as CorrectBiasSequentially
    from .improve.smooth import Smooth as Smooth
    from .improve.spare_layers import SpareLayers as SpareLayers
    from .improve.training import Learning as Learning
    from .improve.tune_mixed_bits import TuneMixedBits as TuneMixedBits
    from .pipeline import CalibrationData as CalibrationData
    from .pipeline import default_pipeline as default_pipeline
    from .prepare.prepare import Prepare as Prepare
    from .realize.fold_weights import FoldWeights as FoldWeights
    from .realize.layout import Layout as Layout
    from .realize.realize import Realize as Realize
    from .scripting.instruments import PassFiles as PassFiles
    from .scripting.instruments import PassTimes as PassTimes
    from .scripting.instruments import VerifyPasses as VerifyPasses
    from .scripting.pass_list import Pipeline as Pipeline
    from .train.fine_tune import FineTune as FineTune
    from .train.fine_tune import KeepTeacher as KeepTeacher
    from .train.fine_tune import Teacher as Teacher
    from .train.trainable import TrainableModel as TrainableModel
    from .weight_only.compress import CompressWeights as CompressWeights
    from .weight_only.restore import RestoreWeights as RestoreWeights

_LOCATIONS = {
    ".targets.features": "row_of",
    ".targets.parse": "parse_target",
    "prepare.prepare": "Prepare",
    "annotate.annotate": "Annotate",
    "annotate.learning": "FineTuneOptions",
    "annotate.options": "QuantizeOptions",
    "calibrate.calibrate": "Calibrate",
    "calibrate.on_samples": "ReadsSamples RunsModel",
    "calibrate.set_parameters": "SetParameters WriteParameters",
    "hub.annotation": "has_pairs",
    "hub.calibration_cache": "CalibrationCache",
    "hub.contract": "module_pass",
    "hub.layers": "Layer get_layers",
    "hub.pairs": "ActivationPair ActivationParameters WeightPair WeightParameters activation_pairs edit float_form "
    "weight_pairs",
    "hub.parameters": "activation_parameters quantize_weight",
    "hub.schemes": "Scheme get_scheme",
    "improve.absorb_bias": "AbsorbBias",
    "improve.analytic_bias": "CorrectBiasFromWeights",
    "improve.bias_correction": "CorrectBias",
    "improve.binarize": "Binarize",
    "improve.center": "CenterActivations",
    "improve.equalize": "Equalize",
    "improve.equalize_activations": "EqualizeActivations",
    "improve.fit_products": "FitProducts",
    "improve.loss_aware": "LossAwareClip",
    "improve.reconstruct": "Reconstruct",
    "improve.rounding": "RoundWeights",
    "improve.sequential_bias": "CorrectBiasSequentially",
    "improve.smooth": "Smooth",
    "improve.spare_layers": "SpareLayers",
    "improve.training": "Learning",
    "improve.tune_mixed_bits": "TuneMixedBits",
    "scripting.instruments": "PassFiles PassTimes VerifyPasses",
    "scripting.pass_list": "Pipeline",
    "pipeline": "CalibrationData default_pipeline",
    "realize.fold_weights": "FoldWeights",
    "realize.layout": "Layout",
    "realize.realize": "Realize",
    "train.fine_tune": "FineTune KeepTeacher Teacher",
    "train.trainable": "TrainableModel",
    "weight_only.compress": "CompressWeights",
    "weight_only.restore": "RestoreWeights",
}
"""The public names of each module. They load on first use: ``tvmc --help`` must not wait for TVM."""

_MODULES = {name: module for module, names in _LOCATIONS.items() for name in names.split()}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
