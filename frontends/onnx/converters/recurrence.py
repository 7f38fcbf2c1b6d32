"""The kernel of a recurrent layer: one direction, all steps, the products with the weights of the input done before.

    RNN:   h = f(x + h R + b)
    GRU:   z, r = f(x + h R + b);  n = g(x + (r h) R + b), or g(x + r (h R + b));  h = (1 - z) n + z h
    LSTM:  i, o, f = f(x + h R + b + p c);  c = f c + i g(x + h R + b);  h = o h(c)

``x`` is a step's product of input and weights with its own bias. ONNX orders the gates as written: z r n, and i o f c.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from ....passes.realize.compute.annotations import BY_THREADS, INDEPENDENT

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
"""Cell to how many gates it has."""

UNROLLED = 4
"""Rows of the recurrent weights that are added at once: so much less often is a sum loaded and stored."""

Activation = Callable[[tirx.Expr], tirx.Expr]


@dataclass(frozen=True)
class Recurrence:
    """One direction of a recurrent layer, in float32.

    Attributes
    ----------
    cell : a key of ``GATES``.
    steps, batch, hidden : extents.
    activations : those of ONNX in their order: f, and of GRU and LSTM g, and of LSTM h.
    is_reverse : from the last step to the first.
    clip : bound of what the activations are applied to, but for c, as in onnxruntime; None for none.
    is_coupled : the forget gate of the LSTM is 1 - i.
    resets_product : the reset gate of the GRU comes behind the product.
    """

    cell: str
    steps: int
    batch: int
    hidden: int
    activations: tuple[Activation, ...]
    is_reverse: bool = False
    clip: float | None = None
    is_coupled: bool = False
    resets_product: bool = False

    def function(self) -> tirx.PrimFunc:
        """Return the function of the buffers

        ``x [steps, batch, gates * hidden], weights [hidden, gates * hidden], bias [gates * hidden],
        peepholes [3 * hidden], lengths int32 [batch], h [batch, hidden], c [batch, hidden]``, and the results
        ``all steps [steps, batch, hidden], last h [batch, hidden], last c [batch, hidden]``.

        A sample's steps from its length on give zeros. RNN and GRU have no peepholes and leave c as it is.
        """
        steps, batch, hidden = self.steps, self.batch, self.hidden
        width = GATES[self.cell] * hidden
        shapes = {
            "x": (steps, batch, width), "weights": (hidden, width), "bias": (width,), "peepholes": (3 * hidden,),
            "lengths": (batch,), "first_h": (batch, hidden), "first_c": (batch, hidden),
            "result": (steps, batch, hidden), "last_h": (batch, hidden), "last_c": (batch, hidden),
        }  # fmt: skip
        with IRBuilder() as builder, T.prim_func(s_tir=True):
            arg = {
                name: T.arg(name, T.buffer(shape, "int32" if name == "lengths" else "float32"))
                for name, shape in shapes.items()
            }
            with T.sblock("root"):
                h, c = (T.sblock_alloc_buffer((hidden,), "float32") for _ in range(2))
                with T.sblock("recurrence"):
                    *read, result, last_h, last_c = arg.values()
                    T.reads(*(_whole(buffer) for buffer in read))
                    T.writes(*(_whole(buffer) for buffer in (result, last_h, last_c)))
                    T.sblock_attr({INDEPENDENT: 1})
                    step = _Step(self, arg, h, c)
                    with T.serial(batch) as sample:
                        with _by_threads(hidden) as j:
                            T.buffer_store(h, arg["first_h"][sample, j], [j])
                            T.buffer_store(c, arg["first_c"][sample, j], [j])
                        with T.serial(steps) as at:
                            length = T.min(arg["lengths"][sample], steps)
                            with T.If(at < length):
                                with T.Then():
                                    now = length - 1 - at if self.is_reverse else at
                                    step.emit(sample, now)
                                    with _by_threads(hidden) as j:
                                        T.buffer_store(result, h[j], [now, sample, j])
                                with T.Else(), _by_threads(hidden) as j:
                                    T.buffer_store(result, T.float32(0), [at, sample, j])
                        with _by_threads(hidden) as j:
                            T.buffer_store(last_h, h[j], [sample, j])
                            T.buffer_store(last_c, c[j], [sample, j])
        return builder.get()


class _Step:
    """Writes one step of one sample: h and c become the next ones."""

    def __init__(self, layer: Recurrence, arg: dict[str, tirx.Buffer], h: tirx.Buffer, c: tirx.Buffer):
        self.layer, self.arg, self.h, self.c = layer, arg, h, c
        self.hidden = layer.hidden
        self.sums = T.sblock_alloc_buffer((GATES[layer.cell] * layer.hidden,), "float32")
        self.reset = T.sblock_alloc_buffer((layer.hidden,), "float32")

    def emit(self, sample: tirx.Expr, now: tirx.Expr) -> None:
        x, hidden = self.arg["x"], self.hidden

        def at(gate: int, j: tirx.Expr) -> tirx.Expr:
            return x[now, sample, gate * hidden + j] + self.sums[gate * hidden + j]

        {"RNN": self._rnn, "GRU": self._gru, "LSTM": self._lstm}[self.layer.cell](at, x, sample, now)

    def _rnn(self, at, x, sample, now) -> None:
        self._multiply(self.h, 0, 1)
        with _by_threads(self.hidden) as j:
            T.buffer_store(self.h, self._active(0, at(0, j)), [j])

    def _gru(self, at, x, sample, now) -> None:
        hidden, after = self.hidden, self.layer.resets_product
        self._multiply(self.h, 0, 3 if after else 2)
        with _by_threads(hidden) as j:
            gate = self._active(0, at(1, j))
            T.buffer_store(self.reset, gate if after else gate * self.h[j], [j])
        if not after:
            self._multiply(self.reset, 2, 3)
        with _by_threads(hidden) as j:
            own = self.sums[2 * hidden + j]
            candidate = x[now, sample, 2 * hidden + j] + (self.reset[j] * own if after else own)
            T.buffer_store(self.sums, self._active(0, at(0, j)), [j])
            update = self.sums[j]
            T.buffer_store(
                self.h, (T.float32(1) - update) * self._active(1, candidate) + update * self.h[j], [j]
            )

    def _lstm(self, at, x, sample, now) -> None:
        hidden, peepholes = self.hidden, self.arg["peepholes"]
        self._multiply(self.h, 0, 4)
        with _by_threads(hidden) as j:
            old = self.c[j]
            T.buffer_store(self.sums, self._active(0, at(0, j) + peepholes[j] * old), [j])
            let_in = self.sums[j]
            keep = (
                T.float32(1) - let_in
                if self.layer.is_coupled
                else self._active(0, at(2, j) + peepholes[2 * hidden + j] * old)
            )
            T.buffer_store(self.c, keep * old + let_in * self._active(1, at(3, j)), [j])
            out = self._active(0, at(1, j) + peepholes[hidden + j] * self.c[j])
            T.buffer_store(self.h, out * self.layer.activations[2](self.c[j]), [j])

    def _active(self, which: int, value: tirx.Expr) -> tirx.Expr:
        if self.layer.clip is not None:
            bound = T.float32(self.layer.clip)
            value = T.max(T.min(value, bound), -bound)
        return self.layer.activations[which](value)

    def _multiply(self, vector: tirx.Buffer, first: int, last: int) -> None:
        """Set the sums of the gates ``first`` to ``last - 1`` to the vector times their weights, and their bias."""
        start, count = first * self.hidden, (last - first) * self.hidden
        with _by_threads(count) as j:
            T.buffer_store(self.sums, self.arg["bias"][start + j], [start + j])
        whole = self.hidden // UNROLLED * UNROLLED
        for begin, end, rows in ((0, whole, UNROLLED), (whole, self.hidden, self.hidden - whole)):
            if begin == end:
                continue
            with T.serial((end - begin) // rows) as block, _by_threads(count) as j:
                total = self.sums[start + j]
                for row in range(rows):
                    k = begin + block * rows + row
                    total = total + vector[k] * self.arg["weights"][k, start + j]
                T.buffer_store(self.sums, total, [start + j])


def _by_threads(extent: int):
    return T.serial(extent, annotations={BY_THREADS: 1})


def _whole(buffer: tirx.Buffer):
    return buffer[tuple(slice(0, extent) for extent in buffer.shape)]
