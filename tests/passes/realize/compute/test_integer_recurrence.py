"""Recurrences on integers beside their definition in NumPy, for each dot product that can run here."""

from __future__ import annotations

import numpy as np
import pytest
import tvm

from tvmq.passes.hub import arithmetic
from tvmq.passes.hub.recurrences import GATES, GateFunction, Recurrence
from tvmq.passes.realize.compute.integer_recurrence import Form, centre_of, integer_recurrence, integer_shapes
from tvmq.schedules.code import compile_kernel
from tvmq.targets import host
from tvmq.targets.row import DotInstruction, TargetRow
from tvmq.targets.rows import PORTABLE, ROWS

from ....differential import formulas
from .conftest import target_of

DEFAULTS = {"RNN": ("Tanh",), "GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh")}
DOTS = [
    pytest.param(row, dot, id=f"{row.name}-{dot.intrinsic}")
    for row in (*ROWS, PORTABLE)
    if row.arch != "aarch64" and row.arch != "arm"
    for dot in row.dots
]
TOLERANCE = 2.0**-18
"""A step rounds four functions of about 1, each off by up to 1e-6."""


def of_defaults(cell: str, steps: int, batch: int, hidden: int, **how) -> Recurrence:
    return Recurrence(cell, steps, batch, hidden, tuple(map(GateFunction, DEFAULTS[cell])), **how)


class Case:
    """A layer's operands: weights so small that every instruction is exact for them."""

    def __init__(self, layer: Recurrence) -> None:
        self.layer = layer
        rng = np.random.default_rng(layer.hidden)
        steps, batch, hidden, width = layer.steps, layer.batch, layer.hidden, layer.gates * layer.hidden

        def floats(*shape: int) -> np.ndarray:
            return rng.uniform(-1, 1, shape).astype(np.float32)

        self.integers = rng.integers(-15, 16, (hidden, width)).astype(np.int8)
        self.scales = (rng.random(width) + 0.5).astype(np.float32) / np.float32(15 * np.sqrt(hidden))
        self.x, self.bias, self.peepholes = floats(steps, batch, width), floats(width), floats(3 * hidden)
        self.lengths = rng.integers(1, steps + 1, batch).astype(np.int32)
        self.lengths[0] = steps
        self.h, self.c = floats(batch, hidden), floats(batch, hidden)

    def run(self, row: TargetRow, dot: DotInstruction) -> list[np.ndarray]:
        form = Form.of(self.layer, dot, row)
        offsets = -centre_of(dot) * self.integers.sum(axis=0, dtype=np.int32)
        columns = [form.pack_columns(array) for array in (offsets.astype(np.int32), self.scales)]
        given = [
            self.x,
            form.pack_weights(self.integers),
            *columns,
            self.bias,
            self.peepholes,
            self.lengths,
            self.h,
            self.c,
        ]
        shapes = list(integer_shapes(form).values())
        assert [(array.shape, str(array.dtype)) for array in given] == shapes[: len(given)]
        tensors = [
            tvm.runtime.tensor(array)
            for array in (*given, *(np.zeros(shape, np.float32) for shape, _ in shapes[len(given) :]))
        ]
        compile_kernel(integer_recurrence(form, row), target_of(row))["main"](*tensors)
        return [tensor.numpy() for tensor in tensors[-3:]]

    def multiply(self, _: int, state: np.ndarray) -> np.ndarray:
        """Return a state's products, float32, by the definition."""
        integers, scale, _ = arithmetic.quantize_rows(state, "int8")
        return arithmetic.scale_rows(
            arithmetic.matmul_accumulator(integers, self.integers), scale, self.scales
        )

    def expected(self) -> list[np.ndarray]:
        layer, hidden = self.layer, self.layer.hidden
        width = layer.gates * hidden
        peepholes = self.peepholes if layer.cell == "LSTM" else np.zeros(3 * hidden, np.float32)
        bias = np.concatenate([np.zeros(width), self.bias])
        found = formulas.recurrent(
            layer.cell, self.x, np.eye(width)[None], np.zeros((1, width, hidden)), bias[None],
            self.lengths, self.h[None], self.c[None], peepholes[None],
            [layer.is_reverse], layer.clip, layer.is_coupled, layer.resets_product, self.multiply,
        )  # fmt: skip
        return [found[0][:, 0], *(part[0] for part in found[1:])]


def skip_if_it_cannot_run(row: TargetRow) -> None:
    missing = host.missing_features("x86_64", row.features) if row.arch == "x86_64" else ()
    if host.architecture() != "x86_64" or missing:
        pytest.skip(f"this CPU has no {', '.join(missing) or row.name}")


@pytest.mark.parametrize(("row", "dot"), DOTS)
@pytest.mark.parametrize(("batch", "hidden"), [(1, 1), (3, 7), (5, 33), (2, 64)])
def test_products_are_exact(row: TargetRow, dot: DotInstruction, batch: int, hidden: int) -> None:
    """The function is that of no change, so that a step's result is its product."""
    skip_if_it_cannot_run(row)
    layer = Recurrence("RNN", 1, batch, hidden, (GateFunction("Affine", 1.0),))
    case = Case(layer)
    result, last, _ = case.run(row, dot)
    products = np.stack([case.multiply(0, state) for state in case.h])
    # Two sums, each rounded, or not, to 2^-24 of what is below 4.
    np.testing.assert_allclose(result[0], products + case.bias + case.x[0], rtol=0, atol=2.0**-21)
    np.testing.assert_array_equal(result[0], last)


@pytest.mark.parametrize(("row", "dot"), DOTS)
@pytest.mark.parametrize(
    ("cell", "how"),
    [
        ("RNN", {"is_reverse": True}),
        ("GRU", {}),
        ("GRU", {"resets_product": True, "clip": 0.3}),
        ("LSTM", {"is_reverse": True}),
        ("LSTM", {"is_coupled": True, "clip": 0.3}),
    ],
)
def test_cells(row: TargetRow, dot: DotInstruction, cell: str, how: dict) -> None:
    skip_if_it_cannot_run(row)
    case = Case(of_defaults(cell, 4, 5, 19, **how))
    for result, expected in zip(case.run(row, dot), case.expected(), strict=False):
        np.testing.assert_allclose(result, expected, atol=TOLERANCE)


def test_every_cell_is_among_the_defaults() -> None:
    assert set(GATES) == set(DEFAULTS)


@pytest.mark.parametrize("scale", [0.0, 1e30, np.inf, np.nan])
def test_states_of_any_size(scale: float) -> None:
    """The scale of a state is found anew at each step, so it may grow; what is no number gives none."""
    row, dot = PORTABLE, PORTABLE.any_dot
    case = Case(Recurrence("RNN", 1, 1, 9, (GateFunction("Affine", 1.0),)))
    case.h = (case.h * np.float32(scale)).astype(np.float32)
    result, *_ = case.run(row, dot)
    if np.isfinite(scale):
        expected = case.multiply(0, case.h[0]) + case.bias + case.x[0, 0]
        np.testing.assert_allclose(result[0, 0], expected, rtol=2.0**-21, atol=2.0**-21)
    else:
        assert np.isnan(result).all()


def test_weights_lie_in_the_order_in_which_they_are_read() -> None:
    layer = of_defaults("LSTM", 1, 1, 5)
    form = Form.of(layer, DotInstruction(None, lanes=4, depth=2, data_dtype="int8"), PORTABLE)
    values = np.arange(5 * 20, dtype=np.int8).reshape(5, 20)
    packed = form.pack_weights(values)
    width = form.tiles(0, 4)[0][2]
    # The first instruction's: two rows, four columns; then the next columns of the tile.
    np.testing.assert_array_equal(packed[:8].reshape(4, 2), values[:2, :4].T)
    np.testing.assert_array_equal(packed[8:10], [values[0, 4], values[1, 4]])
    assert not packed[10:16].any()
    np.testing.assert_array_equal(packed[8 * width : 8 * width + 2], values[2:4, 0])


@pytest.mark.parametrize(
    ("name", "instruction"),
    [("x86-avx512vnni", "vpdpbusd"), ("x86-avxvnni", "vpdpbusd"), ("x86-avx2", "vpmaddwd")],
)
def test_the_instruction_is_in_the_code(name: str, instruction: str) -> None:
    row = next(row for row in ROWS if row.name == name)
    form = Form.of(of_defaults("LSTM", 2, 1, 32), row.any_dot, row)
    code = compile_kernel(integer_recurrence(form, row), target_of(row))
    assert instruction in code.inspect_source("s")
