"""bfloat16: what is multiplied is rounded to it, whether an instruction takes it or registers widen it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import tvmq
from tvmq.passes.realize.compute.bfloat16 import bits_of
from tvmq.targets import host


def on(cpu: str, rounds_data: bool, *features: str) -> pytest.param:
    lacking = host.architecture() != "x86_64" or host.missing_features("x86_64", features)
    return pytest.param(
        *(f"llvm -mcpu={cpu}", rounds_data),
        marks=pytest.mark.skipif(bool(lacking), reason=f"the CPU lacks {', '.join(features)}"),
        id=cpu,
    )


TARGETS = [
    on("znver4", True, "avx512bf16", "avx512vnni", "avx512vbmi"),
    on("x86-64-v3", False, "avx2"),
]
CASES = {
    "pointwise": ("Conv", (1, 5, 9, 11), (20, 5, 1, 1), {}),
    "image": ("Conv", (1, 3, 14, 13), (18, 3, 3, 3), {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
    "grouped": ("Conv", (1, 8, 7, 7), (36, 4, 3, 3), {"pads": [1, 1, 1, 1], "group": 2}),
    "matrix": ("MatMul", (37, 33), (33, 19), {}),
    "vector": ("MatMul", (33,), (33, 40), {}),
}


def rounded(values: np.ndarray) -> np.ndarray:
    return (bits_of(values).astype("uint32") << 16).view("float32")


def model(op: str, shapes: list[tuple[int, ...]], weight: np.ndarray | None, **attributes) -> onnx.ModelProto:
    names = [f"x{at}" for at in range(len(shapes))] + ([] if weight is None else ["w"])
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], **attributes)],
        op,
        [
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
            for name, shape in zip(names, shapes, strict=False)
        ],
        [onnx.ValueInfoProto(name="y")],
        [] if weight is None else [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def run(proto: onnx.ModelProto, target: str, inputs: dict[str, np.ndarray]) -> np.ndarray:
    options = tvmq.CompileOptions(float_type="bf16")
    (result,) = tvmq.compile(proto, target, options=options).run(inputs).values()
    return result


@pytest.mark.parametrize(("target", "rounds_data"), TARGETS)
@pytest.mark.parametrize("case", CASES)
def test_weights_are_bfloat16(case: str, target: str, rounds_data: bool) -> None:
    op, shape, weight_shape, attributes = CASES[case]
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(each).astype("float32") for each in (shape, weight_shape))
    result = run(model(op, [shape], w, **attributes), target, {"x0": x})
    reference = ReferenceEvaluator(model(op, [shape], rounded(w), **attributes))
    (expected,) = reference.run(None, {"x0": rounded(x) if rounds_data else x})
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("target", "rounds_data"), TARGETS)
@pytest.mark.parametrize("rows", [2, 21])
def test_the_second_activation_is_bfloat16(rows: int, target: str, rounds_data: bool) -> None:
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal(shape).astype("float32") for shape in ((3, rows, 17), (3, 17, 18)))
    result = run(model("MatMul", [x.shape, y.shape], None), target, {"x0": x, "x1": y})
    is_packed = rows > 2
    expected = (rounded(x) if is_packed and rounds_data else x) @ (rounded(y) if is_packed else y)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)


def test_rounding_is_to_nearest_even_and_keeps_what_is_no_number() -> None:
    values = np.array([1, -1, 1 + 2**-8, 1 + 3 * 2**-8, 3e38, np.inf, -np.inf, 0, -0.0], "float32")
    expected = np.array([1, -1, 1, 1 + 4 * 2**-8, 3e38, np.inf, -np.inf, 0, -0.0], "float32")
    np.testing.assert_allclose(rounded(values), expected, rtol=2**-9)
    assert np.isnan(rounded(np.array([np.nan], "float32"))).all()
    eye = np.eye(len(values), dtype="float32")
    result = run(
        model("MatMul", [eye.shape], np.where(np.isfinite(values), values, 7)[:, None]), "llvm", {"x0": eye}
    )
    np.testing.assert_array_equal(result[:, 0], rounded(np.where(np.isfinite(values), values, 7)))


def test_an_unknown_type_is_named() -> None:
    with pytest.raises(tvmq.TvmqError, match="bf61"):
        tvmq.CompileOptions(float_type="bf61")
