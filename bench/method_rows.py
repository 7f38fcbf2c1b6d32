"""The methods of quantization that ``bench.methods`` compares: one row each, in the order of the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .engines import Engine
from .peers import PEERS, onnxruntime_static

AVX2 = "llvm -mcpu=znver3"


@dataclass(frozen=True)
class Method:
    """One way to quantize.

    Attributes
    ----------
    group : heading of the part of the table that it stands in.
    name : unique.
    options : fields of ``QuantizeOptions`` that differ from their defaults.
    scheme, target : as for ``tvmq.quantize``.
    """

    group: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    scheme: str = "int8"
    target: str = "llvm -mcpu=native"


def _observers() -> list[Method]:
    names = "minmax moving-average average-max percentile outliers mse kl emd lapq".split()
    return [Method("Observers of activations", name, {"observer": name}) for name in names]


CHAIN: dict[str, Any] = {"equalize": True, "absorb_bias": True}
"""The best chain for int8."""

METHODS: tuple[Method, ...] = (
    Method("`--quantize int8`", "defaults"),
    Method("`--quantize int8`", "defaults, AVX2", target=AVX2),
    *_observers(),
    Method("Weights", "observer percentile", {"weight_observer": "percentile"}),
    Method("Weights", "observer mse", {"weight_observer": "mse"}),
    Method("Weights", "observer emd", {"weight_observer": "emd"}),
    Method("Weights", "one scale a tensor", {"per_channel": False}),
    Method("Weights", "one scale a tensor, equalized", {"per_channel": False, "equalize": True}),
    Method("Weights", "equalized", {"equalize": True}),
    Method("Weights", "rounded for the layer's result", {"rounding": "hessian"}),
    Method(
        "Weights",
        "equalized, rounded for the layer's result",
        {**CHAIN, "rounding": "hessian"},
    ),
    Method("Bias correction", "none", {"bias_correction": "none"}),
    Method("Bias correction", "analytic", {"bias_correction": "analytic"}),
    Method("Bias correction", "empirical", {"bias_correction": "empirical"}),
    Method("Bias correction", "sequential", {"bias_correction": "sequential"}),
    Method("What hardware asks for", "symmetric activations", {"activations": "symmetric"}),
    Method("What hardware asks for", "powers of two", {"power_of_two": True}),
    Method(
        "What hardware asks for",
        "first and last layer in float",
        {"quantize_first": False, "quantize_last": False},
    ),
    Method("The best chain", "equalized, biases absorbed", CHAIN),
    Method("The best chain", "equalized, biases absorbed, AVX2", CHAIN, target=AVX2),
    Method("4-bit weights, 8-bit activations", "w4a8, to nearest", {"rounding": "nearest"}, "w4a8"),
    Method("4-bit weights, 8-bit activations", "w4a8", {}, "w4a8"),
    Method("4-bit weights, 8-bit activations", "w4a8, equalized", {"equalize": True}, "w4a8"),
    Method("4 bits", "w4a4, to nearest", {"rounding": "nearest"}, "w4a4"),
    Method("4 bits", "w4a4", {}, "w4a4"),
    Method("4 bits", "w4a4, depthwise too", {"depthwise_bits": 4}, "w4a4"),
    Method("2 bits, and ternary", "int2", {}, "int2"),
    Method("2 bits, and ternary", "ternary", {}, "ternary"),
    Method("2 bits, and ternary", "w2a2", {}, "w2a2"),
)

PEER_GROUP = "Other tools"

PEER_METHODS: tuple[Engine, ...] = (
    next(engine for engine in PEERS if engine.name == "onnxruntime int8"),
    *(
        Engine(
            f"onnxruntime int8, {method.lower()}",
            ("onnxruntime",),
            True,
            True,
            onnxruntime_static(False, method),
        )
        for method in ("Percentile", "Entropy")
    ),
    *(engine for engine in PEERS if "NNCF" in engine.name),
)
"""What other tools make of the same samples; the first calibrates by min-max."""
