"""What a user may say about quantization beyond the scheme."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from ...errors import TvmqError, unknown
from ...targets.hardware import SYMMETRIES, Hardware
from ..hub.calibration_cache import CalibrationCache
from ..hub.codes import MAX_BITS, MAX_CODEBOOK_BITS
from ..hub.schemes import ROUNDINGS
from .learning import FineTuneOptions

START_SCALE = 0.02
"""Of mixed bits, where nothing is said."""

ACTIVATION_SCALES = ("auto", "static", "dynamic")

BIAS_CORRECTIONS = ("none", "empirical", "sequential", "analytic")
"""How biases make up for the mean error of what was rounded: not at all; for each layer's weights, from samples; for
all before the layer too, from samples; for each layer's weights, from the weights before it."""


@dataclass(frozen=True)
class QuantizeOptions:
    """Choices of ``tvmq.quantize``; every default is what a user who knows nothing should get.

    Layer names and patterns are those of the user's ONNX nodes: a name, an operator type such as
    ``"Softmax"`` or a glob such as ``"*/attention/*"``. Whether each matches is checked against the model.

    Attributes
    ----------
    observer : the activations' observer, a key of ``passes.calibrate.observers.OBSERVERS``; None takes the scheme's.
    weight_observer : the weights' observer, a key of ``passes.calibrate.observers.WEIGHT_OBSERVERS``; None takes the
        default.
    power_of_two : round every scale up to a power of two, for hardware that shifts instead of multiplying.
    pair_safe_weights : on a target whose fast multiply could saturate (AVX2, AVX512 without VNNI), enlarge the
        scales of output channels until it cannot; else such layers take the slower multiply (``docs/avx2.md``).
    calibration_cache : a file of parameters (``passes.hub.calibration_cache``). Where it exists, the tensors that it
        names get its parameters and the others are calibrated; else it is written, with all of them.
    parameters : the same from Python; it wins over the file.
    rounding : how weights become integers: ``"nearest"``; ``"hessian"``, for the layer's result, which also chooses
        scales and biases (``passes.improve.rounding``); or ``"reconstruct"``, then for the result of several
        blocks, which also chooses steps of activations (``passes.improve.reconstruct``). None takes the scheme's.
    bias_correction : take the mean error of the rounded weights off the biases: ``"empirical"``, from samples
        (``passes.improve.bias_correction``); ``"sequential"``, with the errors before each layer
        (``passes.improve.sequential_bias``); ``"analytic"``, without samples (``passes.improve.analytic_bias``); or
        ``"none"``. None takes ``"empirical"``, and nothing where the rounding chooses the biases. A weight-only scheme
        takes ``"analytic"`` where it has no samples, and has no ``"sequential"``.
    equalize : make the ranges of neighbouring layers' weights alike first (``passes.improve.equalize``).
    absorb_bias : move biases that keep a channel above 0 to the next layer first (``passes.improve.absorb_bias``).
    equalize_activations : make the channels of activations alike first, their means (``passes.improve.center``) and
        their sizes (``passes.improve.equalize_activations``), these from 0, nothing at all, to 1, wholly; None takes
        the scheme's.
    smooth : move the ranges of activations into the weights of the matrix products that read them first, the larger
        the more, from 0 to 1 (``passes.improve.smooth``); None does not.
    activation_scales : of what matrix products with weights read: ``"static"``, one for all values, from samples;
        ``"dynamic"``, one for each row, found while the model runs; or ``"auto"``, in a network with layer norms what
        samples show to be better for each layer (``passes.improve.fit_products``), in others static. None takes the
        scheme's.
    float_below : small layers whose input's rounding alone leaves a ratio of signal to noise below this, in decibels,
        in their result stay in float (``passes.improve.spare_layers``); 0 spares none, None takes the scheme's.
    per_channel : one weight scale an output channel, or one a tensor; None takes the scheme's.
    activations : ``"asymmetric"`` or ``"symmetric"``; None takes the scheme's.
    weight_bits, activation_bits : 2 to 8; None takes the scheme's. The first and the last layer keep the scheme's.
        0 of the weights mixes bits by layer (``passes.annotate.mixed_bits``). A weight-only scheme takes 1 to 16, of
        all layers.
    depthwise_bits : of depthwise convolutions' weights and of what they read, 2 to 8; None takes the scheme's.
    group_size : with a weight-only scheme, the number of input channels that share a scale; None for all of them.
        Where it does not divide them, the last group has fewer.
    codebook : with a weight-only scheme, a table of the best ``2^weight_bits`` values for each layer
        (``passes.weight_only.codebook``) instead of integers.
    mixed_start_scale : with mixed bits, how far rounding may move a layer's weights, as a share of them, in (0, 1).
        With a weight-only scheme, those of a layer of mean size (``passes.weight_only.compress``).
    mixed_auto_tune : with mixed bits, search the start scale instead, by the cosine of the model's output.
    bits : bits of the weights, or of weights and activations, 2 to 8, by name or pattern of the weighted layers
        that should not have the scheme's, or 1 for both (``passes.improve.binarize``); of several that match, the last
        counts.
    allow_wider : weights of bits for which the target has no kernel get the next more for which it has one, with a
        warning; else they are an error.
    min_weight_size, min_weight_channels : weighted layers with fewer weights, or fewer output channels, stay in float.
    skip_layers : nodes that stay in float, by name or pattern.
    skip_ops : nodes that stay in float, by operator type.
    quantize_only : where not empty, only these nodes are quantized.
    quantize_first, quantize_last : quantize the model's first and last weighted layer too.
    fine_tune : how all parameters learn by gradients in the end (``passes.train``); None lets none learn.
    hardware : the accelerator that the model is for; what it cannot do stays in float. None restricts nothing.
    """

    observer: str | None = None
    weight_observer: str | None = None
    power_of_two: bool = False
    pair_safe_weights: bool = True
    calibration_cache: str | os.PathLike[str] | None = None
    parameters: CalibrationCache = field(default_factory=CalibrationCache)
    rounding: str | None = None
    bias_correction: str | None = None
    equalize: bool = False
    absorb_bias: bool = False
    equalize_activations: float | None = None
    smooth: float | None = None
    activation_scales: str | None = None
    float_below: float | None = None
    per_channel: bool | None = None
    activations: str | None = None
    weight_bits: int | None = None
    mixed_start_scale: float = START_SCALE
    mixed_auto_tune: bool = False
    activation_bits: int | None = None
    depthwise_bits: int | None = None
    group_size: int | None = None
    codebook: bool = False
    bits: Mapping[str, int | tuple[int, int]] = field(default_factory=dict)
    allow_wider: bool = False
    min_weight_size: int = 0
    min_weight_channels: int = 0
    skip_layers: tuple[str, ...] = ()
    skip_ops: tuple[str, ...] = ()
    quantize_only: tuple[str, ...] = ()
    quantize_first: bool = True
    quantize_last: bool = True
    fine_tune: FineTuneOptions | None = None
    hardware: Hardware | None = None

    def __post_init__(self) -> None:
        if self.activations is not None and self.activations not in SYMMETRIES:
            raise unknown("kind of activations", self.activations, SYMMETRIES)
        if self.rounding is not None and self.rounding not in ROUNDINGS:
            raise unknown("rounding", self.rounding, ROUNDINGS)
        if self.bias_correction is not None and self.bias_correction not in BIAS_CORRECTIONS:
            raise unknown("bias correction", self.bias_correction, BIAS_CORRECTIONS)
        if self.activation_scales is not None and self.activation_scales not in ACTIVATION_SCALES:
            raise unknown("kind of scales", self.activation_scales, ACTIVATION_SCALES)
        if self.smooth is not None and self.activation_scales not in (None, "static"):
            raise TvmqError(
                f"smooth says how static scales come about, and activation_scales is {self.activation_scales!r}; it "
                "goes with 'static'"
            )
        for which in ("equalize_activations", "smooth"):
            share = getattr(self, which)
            if share is not None and not 0.0 <= share <= 1.0:
                raise TvmqError(f"{which} must be from 0 to 1, got {share}")
        if self.float_below is not None and not self.float_below >= 0.0:
            raise TvmqError(f"float_below must be at least 0 decibels, got {self.float_below}")
        most = MAX_CODEBOOK_BITS if self.codebook else MAX_BITS
        if self.weight_bits is not None and not 0 <= self.weight_bits <= most:
            with_codebook = " with a codebook" if self.codebook else ""
            raise TvmqError(f"weight_bits must be from 0 to {most}{with_codebook}, got {self.weight_bits}")
        for which in ("activation_bits", "depthwise_bits"):
            bits = getattr(self, which)
            if bits is not None and not 2 <= bits <= 8:
                raise TvmqError(f"{which} must be from 2 to 8, got {bits}")
        if self.group_size is not None and self.group_size < 1:
            raise TvmqError(f"group_size must be at least 1, got {self.group_size}")
        if not 0.0 < self.mixed_start_scale < 1.0:
            raise TvmqError(f"mixed_start_scale must be between 0 and 1, got {self.mixed_start_scale}")
        for which, is_default in (
            ("mixed_start_scale", self.mixed_start_scale == START_SCALE),
            ("mixed_auto_tune", not self.mixed_auto_tune),
        ):
            if not (is_default or self.has_mixed_bits):
                raise TvmqError(f"{which} has no effect unless weight_bits is 0")
        for which in ("skip_layers", "skip_ops", "quantize_only"):
            names = getattr(self, which)
            if isinstance(names, str):
                raise TvmqError(f"{which} must be a sequence of names, not the string {names!r}")
            if not all(isinstance(name, str) and name for name in names):
                raise TvmqError(f"{which} must hold non-empty names, got {names!r}")
            object.__setattr__(self, which, tuple(names))

    @property
    def has_mixed_bits(self) -> bool:
        return self.weight_bits == 0
