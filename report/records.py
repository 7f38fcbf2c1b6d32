"""What a report holds: plain records, one a tensor, an output and a layer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

ACTIVATION, INPUT, WEIGHTS = "activation", "input", "weights"


@dataclass(frozen=True)
class Bars:
    """Two histograms over the same bins.

    Attributes
    ----------
    low, high : where the first bin begins and the last one ends.
    before, after : counts for the float values and for those that stand for them.
    """

    low: float
    high: float
    before: list[int]
    after: list[int]


@dataclass(frozen=True)
class TensorRecord:
    """A quantized tensor; the statistics are those of its float values over all samples.

    Attributes
    ----------
    layer : name of the layer, or of the model's input, that gives the activation; that reads the weights.
    kind : ``"input"``, ``"activation"`` or ``"weights"``.
    min, q1, median, q3, max, mean, variance : of its values.
    sparsity : share of exact zeros.
    clip_rate : share of values beyond what the integers represent.
    bits : of the integers.
    scale, zero_point : of weights with one scale a channel the largest scale.
    cosine, sqnr : of the quantized values to the float ones, dB; of an activation, its own rounding alone.
    accumulated_cosine, accumulated_sqnr : the same with all that went wrong before it; None for weights.
    spread : the largest magnitude of a channel over the median channel's.
    bias_share : share of the (accumulated) squared error that is a constant offset of each channel.
    scales : how many scales it has.
    untuned_sqnr : what ``accumulated_sqnr`` was before fine-tuning, dB; None without, and for weights.
    """

    layer: str
    kind: str
    min: float
    q1: float
    median: float
    q3: float
    max: float
    mean: float
    variance: float
    sparsity: float
    clip_rate: float
    bits: int
    scale: float
    zero_point: int
    cosine: float
    sqnr: float
    accumulated_cosine: float | None
    accumulated_sqnr: float | None
    spread: float
    bias_share: float
    scales: int
    untuned_sqnr: float | None = None


@dataclass(frozen=True)
class OutputRecord:
    """An output of the model: quantized against float, over all samples.

    Attributes
    ----------
    max_error : the largest magnitude of a difference.
    same_argmax : share of rows whose largest element is in the same place; None where a row has one element.
    """

    name: str
    cosine: float
    sqnr: float
    max_error: float
    same_argmax: float | None


class Advice(NamedTuple):
    """What was seen of a layer, and what to try about it."""

    symptom: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.symptom}; {self.remedy}"


@dataclass(frozen=True)
class LayerRecord:
    """A layer of the user's model.

    Attributes
    ----------
    layer, op, status, reason : as in ``passes.hub.layers.Layer``.
    fused_into : the layer in whose kernel it is computed; empty where that is its own.
    weight_bytes : size of its integer weights.
    milliseconds : time of its kernel calls; None where it was not measured.
    operands : largest magnitudes of what it adds or joins; empty for other operators.
    advice : what to try next.
    """

    layer: str
    op: str
    status: str
    reason: str = ""
    fused_into: str = ""
    weight_bytes: int = 0
    milliseconds: float | None = None
    operands: tuple[float, ...] = ()
    advice: tuple[Advice, ...] = ()


@dataclass(frozen=True)
class Figures:
    """All that was found of a quantized model over some samples.

    Attributes
    ----------
    samples : how many ran.
    tensors : the quantized tensors in graph order, the weights of a layer before what it gives.
    bars : histograms of each tensor, in the same order.
    layers : the user's layers in graph order.
    """

    scheme: str
    samples: int
    tensors: list[TensorRecord]
    outputs: list[OutputRecord]
    layers: list[LayerRecord]
    bars: list[Bars] = field(repr=False)
