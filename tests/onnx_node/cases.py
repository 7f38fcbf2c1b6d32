"""Which of ONNX's node tests are run, and how: a parameter that real models hold as a constant is one."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache

import numpy as np
import onnx
from onnx import numpy_helper

from tvmq.frontends.onnx.bodies import has_body

OPERATORS: dict[str, tuple[int, ...]] = {
    # Quantization and integer arithmetic.
    "QuantizeLinear": (1, 2),
    "DequantizeLinear": (1, 2),
    "DynamicQuantizeLinear": (),
    "MatMulInteger": (2, 3),
    "ConvInteger": (1, 2, 3),
    "QLinearConv": (1, 2, 3, 4, 5, 6, 7, 8),
    "QLinearMatMul": (1, 2, 3, 4, 5, 6, 7),
    # Decided at import.
    "If": (0,),
    "Loop": (0, 1),
    "Scan": (),
    # What can run on integers.
    "Conv": (1, 2),
    "MatMul": (),
    "Gemm": (1, 2),
    "Add": (),
    "Mul": (),
    "Concat": (),
    "MaxPool": (),
    "AveragePool": (),
    "GlobalAveragePool": (),
    "GlobalMaxPool": (),
    "Relu": (),
    "Clip": (1, 2),
    "HardSigmoid": (),
    "HardSwish": (),
    "Sigmoid": (),
    "Tanh": (),
    "Elu": (),
    "LeakyRelu": (),
    "Gelu": (),
    "Softplus": (),
    "Abs": (),
    "Ceil": (),
    "Floor": (),
    "Log": (),
    "Neg": (),
    "Reciprocal": (),
    "Round": (),
    "Selu": (),
    "Max": (),
    "Min": (),
    "ReduceMax": (1,),
    "Expand": (1,),
    "Tile": (1,),
    "Reshape": (1,),
    "Flatten": (),
    "Transpose": (),
    "Squeeze": (1,),
    "Unsqueeze": (1,),
    "Slice": (1, 2, 3, 4),
    "Pad": (1, 2, 3),
    "Resize": (1, 2, 3),
    "Upsample": (1,),
    "Split": (1,),
    "BatchNormalization": (1, 2, 3, 4),
    "Identity": (),
    "Dropout": (1, 2),
    # What stays float beside them.
    "Sub": (),
    "Div": (),
    "Softmax": (),
    "LogSoftmax": (),
    "ReduceMean": (1,),
    "ReduceSum": (1,),
    "LayerNormalization": (),
    "PRelu": (),
    "Exp": (),
    "Erf": (),
    "Sqrt": (),
    "Pow": (),
    # What is imported as its body, or by a converter of ours.
    "AffineGrid": (1,),
    "Attention": (),
    "BitCast": (),
    "BitShift": (),
    "BlackmanWindow": (0,),
    "CausalConvWithState": (),
    "Celu": (),
    "CenterCropPad": (1,),
    "Col2Im": (1, 2),
    "Compress": (0, 1),
    "ConvTranspose": (1, 2),
    "Cosh": (),
    "CumProd": (1,),
    "CumSum": (1,),
    "DFT": (1, 2),
    "DeformConv": (1, 3),
    "Det": (),
    "Equal": (),
    "EyeLike": (),
    "GRU": (1, 2, 3, 4),
    "HammingWindow": (0,),
    "HannWindow": (0,),
    "IsInf": (),
    "LRN": (),
    "LSTM": (1, 2, 3, 4, 7),
    "LpNormalization": (),
    "LpPool": (),
    "MaxUnpool": (2,),
    "MelWeightMatrix": (0, 1, 2, 3, 4),
    "NegativeLogLikelihoodLoss": (),
    "NonMaxSuppression": (0, 1, 2, 3, 4),
    "NonZero": (0,),
    "OneHot": (1, 2),
    "Range": (0, 1, 2),
    "RMSNormalization": (),
    "RNN": (1, 2, 3, 4),
    "ReduceL1": (1,),
    "ReduceL2": (1,),
    "ReduceLogSum": (1,),
    "ReduceMin": (1,),
    "ReduceSumSquare": (1,),
    "ReverseSequence": (1,),
    "RotaryEmbedding": (),
    "STFT": (1, 2, 3),
    "ScatterElements": (),
    "Sinh": (),
    "SpaceToDepth": (),
    "SwiGLU": (),
    "Swish": (),
    "TensorScatter": (),
    "ThresholdedRelu": (),
    "TopK": (1,),
    "Unique": (0,),
}
"""The operators under test, and the positions of those inputs that deployed models hold as constants
(weights, scales, shapes, axes): ONNX's tests feed them at run time; here they become initializers."""


@dataclass(frozen=True)
class Case:
    """One test.

    Attributes
    ----------
    name : ONNX's name of it.
    operator : the operator under test, also where the graph spells it out in simpler ones.
    model : the model, parameters bound.
    inputs : graph input name to array.
    expected : one array an output.
    rtol, atol : ONNX's tolerances.
    """

    name: str
    operator: str
    model: onnx.ModelProto
    inputs: dict[str, np.ndarray]
    expected: tuple[np.ndarray, ...]
    rtol: float
    atol: float


def _to_array(value: object) -> np.ndarray:
    """Return a tensor of a test, which for dtypes that NumPy lacks is a protobuf."""
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def bind_parameters(
    model: onnx.ModelProto, arrays: dict[str, np.ndarray]
) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """Return the model with its parameters as initializers, and the arrays of the inputs that remain."""
    bound = onnx.ModelProto()
    bound.CopyFrom(model)
    parameters = {
        node.input[position]
        for node in bound.graph.node
        for position in OPERATORS.get(node.op_type, ())
        if position < len(node.input)
    }
    inputs = [value for value in bound.graph.input if value.name not in parameters]
    bound.graph.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in arrays.items() if name in parameters
    )
    del bound.graph.input[:]
    bound.graph.input.extend(inputs)
    return bound, {value.name: arrays[value.name] for value in inputs}


def _can_be_fed(model: onnx.ModelProto) -> bool:
    """Tell whether all inputs and outputs are tensors of dtypes that NumPy and TVM's runtime exchange."""
    values = (*model.graph.input, *model.graph.output)
    strange = (onnx.TensorProto.BFLOAT16, onnx.TensorProto.STRING)
    return all(
        value.type.HasField("tensor_type") and value.type.tensor_type.elem_type not in strange
        for value in values
    )


def _is_needless(name: str, operator: str, model: onnx.ModelProto) -> bool:
    """Tell whether a case spells out what an operator is imported as anyway, or does so by control flow."""
    has_control_flow = any(node.op_type in ("If", "Loop", "Scan") for node in model.graph.node)
    return "_expanded" in name and (has_control_flow or has_body("", operator))


@cache
def load_cases() -> dict[str, Case]:
    """Return by name the cases of ``OPERATORS`` that can be run: sequences and optionals have no place here."""
    with warnings.catch_warnings():
        # ONNX computes the expected results at import, overflows and all.
        warnings.simplefilter("ignore")
        from onnx.backend.test.loader import load_model_tests

        tests = {test.name: test for test in load_model_tests(kind="node")}
    cases = {}
    for name, test in tests.items():
        spelled_out = tests.get(name.split("_expanded")[0], test)
        operator = spelled_out.model.graph.node[0].op_type
        if (
            operator not in OPERATORS
            or not _can_be_fed(test.model)
            or _is_needless(name, operator, test.model)
        ):
            continue
        (values, expected), *_ = test.data_sets
        names = [value.name for value in test.model.graph.input]
        arrays = dict(zip(names, map(_to_array, values), strict=True))
        model, inputs = bind_parameters(test.model, arrays)
        cases[name] = Case(
            name, operator, model, inputs, tuple(map(_to_array, expected)), test.rtol, test.atol
        )
    return cases
