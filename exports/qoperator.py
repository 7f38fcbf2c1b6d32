"""A Q/DQ file as one of operators on integers, for runtimes that know no other (onnxruntime's QOperator format).

    Q(Relu(Conv(DQ(x), DQ(w), DQ(b))))   -->  QLinearConv(x, x_scale, x_zero, w, .., y_scale, y_zero, b)
    Add(MatMul(DQ(x), DQ(w)), b)         -->  QGemm(x, x_scale, x_zero, w, .., b), whose result is float
    Conv(MaxPool(DQ(x)), ..)             -->  QLinearConv(MaxPool(x), ..)
    LayerNormalization(DQ(x), ..)        -->  the same: what has no operator on integers stays float, between Q and DQ

An activation between the operator and its Q is part of the rounding where Q's range ends where it does; else it follows
on the integers' own grid: Q(relu(y)) is relu of Q(y), since rounding is monotone. So the integers are those of the Q/DQ
file, bit by bit, by the definition of the operators; onnxruntime's kernels round some of them twice.
Definitions: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ..errors import TvmqError
from ..passes.hub.layers import free_name
from .integer_operators import DATA_INPUTS, MOVES, OPERATORS, Found, Operand, Request, unrounded

MICROSOFT = "com.microsoft"

OLDEST_OPSET = 13
"""Version of the operators: the first in which Q and DQ know axes."""

NEEDED: dict[str, int] = {
    **dict.fromkeys(("ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "Resize", "Pad", "Split"), 18),
    "AveragePool": 19,
    "Gelu": 20,
    "LayerNormalization": 17,
    "RMSNormalization": 23,
}
"""The version that an operator is written in, where it is a later one."""

ENDS: dict[str, tuple[float, float]] = {"Relu": (0.0, np.inf)}
"""Monotone activations without limits of their own, and theirs."""


def to_qoperator(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model that ``exports.write.to_onnx`` made, with operators on integers wherever there are any.

    Raises
    ------
    TvmqError : there are none.
    """
    return _Rewriter(model).model()


@dataclass(frozen=True)
class _Rounding:
    """The Q behind an operator, with the activations between the two."""

    activations: tuple[onnx.NodeProto, ...]
    node: onnx.NodeProto
    result: Operand


class _Rewriter:
    """One model on its way: nodes are written in order, and a DQ where a float operator reads its result first."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._source = model
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._added: list[onnx.TensorProto] = []
        self._shapes = _shapes(model)
        self._readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in model.graph.node:
            for name in node.input:
                self._readers[name].append(node)
        self._outputs = {value.name for value in model.graph.output}
        self._taken = {name for node in model.graph.node for name in (*node.input, *node.output)}
        self._taken |= self._constants.keys()
        self._node_names = {node.name for node in model.graph.node}
        self._nodes: list[onnx.NodeProto] = []
        self._operands: dict[str, Operand] = {}  # of float values that are integers behind a DQ
        self._pairs: dict[str, onnx.NodeProto] = {}  # the DQ of a float value that nobody has read yet
        self._done: set[str] = set()  # outputs of nodes that are part of an integer operator
        self._count = 0

    def model(self) -> onnx.ModelProto:
        for node in self._source.graph.node:
            if node.output[0] not in self._done:
                self._write(node)
        self._nodes.extend(self._pairs[name] for name in self._outputs if name in self._pairs)
        if not self._count:
            raise TvmqError(
                "nothing of the model can be written as operators on integers (format 'qoperator'): write Q and DQ, "
                "format 'qdq'"
            )
        made = onnx.ModelProto()
        made.CopyFrom(self._source)
        del made.graph.node[:], made.graph.initializer[:], made.opset_import[:]
        made.graph.node.extend(self._nodes)
        read = {name for node in self._nodes for name in node.input} | self._outputs
        tensors = [*self._constants.values(), *self._added]
        made.graph.initializer.extend(tensor for tensor in tensors if tensor.name in read)
        made.opset_import.append(helper.make_opsetid("", self._opset(made)))
        if any(node.domain == MICROSOFT for node in self._nodes):
            made.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
        made.ir_version = helper.find_min_ir_version_for(list(made.opset_import), ignore_unknown=True)
        return made

    def _opset(self, made: onnx.ModelProto) -> int:
        """Return the oldest version of the operators that has all that are written."""
        own = next(entry.version for entry in self._source.opset_import if not entry.domain)
        if any(tensor.data_type > onnx.TensorProto.BFLOAT16 for tensor in made.graph.initializer):
            return own  # integers of 4 bits
        wide = {onnx.TensorProto.INT16, onnx.TensorProto.UINT16}
        if any(tensor.data_type in wide for tensor in made.graph.initializer):
            return own
        return max([OLDEST_OPSET, *(NEEDED.get(node.op_type, 0) for node in self._nodes if not node.domain)])

    def _write(self, node: onnx.NodeProto) -> None:
        if node.op_type == "DequantizeLinear":
            operand = self._operand(node.input, node)
            if operand is not None:
                self._operands[node.output[0]] = operand
                self._pairs[node.output[0]] = node
                return
        elif (
            node.op_type in MOVES and self._moves(node) or node.op_type in OPERATORS and self._integers(node)
        ):
            return
        self._emit(node)

    def _emit(self, node: onnx.NodeProto) -> None:
        """Add a node as it is, and in front of it each DQ that it is the first to read."""
        for name in node.input:
            pair = self._pairs.pop(name, None)
            if pair is not None:
                self._nodes.append(pair)
        self._nodes.append(node)

    def _moves(self, node: onnx.NodeProto) -> bool:
        """Let a node move integers in place of what they stand for; tell whether it can."""
        operand = self._operands.get(node.input[0])
        if operand is None or operand.scales.size != 1 or node.input[0] in self._constants:
            return False
        moved = onnx.NodeProto()
        moved.CopyFrom(node)
        moved.input[0] = operand.name
        moved.output[0] = self._unique(f"{node.output[0]}_integers")
        self._nodes.append(moved)
        self._dequantized(node.output[0], moved.output[0], operand)
        return True

    def _dequantized(self, value: str, integers: str, like: Operand) -> None:
        """Note that a float value is these integers, with the scale of another."""
        self._operands[value] = Operand(integers, like.scale, like.zero, like.scales, like.zeros, like.axis)
        inputs = [integers, like.scale, *([like.zero] if like.zero else [])]
        name = self._node_name(f"{value}_DequantizeLinear")
        self._pairs[value] = helper.make_node("DequantizeLinear", inputs, [value], name=name)

    def _integers(self, node: onnx.NodeProto) -> bool:
        """Write a node, and the Q behind it, as one operator on integers; tell whether there is one."""
        operands = [self._operands.get(name) for name in node.input[: DATA_INPUTS.get(node.op_type)]]
        if node.op_type in ("Conv", "Gemm") and len(operands) == 3 and operands[2] is None:
            operands[2] = self._bias_of(self._array(node.input[2]), operands[:2], node.input[2])
        quantized = [operand for operand in operands if operand is not None]
        if len(quantized) < len(operands):
            return False
        op_type, value, bias = node.op_type, node.output[0], self._bias_behind(node, quantized)
        if bias is not None:
            op_type, value = "Gemm", self._readers[value][0].output[0]
            quantized.append(bias)
        rounding = self._rounding(value)
        if rounding is None:
            return self._unrounded(node, quantized, value)
        found = OPERATORS[op_type](Request(node, quantized, rounding.result, self._array, self._weights))
        if found is None:
            return False
        absorbed = all(self._is_absorbed(each, rounding.result) for each in rounding.activations)
        result = rounding.node.output[0]
        written = result if absorbed else self._unique(f"{result}_before")
        self._emit_found(found, node, value, written)
        self._count += 1
        self._done.add(value)
        if absorbed:
            self._done.update(each.output[0] for each in (*rounding.activations, rounding.node))
        else:
            self._dequantized(value, written, rounding.result)
        return True

    def _unrounded(self, node: onnx.NodeProto, operands: list[Operand], value: str) -> bool:
        """Write a product whose result is read in float, or given out; tell whether there is one."""
        found = unrounded(Request(node, operands, operands[0], self._array, self._weights))
        if found is None:
            return False
        self._emit_found(found, node, value, value)
        self._count += 1
        self._done.add(value)
        return True

    def _emit_found(self, found: Found, node: onnx.NodeProto, value: str, written: str) -> None:
        """Add an operator on integers; between others that give it rows, or its result the shape of a float value."""
        inputs, shape = list(found.inputs), self._shapes.get(node.input[0], [])
        is_of_rows = found.op_type == "QGemm" and len(shape) > 2
        if is_of_rows:
            inputs[0] = self._reshaped(inputs[0], [-1, shape[-1]], self._unique(f"{inputs[0]}_rows"))
        ends_here = not (is_of_rows or found.is_flattened)
        first = written if ends_here else self._unique(f"{written}_first")
        how = {**found.attributes, **({"domain": MICROSOFT} if found.is_microsofts else {})}
        self._nodes.append(helper.make_node(found.op_type, inputs, [first], name=node.name, **how))
        if not ends_here:
            self._reshaped(first, self._shapes[value], written)

    def _reshaped(self, value: str, shape: list[int], result: str) -> str:
        target = self._constant(self._unique(f"{result}_shape"), np.array(shape, np.int64))
        name = self._node_name(f"{result}_Reshape")
        self._nodes.append(helper.make_node("Reshape", [value, target], [result], name=name))
        return result

    def _bias_behind(self, node: onnx.NodeProto, operands: list[Operand]) -> Operand | None:
        """Return the constant that the next node adds to each row of a product, in steps of the product's sums.

        Kernels add it so: what comes back by ``tvmc compile`` has the same integers.
        """
        readers = self._readers[node.output[0]]
        if node.op_type != "MatMul" or len(readers) != 1 or readers[0].op_type != "Add":
            return None
        added = [array for name in readers[0].input if (array := self._array(name)) is not None]
        shape = self._shapes.get(node.output[0], [])
        weight = self._array(operands[1].name)
        if len(added) != 1 or not shape or added[0].size != shape[-1] or added[0].shape[-1:] != (shape[-1],):
            return None
        if weight is None or weight.ndim != 2 or node.output[0] in self._outputs:
            return None
        return self._bias_of(added[0].reshape(-1), operands, f"{node.output[0]}_bias")

    def _bias_of(
        self, bias: np.ndarray | None, operands: Sequence[Operand | None], name: str
    ) -> Operand | None:
        """Return a float bias in steps of the sums of a product's operands; None where there are none."""
        data, weight = operands
        if bias is None or data is None or weight is None or not data.is_scalar:
            return None
        scales = (data.scales.reshape(()) * weight.scales).astype(np.float32)
        steps = np.rint(bias.astype(np.float64) / scales)
        if np.abs(steps).max(initial=0) >= 2**31:
            return None
        stored = self._constant(self._unique(f"{name}_integers"), steps.astype(np.int32))
        return Operand(stored, "", "", scales, np.zeros((), np.int32), 0)

    def _rounding(self, value: str) -> _Rounding | None:
        """Return what rounds a value, where nothing else reads it."""
        activations: list[onnx.NodeProto] = []
        while True:
            readers = self._readers[value]
            if len(readers) != 1 or value in self._outputs:
                return None
            (node,) = readers
            if node.op_type == "QuantizeLinear":
                result = self._operand([node.output[0], *node.input[1:]], node)
                return (
                    None
                    if result is None or result.scales.size != 1
                    else _Rounding(tuple(activations), node, result)
                )
            if self._limits(node) is None:
                return None
            activations.append(node)
            value = node.output[0]

    def _limits(self, node: onnx.NodeProto) -> tuple[float, float] | None:
        """Return the ends of an activation that only clips; None for what does something else."""
        if node.op_type in ENDS:
            return ENDS[node.op_type]
        if node.op_type != "Clip":
            return None
        ends = [self._array(name) if name else None for name in (*node.input[1:3], "", "")[:2]]
        if any(name and end is None for name, end in zip(node.input[1:3], ends, strict=False)):
            return None
        low, high = (float(end.reshape(())) if end is not None else None for end in ends)
        return (-np.inf if low is None else low), (np.inf if high is None else high)

    def _is_absorbed(self, activation: onnx.NodeProto, result: Operand) -> bool:
        """Tell whether the activation leaves what any integer of the result's dtype stands for as it is."""
        limits = self._limits(activation)
        if limits is None:
            return False
        scale, zero = np.float32(result.scales.reshape(())), int(result.zeros.reshape(()))
        low, high = (np.rint(np.float32(end) / scale) + zero for end in limits)
        return bool(low <= np.iinfo(result.dtype).min and high >= np.iinfo(result.dtype).max)

    def _operand(self, names: list[str], node: onnx.NodeProto) -> Operand | None:
        """Return integers of 8 bits, or a bias, and what they stand for; None where an operator may not take them."""
        value, scale, zero = names[0], names[1], names[2] if len(names) > 2 else ""
        scales = self._array(scale)
        zeros = self._array(zero) if zero else None
        if scales is None or (zero and zeros is None) or scales.dtype != np.float32:
            return None
        if zeros is None:
            stored = self._constants.get(value)
            if stored is None or stored.data_type != onnx.TensorProto.INT32:
                return None
            zeros = np.zeros((), np.int32)
        elif zeros.dtype.name in ("int4", "uint4"):
            zeros = zeros.astype(np.int8)
        elif zeros.dtype.name not in ("int8", "uint8"):
            return None
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
        return Operand(value, scale, zero, scales, zeros, int(axis))

    def _array(self, name: str) -> np.ndarray | None:
        tensor = self._constants.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def _weights(self, operand: Operand, data: str) -> list[str]:
        """Return the inputs of weights beside data of a dtype: in 8 bits, as no operator on integers takes fewer.

        Beside uint8 they are uint8 too, 128 more around a zero point 128 more: sums of products of uint8 and int8
        saturate in onnxruntime's kernels for CPUs without VNNI.
        """
        values, zeros = self._array(operand.name), operand.zeros
        if values is None:
            return operand.inputs
        shift = 128 if data == "uint8" and values.dtype != np.uint8 else 0
        if not shift and values.dtype == zeros.dtype:
            return operand.inputs
        dtype = np.dtype(np.uint8 if shift else np.int8)
        stored = [f"{name}_{dtype.name}" for name in (operand.name, operand.zero)]
        for name, array in zip(stored, (values, zeros), strict=True):
            if name not in self._taken:  # else another reader's of the same weights
                self._taken.add(name)
                self._constant(name, (array.astype(np.int16) + shift).astype(dtype))
        return [stored[0], operand.scale, stored[1]]

    def _constant(self, name: str, value: np.ndarray) -> str:
        """Add a constant; return its name."""
        self._added.append(numpy_helper.from_array(value, name))
        return name

    def _node_name(self, name: str) -> str:
        return free_name(name, self._node_names)

    def _unique(self, name: str) -> str:
        return free_name(name, self._taken)


def _shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    """Return the shape of each value, as far as ONNX finds it; all of them are static."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    return {
        value.name: [extent.dim_value for extent in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input, *graph.output)
    }
