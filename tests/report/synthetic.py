"""A report of any size, without a model."""

from __future__ import annotations

import math

from tvmq.report.advice import with_advice
from tvmq.report.records import ACTIVATION, WEIGHTS, Bars, LayerRecord, OutputRecord, TensorRecord
from tvmq.report.report import Report
from tvmq.report.watchers import BARS


def tensor(layer: str = "conv", kind: str = ACTIVATION, **changes) -> TensorRecord:
    """Return a tensor that gives no reason for advice, but for what is changed."""
    weights = kind == WEIGHTS
    figures = {
        "min": -3.0,
        "q1": -0.5,
        "median": 0.0,
        "q3": 0.5,
        "max": 3.0,
        "mean": 0.0,
        "variance": 1.0,
        "sparsity": 0.0,
        "clip_rate": 0.0,
        "bits": 8,
        "scale": 0.025,
        "zero_point": 0 if weights else 128,
        "cosine": 0.9999,
        "sqnr": 40.0,
        "accumulated_cosine": None if weights else 0.999,
        "accumulated_sqnr": None if weights else 35.0,
        "spread": 2.0,
        "bias_share": 0.0,
        "scales": 16 if weights else 1,
    }
    return TensorRecord(layer, kind, **{**figures, **changes})


def report(layers: int = 3) -> Report:
    """Return a report of so many convolutions, each with weights and a result; SQNR falls and rises again.

    Its first layer stays in float, and names hold what HTML and CSV must escape.
    """
    tensors, bars, records = [], [], []
    records.append(LayerRecord('soft<max> & "co", 1', "Softmax", "float", "no integer kernel"))
    for index in range(layers):
        name = f"block/{index}/conv<{index}>"
        error = 30.0 + 10.0 * math.cos(index / 20.0) - (25.0 if index == layers // 2 else 0.0)
        tensors.append(tensor(name, WEIGHTS, sqnr=45.0 + index / layers))
        tensors.append(tensor(name, accumulated_sqnr=error))
        counts = [int(1e6 * math.exp(-(((place - BARS / 2) / 12) ** 2))) for place in range(BARS)]
        bars += [Bars(-3.0, 3.0, counts, counts[::-1])] * 2
        records.append(LayerRecord(name, "Conv", "int8", weight_bytes=1000 * index, milliseconds=0.125))
    outputs = [OutputRecord("logits", 0.995, 20.0, 0.5, 0.97)]
    return with_advice(Report("int8", 100, tensors, outputs, records, bars))
