"""The kernel of a recurrent layer whose recurrent weights are int8: the state is quantized at each step.

    q, s = quantize_rows(h), of each sample
    h R  = float32(q @ R) * s * scale of R's column

All samples take a step together, so that they share what is read of the weights. The weights lie tile by tile in the
order in which they are read. It is written by hand, loop by loop, for the dot product that it is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from ....targets.code import update_of
from ....targets.intrinsics import built
from ....targets.row import DotInstruction, TargetRow
from ...hub import arithmetic
from ...hub.op_patterns import OPAQUE
from ...hub.packing import ceil_div
from ...hub.recurrences import Recurrence
from .dynamic import steps_of
from .epilogue import Conversion
from .gate_functions import BY_POLYNOMIALS
from .gates import Gates, States, by_threads
from .recurrence import shapes_of
from .vectors import load, store

MOST_SAMPLES = 4
"""That a register tile has."""

LARGEST_STEPS = 127.0


@dataclass(frozen=True)
class Form:
    """How a layer's recurrent products are laid out for an instruction.

    Attributes
    ----------
    layer : what is computed.
    dot : the instruction.
    registers : accumulators of a tile.
    """

    layer: Recurrence
    dot: DotInstruction
    registers: int

    @staticmethod
    def of(layer: Recurrence, dot: DotInstruction, row: TargetRow) -> Form:
        """Return that for a target."""
        return Form(layer, dot, row.vector_registers // 2)

    @property
    def samples(self) -> int:
        """How many samples a tile has."""
        return min(self.layer.batch, MOST_SAMPLES)

    @property
    def blocks(self) -> int:
        """How many vectors of columns a gate has."""
        return ceil_div(self.layer.hidden, self.dot.lanes)

    @property
    def pitch(self) -> int:
        """Columns of a gate, padded to whole vectors."""
        return self.blocks * self.dot.lanes

    @property
    def taken(self) -> int:
        """Numbers of the state that an instruction takes."""
        return self.dot.depth * self.dot.steps

    @property
    def groups(self) -> int:
        """How often it takes some."""
        return ceil_div(self.layer.hidden, self.taken)

    @property
    def products(self) -> list[tuple[int, int]]:
        """First gate and the one behind the last of each product of a step."""
        gates = self.layer.gates
        return [(0, gates - 1), (gates - 1, gates)] if self.layer.resets_state else [(0, gates)]

    def tiles(self, first: int, last: int) -> list[tuple[int, int, int]]:
        """Return (first block, number of tiles, blocks of each) for the gates from ``first`` to before ``last``."""
        start, count = first * self.blocks, (last - first) * self.blocks
        width = max(1, self.registers // self.samples)
        whole, rest = divmod(count, width)
        found = [(start, whole, width)] if whole else []
        return [*found, (start + whole * width, 1, rest)] if rest else found

    def pack_columns(self, values: np.ndarray) -> np.ndarray:
        """Return ``[.., gates * hidden]`` padded to ``[.., gates * pitch]``."""
        split = values.reshape(*values.shape[:-1], self.layer.gates, self.layer.hidden)
        pads = [(0, 0)] * (split.ndim - 1) + [(0, self.pitch - self.layer.hidden)]
        return np.pad(split, pads).reshape(*values.shape[:-1], -1)

    def pack_weights(self, values: np.ndarray) -> np.ndarray:
        """Return int8 ``[hidden, gates * hidden]`` in one row, in the order in which tiles read it."""
        dot = self.dot
        padded = np.pad(
            self.pack_columns(values), ((0, self.groups * self.taken - self.layer.hidden), (0, 0))
        )
        split = padded.reshape(self.groups, dot.steps, dot.depth, -1, dot.lanes)
        vectors = split.transpose(3, 0, 1, 4, 2)  # blocks, groups, steps, lanes, depth
        parts = []
        for first, last in self.products:
            for start, count, width in self.tiles(first, last):
                tiles = vectors[start : start + count * width].reshape(count, width, *vectors.shape[1:])
                parts.append(tiles.swapaxes(1, 2).reshape(-1))
        return np.ascontiguousarray(np.concatenate(parts))


def integer_shapes(form: Form) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return shapes and dtypes of the kernel's buffers by name, in order."""
    padded = (form.layer.gates * form.pitch,)
    size = padded[0] * form.groups * form.taken
    found: dict[str, tuple[tuple[int, ...], str]] = {}
    for name, shape in shapes_of(form.layer).items():
        if name == "weights":
            found |= {
                "weights": ((size,), "int8"),
                "offsets": (padded, "int32"),
                "scales": (padded, "float32"),
            }
        else:
            found[name] = (shape, "int32" if name == "lengths" else "float32")
    return found


def integer_recurrence(form: Form, row: TargetRow) -> tirx.PrimFunc:
    """Return the function of the buffers of ``integer_shapes``.

    Weights, offsets and scales are as ``Form`` packs them; an offset takes the state's zero point off its sum.
    """
    return _Kernel(form, row).emit()


class _Kernel:
    def __init__(self, form: Form, row: TargetRow) -> None:
        self.form, self.layer, self.dot = form, form.layer, form.dot
        self.conversion = Conversion(row.converts_by, largest_rounded=LARGEST_STEPS)
        centre = centre_of(form.dot)
        self.out = arithmetic.Output(form.dot.data_dtype, centre, centre - 127, centre + 127)
        self.code = None if form.dot.intrinsic is None else built(form.dot.intrinsic)[1]
        self.arg: Mapping[str, tirx.Buffer] = {}

    def emit(self) -> tirx.PrimFunc:
        layer, form = self.layer, self.form
        batch, hidden, depth = layer.batch, layer.hidden, form.groups * form.taken
        with IRBuilder() as builder, T.prim_func(s_tir=True):
            self.arg = arg = {
                name: T.arg(name, T.buffer(shape, dtype))
                for name, (shape, dtype) in integer_shapes(form).items()
            }
            T.func_attr({"op_pattern": OPAQUE, "tirx.is_scheduled": True})
            with T.sblock("root"):
                T.reads()
                T.writes()
                self.h, self.c, self.reset = (T.alloc_buffer((batch, hidden), "float32") for _ in range(3))
                self.sums = T.alloc_buffer((batch, layer.gates * form.pitch), "float32")
                self.bias = T.alloc_buffer((layer.gates * form.pitch,), "float32")
                self.integers = T.alloc_buffer((batch, depth), self.dot.data_dtype)
                self.steps = T.alloc_buffer((batch,), "float32")
                self._start()
                with T.serial(layer.steps) as at:
                    self._step(at)
                with T.serial(batch) as sample, by_threads(hidden) as j:
                    T.buffer_store(arg["last_h"], self.h[sample, j], [sample, j])
                    T.buffer_store(arg["last_c"], self.c[sample, j], [sample, j])
        return builder.get()

    def _start(self) -> None:
        arg, hidden = self.arg, self.layer.hidden
        for gate in range(self.layer.gates):
            with by_threads(hidden) as j:
                T.buffer_store(self.bias, arg["bias"][gate * hidden + j], [gate * self.form.pitch + j])
            with T.serial(self.form.pitch - hidden) as j:
                T.buffer_store(self.bias, T.float32(0), [gate * self.form.pitch + hidden + j])
        with T.serial(self.layer.batch) as sample:
            with by_threads(hidden) as j:
                T.buffer_store(self.h, arg["first_h"][sample, j], [sample, j])
                T.buffer_store(self.c, arg["first_c"][sample, j], [sample, j])
            # What is beyond the state meets weights of 0, so any number does.
            with T.serial(int(self.integers.shape[-1]) - hidden) as j:
                T.buffer_store(self.integers, tirx.const(0, self.dot.data_dtype), [sample, hidden + j])

    def _step(self, at: tirx.Expr) -> None:
        first, *second = self.form.products
        self._multiply(self.h, *first)
        if self.layer.cell == "GRU":
            with T.serial(self.layer.batch) as sample, T.If(at < self._length(sample)), T.Then():
                self._gates(sample, at).write_reset()
        for gates in second:
            self._multiply(self.reset, *gates)
        with T.serial(self.layer.batch) as sample, T.If(at < self._length(sample)):
            with T.Then():
                now = self._now(sample, at)
                self._gates(sample, at).write_states()
                with by_threads(self.layer.hidden) as j:
                    T.buffer_store(self.arg["result"], self.h[sample, j], [now, sample, j])
            with T.Else(), by_threads(self.layer.hidden) as j:
                T.buffer_store(self.arg["result"], T.float32(0), [at, sample, j])

    def _length(self, sample: tirx.Expr) -> tirx.Expr:
        return T.min(self.arg["lengths"][sample], self.layer.steps)

    def _now(self, sample: tirx.Expr, at: tirx.Expr) -> tirx.Expr:
        return self._length(sample) - 1 - at if self.layer.is_reverse else at

    def _gates(self, sample: tirx.Expr, at: tirx.Expr) -> Gates:
        states = States(self.h, self.c, self.reset, self.sums, self.form.pitch, (sample,))
        return Gates(self.layer, self.arg, states, sample, self._now(sample, at), BY_POLYNOMIALS)

    # Products.

    def _multiply(self, states: tirx.Buffer, first: int, last: int) -> None:
        """Set the sums of the gates from ``first`` to before ``last`` to states times weights, and their bias."""
        with T.serial(self.layer.batch) as sample:
            self._quantize(states, sample)
        begin = first * self.form.blocks * self._words
        for start, count, width in self.form.tiles(first, last):
            with T.serial(count) as tile:
                self._samples(start + tile * width, begin + tile * (width * self._words), width)
            begin += count * width * self._words

    @property
    def _words(self) -> int:
        """Weights of a block."""
        return self.form.groups * self.form.taken * self.dot.lanes

    def _quantize(self, states: tirx.Buffer, sample: tirx.Expr) -> None:
        """Write a sample's integers and their scale; of magnitudes' bits as integers the order is the same."""
        most = T.alloc_buffer((1,), "int32")
        T.buffer_store(most, T.int32(0), [0])
        with T.serial(self.layer.hidden) as j:
            bits = T.reinterpret(states[sample, j], dtype="int32") & T.int32(0x7FFFFFFF)
            T.buffer_store(most, T.max(most[0], bits), [0])
        scale = T.alloc_buffer((1,), "float32")
        T.buffer_store(scale, T.reinterpret(most[0], dtype="float32") / T.float32(127), [0])
        T.buffer_store(scale, tirx.Select(scale[0] == T.float32(0), T.float32(1), scale[0]), [0])
        T.buffer_store(self.steps, scale[0], [sample])
        with T.serial(self.layer.hidden) as j:
            value = self.conversion.to_output(steps_of(states[sample, j], scale[0]), self.out)
            T.buffer_store(self.integers, value, [sample, j])

    def _samples(self, block: tirx.Expr, begin: tirx.Expr, width: int) -> None:
        """Write the tiles of all samples of ``width`` blocks, whose weights begin at ``begin``."""
        together = self.form.samples
        whole, rest = divmod(self.layer.batch, together)
        with T.serial(whole) as tile:
            self._tile([tile * together + own for own in range(together)], block, begin, width)
        if rest:
            self._tile([whole * together + own for own in range(rest)], block, begin, width)

    def _tile(self, samples: list[tirx.Expr], block: tirx.Expr, begin: tirx.Expr, width: int) -> None:
        lanes, taken = self.dot.lanes, self.form.taken
        totals = [T.alloc_buffer((width * lanes,), "int32") for _ in samples]
        columns = [(block + vector) * lanes for vector in range(width)]
        for total in totals:
            for vector, column in enumerate(columns):
                store(total, load(self.arg["offsets"], [column], lanes), [vector * lanes])
        with T.serial(self.form.groups) as group:
            # Numbers of one sample after the other stay in registers for all vectors of weights.
            for total, sample in zip(totals, samples, strict=True):
                for vector in range(width):
                    at = begin + (group * width + vector) * (taken * lanes)
                    self._add_products(total, vector * lanes, sample, group * taken, at)
        for total, sample in zip(totals, samples, strict=True):
            step = tirx.Broadcast(self.steps[sample], lanes)
            for vector, column in enumerate(columns):
                value = T.cast(load(total, [vector * lanes], lanes), f"float32x{lanes}")
                scaled = value * step * load(self.arg["scales"], [column], lanes)
                store(self.sums, scaled + load(self.bias, [column], lanes), [sample, column])

    def _add_products(
        self, total: tirx.Buffer, own: int, sample: tirx.Expr, first: tirx.Expr, at: tirx.Expr
    ) -> None:
        """Add what an instruction takes: numbers of a state from ``first`` on, and weights from ``at`` on."""
        lanes, weights = self.dot.lanes, self.arg["weights"]
        if self.code is not None:
            value = update_of(
                self.code,
                lambda place, count: load(self.integers, [sample, first + place], count),
                lambda place, count: load(weights, [at + place], count),
                lambda place, count: load(total, [own + place], count),
            )
            store(total, value, [own])
            return
        with T.vectorized(lanes) as lane:
            value = total[own + lane]
            for place in range(self.dot.depth):
                number = T.cast(self.integers[sample, first + place], "int32")
                value = value + number * T.cast(weights[at + lane * self.dot.depth + place], "int32")
            T.buffer_store(total, value, [own + lane])


def centre_of(dot: DotInstruction) -> int:
    """Return the zero point of the state's integers."""
    return 128 if dot.data_dtype == "uint8" else 0
