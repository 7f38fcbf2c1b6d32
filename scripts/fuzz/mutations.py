"""One small fault in an ONNX model, of every kind that a file can have.

Each function changes a model in place; where there is nothing for it to change, it does nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from random import Random

import numpy as np
import onnx
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper

INTEGERS = (0, 1, -1, 2, 3, -2, 5, 7, 64, 1000, 2**31 - 1, 2**31, 2**40, -(2**63), 2**63 - 1)
FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e38, float("inf"), float("-inf"), float("nan"))
TEXTS = (
    b"",
    b"SAME_UPPER",
    b"SAME_LOWER",
    b"VALID",
    b"NOTSET",
    b"linear",
    b"wrap",
    b"\xff\xfe",
    b"ROUND",
    b"FLOOR",
    b"ROUND_TO_ZERO",
    b"UINT4",
    b"NHWC",
    b"none" * 50,
)
NUMBERS = (0, -1, 1, 2, 3.5, 8, 24, 25, 33, 255, 1e9, 1e-45, float("nan"), float("inf"))
"""For scales, zero points and bit widths."""
NAMES = ("", "x", "y", "a b", "x:0", "\u00e9\u4e2d", "line\nbreak", "n" * 3000, "../../x", "{}", "%s")
LOCATIONS = ("lost.bin", "", "../../../../etc/passwd", "/etc/passwd", ".", "model.onnx", "x" * 5000)

Mutation = Callable[[Random, ModelProto], None]


def _all_nodes(model: ModelProto) -> list[NodeProto]:
    nodes = list(model.graph.node)
    for node in nodes:  # grows while it is walked: the nodes of subgraphs too
        nodes.extend(inner for attribute in node.attribute for inner in attribute.g.node)
    return nodes


def _values(model: ModelProto) -> list[str]:
    graph = model.graph
    names = [value.name for value in graph.input] + [tensor.name for tensor in graph.initializer]
    return names + [output for node in graph.node for output in node.output]


def _tensors(model: ModelProto) -> list[TensorProto]:
    inside = [a.t for node in _all_nodes(model) for a in node.attribute if a.HasField("t")]
    return [*model.graph.initializer, *inside]


def change_attribute(rng: Random, model: ModelProto) -> None:
    found = [a for node in _all_nodes(model) for a in node.attribute]
    if not found:
        return
    attribute = rng.choice(found)
    if attribute.type == AttributeProto.INTS and attribute.ints:
        place = rng.randrange(len(attribute.ints))
        choice = rng.randrange(4)
        if choice == 0:
            del attribute.ints[place]
        elif choice == 1:
            attribute.ints.append(rng.choice(INTEGERS))
        else:
            attribute.ints[place] = rng.choice(INTEGERS)
    elif attribute.type == AttributeProto.INT:
        attribute.i = rng.choice(INTEGERS)
    elif attribute.type == AttributeProto.FLOAT:
        attribute.f = rng.choice(FLOATS)
    elif attribute.type == AttributeProto.STRING:
        attribute.s = rng.choice(TEXTS)


def change_attribute_kind(rng: Random, model: ModelProto) -> None:
    found = [(node, a) for node in _all_nodes(model) for a in node.attribute]
    if not found:
        return
    node, attribute = rng.choice(found)
    value = rng.choice([1, 2.5, "text", [1, 2], [0.5], ["a", "b"], helper.make_tensor("t", 1, [1], [2.0])])
    changed = helper.make_attribute(attribute.name, value)
    node.attribute.remove(attribute)
    if rng.random() < 0.7:
        node.attribute.append(changed)
    if rng.random() < 0.2:
        node.attribute.append(changed)


def add_attribute(rng: Random, model: ModelProto) -> None:
    names = (
        "axis",
        "axes",
        "perm",
        "keepdims",
        "pads",
        "strides",
        "group",
        "to",
        "mode",
        "block_size",
        "value",
        "a",
    )
    value = rng.choice([rng.choice(INTEGERS), 0.5, [rng.choice(INTEGERS)] * 2, "text"])
    nodes = _all_nodes(model)
    if nodes:
        rng.choice(nodes).attribute.append(helper.make_attribute(rng.choice(names), value))


def change_dtype(rng: Random, model: ModelProto) -> None:
    kind = rng.randrange(0, 30)
    tensors, values = _tensors(model), [*model.graph.input, *model.graph.output]
    if tensors and rng.random() < 0.5:
        rng.choice(tensors).data_type = kind
    elif values:
        rng.choice(values).type.tensor_type.elem_type = kind


def change_input_shape(rng: Random, model: ModelProto) -> None:
    if not model.graph.input:
        return
    tensor = rng.choice(model.graph.input).type.tensor_type
    dims = tensor.shape.dim
    choice = rng.randrange(6)
    if choice == 0:
        tensor.ClearField("shape")
    elif choice == 1:
        dims.add().dim_value = rng.choice(INTEGERS)
    elif dims and choice == 2:
        del dims[rng.randrange(len(dims))]
    elif dims and choice == 3:
        rng.choice(dims).dim_param = "N"
    elif dims:
        rng.choice(dims).dim_value = rng.choice(INTEGERS)


def change_tensor_shape(rng: Random, model: ModelProto) -> None:
    tensors = _tensors(model)
    if not tensors:
        return
    dims = rng.choice(tensors).dims
    choice = rng.randrange(4)
    if choice == 0:
        dims.append(rng.choice([1, *INTEGERS]))
    elif dims and choice == 1:
        del dims[rng.randrange(len(dims))]
    elif dims and choice == 2:
        dims[rng.randrange(len(dims))] = rng.choice(INTEGERS)
    else:
        dims.reverse()


def change_tensor_values(rng: Random, model: ModelProto) -> None:
    tensors = [tensor for tensor in _tensors(model) if tensor.data_type in (1, 2, 3, 6, 7)]
    if not tensors:
        return
    tensor = rng.choice(tensors)
    try:
        array = onnx.numpy_helper.to_array(tensor).copy()
    except ValueError:  # an earlier mutation has made it unreadable
        return
    if not array.size:
        return
    flat = array.reshape(-1)
    choices = FLOATS if array.dtype.kind == "f" else [-128, 127, 255, *INTEGERS]
    value = rng.choice(choices)
    if array.dtype.kind != "f":
        limits = np.iinfo(array.dtype)
        value = max(min(value, int(limits.max)), int(limits.min))
    if rng.random() < 0.5:
        flat[:] = value
    else:
        flat[rng.randrange(flat.size)] = value
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))


def change_parameter(rng: Random, model: ModelProto) -> None:
    """Give a constant of few elements, as scales, zero points and bit widths are, another value, or no element."""
    tensors = [tensor for tensor in model.graph.initializer if len(tensor.dims) < 2]
    if not tensors:
        return
    tensor = rng.choice(tensors)
    shape = rng.choice([list(tensor.dims), list(tensor.dims), [], [1], [0], [3], [1, 1]])
    count = int(np.prod(shape))
    kind = rng.choice([tensor.data_type, tensor.data_type, tensor.data_type, 1, 3, 7, 11])
    value = rng.choice(NUMBERS)
    whole = (
        value if kind in (1, 10, 11, 16) else int(min(max(np.nan_to_num(value), -8), 7 if kind > 20 else 100))
    )
    tensor.CopyFrom(helper.make_tensor(tensor.name, kind, shape, [whole] * count))


def truncate_tensor(rng: Random, model: ModelProto) -> None:
    tensors = [tensor for tensor in _tensors(model) if tensor.raw_data]
    if tensors:
        tensor = rng.choice(tensors)
        cut = rng.randrange(len(tensor.raw_data) + 1)
        tensor.raw_data = rng.choice([tensor.raw_data[:cut], tensor.raw_data * 2, b""])


def move_tensor_outside(rng: Random, model: ModelProto) -> None:
    tensors = list(model.graph.initializer)
    if not tensors:
        return
    tensor = rng.choice(tensors)
    if rng.random() < 0.7:
        tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entries = {"location": rng.choice(LOCATIONS)}
    if rng.random() < 0.5:
        entries["offset"] = str(rng.choice(INTEGERS))
    if rng.random() < 0.5:
        entries["length"] = rng.choice([str(rng.choice(INTEGERS)), "text"])
    for key, value in entries.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


def rewire(rng: Random, model: ModelProto) -> None:
    nodes = [node for node in _all_nodes(model) if node.input]
    if nodes:
        node = rng.choice(nodes)
        node.input[rng.randrange(len(node.input))] = rng.choice([*_values(model), "", "lost"])


def change_input_count(rng: Random, model: ModelProto) -> None:
    nodes = _all_nodes(model)
    if not nodes:
        return
    node = rng.choice(nodes)
    if node.input and rng.random() < 0.5:
        del node.input[rng.randrange(len(node.input))]
    else:
        node.input.append(rng.choice([*_values(model), ""]))


def change_outputs(rng: Random, model: ModelProto) -> None:
    nodes = _all_nodes(model)
    if not nodes:
        return
    node = rng.choice(nodes)
    choice = rng.randrange(4)
    if choice == 0 and node.output:
        node.output[rng.randrange(len(node.output))] = rng.choice([*_values(model), ""])
    elif choice == 1 and node.output:
        del node.output[rng.randrange(len(node.output))]
    elif choice == 2:
        node.output.append(f"more{rng.random()}")
    else:
        model.graph.output.add().name = rng.choice([*_values(model), "lost"])


def drop_or_double_node(rng: Random, model: ModelProto) -> None:
    nodes = model.graph.node
    if not nodes:
        return
    place = rng.randrange(len(nodes))
    if rng.random() < 0.5:
        del nodes[place]
    else:
        copy = NodeProto()
        copy.CopyFrom(nodes[place])
        nodes.append(copy)


def reorder(rng: Random, model: ModelProto) -> None:
    nodes = list(model.graph.node)
    rng.shuffle(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def replace_operator(rng: Random, model: ModelProto) -> None:
    nodes = _all_nodes(model)
    if nodes:
        node = rng.choice(nodes)
        node.op_type = rng.choice(OPERATORS)
        if rng.random() < 0.1:
            node.domain = rng.choice(["com.microsoft", "ai.onnx", "ai.onnx.ml", "custom"])


def rename(rng: Random, model: ModelProto) -> None:
    graph = model.graph
    things = [*_all_nodes(model), *graph.input, *graph.output, *graph.initializer]
    if things:
        rng.choice(things).name = rng.choice(NAMES)


def rename_everywhere(rng: Random, model: ModelProto) -> None:
    graph = model.graph
    old, new = rng.choice(_values(model) or [""]), rng.choice(NAMES)
    for thing in [*graph.input, *graph.output, *graph.initializer]:
        if thing.name == old:
            thing.name = new
    for node in _all_nodes(model):
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]


def change_versions(rng: Random, model: ModelProto) -> None:
    if rng.random() < 0.2:
        model.ir_version = rng.choice([0, 1, 3, 4, 7, 12, 99, -1])
    elif rng.random() < 0.2:
        model.opset_import.append(helper.make_opsetid(rng.choice(["", "custom"]), rng.choice([0, 1, 99])))
    elif model.opset_import and rng.random() < 0.2:
        del model.opset_import[:]
    elif model.opset_import:
        model.opset_import[0].version = rng.choice([0, 1, 2, 5, *range(6, 27), 2**40, -1])


def constant_or_input(rng: Random, model: ModelProto) -> None:
    """Let a constant become an input, or an input a constant of small values."""
    graph = model.graph
    if graph.initializer and rng.random() < 0.5:
        tensor = rng.choice(graph.initializer)
        graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
        graph.initializer.remove(tensor)
    elif graph.input:
        value = rng.choice(graph.input)
        shape = [max(0, min(dim.dim_value, 8)) for dim in value.type.tensor_type.shape.dim]
        count = 1
        for extent in shape:
            count *= extent
        if count < 10_000:
            graph.initializer.append(helper.make_tensor(value.name, TensorProto.FLOAT, shape, [0.5] * count))
            graph.input.remove(value)


def change_value_kind(rng: Random, model: ModelProto) -> None:
    if model.graph.input:
        value = rng.choice(model.graph.input)
        name = value.name
        kind = rng.choice([helper.make_sequence_type_proto, helper.make_optional_type_proto])
        value.CopyFrom(helper.make_value_info(name, kind(helper.make_tensor_type_proto(1, [1]))))


def wrap_in_branch(rng: Random, model: ModelProto) -> None:
    """Put a node into a branch, whose condition is a constant or an input."""
    graph = model.graph
    if not graph.node:
        return
    node = rng.choice(graph.node)
    place = list(graph.node).index(node)
    inner = NodeProto()
    inner.CopyFrom(node)
    results = [
        helper.make_tensor_value_info(f"inner_{name}", TensorProto.FLOAT, None) for name in node.output
    ]
    inner.output[:] = [value.name for value in results]
    body = helper.make_graph([inner], "branch", [], results)
    wrapped = helper.make_node("If", [f"if_{place}"], list(node.output), then_branch=body, else_branch=body)
    node.CopyFrom(wrapped)
    if rng.random() < 0.5:
        graph.initializer.append(helper.make_tensor(f"if_{place}", TensorProto.BOOL, [], [True]))
    else:
        graph.input.append(helper.make_tensor_value_info(f"if_{place}", TensorProto.BOOL, []))


def clear_part(rng: Random, model: ModelProto) -> None:
    graph = model.graph
    part = rng.choice([graph.node, graph.input, graph.output, graph.initializer])
    del part[:]


MUTATIONS: tuple[tuple[Mutation, int], ...] = (
    (change_attribute, 10),
    (change_attribute_kind, 4),
    (add_attribute, 4),
    (change_dtype, 6),
    (change_input_shape, 8),
    (change_tensor_shape, 6),
    (change_tensor_values, 8),
    (change_parameter, 8),
    (truncate_tensor, 3),
    (move_tensor_outside, 2),
    (rewire, 8),
    (change_input_count, 4),
    (change_outputs, 4),
    (drop_or_double_node, 3),
    (reorder, 2),
    (replace_operator, 6),
    (rename, 2),
    (rename_everywhere, 2),
    (change_versions, 4),
    (constant_or_input, 6),
    (change_value_kind, 1),
    (wrap_in_branch, 2),
    (clear_part, 1),
)
"""Each mutation and how often it is chosen beside the others."""

OPERATORS = tuple(sorted({schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""}))


def mutate(rng: Random, model: ModelProto) -> list[str]:
    """Change a model by one to three mutations; return their names."""
    chosen = rng.choices([m for m, _ in MUTATIONS], [w for _, w in MUTATIONS], k=rng.choice([1, 1, 1, 2, 3]))
    for mutation in chosen:
        # Protobuf does not hold every number in every field, and an earlier mutation may be in the way.
        with contextlib.suppress(Exception):
            mutation(rng, model)
    return [mutation.__name__ for mutation in chosen]


def mutate_bytes(rng: Random, content: bytes) -> bytes:
    """Return bytes with some of them flipped, dropped, doubled, or cut off."""
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        if not changed:
            break
        place, choice = rng.randrange(len(changed)), rng.randrange(6)
        if choice < 3:
            changed[place] = rng.randrange(256)
        elif choice == 3:
            del changed[place : place + rng.choice([1, 4, 100])]
        elif choice == 4:
            changed[place:place] = changed[place : place + rng.choice([1, 4, 100])]
        else:
            del changed[place:]
    return bytes(changed)
