"""The kernel of a recurrent layer: one direction, all steps, the products with the weights of the input done before.

    RNN:   h = f(x + h R + b)
    GRU:   z, r = f(x + h R + b);  n = g(x + (r h) R + b), or g(x + r (h R + b));  h = (1 - z) n + z h
    LSTM:  i, o, f = f(x + h R + b + p c);  c = f c + i g(x + h R + b);  h = o h(c)

``x`` is a step's product of input and weights with its own bias. ONNX orders the gates as written: z r n, and i o f c.
"""

from __future__ import annotations

from collections.abc import Mapping

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from ...hub.recurrences import ATTRIBUTE, Recurrence
from .annotations import INDEPENDENT
from .gate_functions import EXACT
from .gates import Gates, States, by_threads

UNROLLED = 4
"""Rows of the recurrent weights that are added at once: so much less often is a sum loaded and stored."""

RESULTS = 3
"""The last buffers are results."""


def shapes_of(layer: Recurrence) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a kernel's buffers by name, in order; all are float32, but for the lengths, int32.

    A sample's steps from its length on give zeros. RNN and GRU have no peepholes and leave c as it is.
    """
    steps, batch, hidden = layer.steps, layer.batch, layer.hidden
    width = layer.gates * hidden
    return {
        "x": (steps, batch, width), "weights": (hidden, width), "bias": (width,), "peepholes": (3 * hidden,),
        "lengths": (batch,), "first_h": (batch, hidden), "first_c": (batch, hidden),
        "result": (steps, batch, hidden), "last_h": (batch, hidden), "last_c": (batch, hidden),
    }  # fmt: skip


def float_recurrence(layer: Recurrence) -> tirx.PrimFunc:
    """Return the function of the buffers of ``shapes_of``, whose weights are ``[hidden, gates * hidden]``."""
    hidden = layer.hidden
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        T.func_attr({ATTRIBUTE: layer.dumps()})
        arg = {
            name: T.arg(name, T.buffer(shape, "int32" if name == "lengths" else "float32"))
            for name, shape in shapes_of(layer).items()
        }
        with T.sblock("root"):
            h, c = (T.sblock_alloc_buffer((hidden,), "float32") for _ in range(2))
            with T.sblock("recurrence"):
                declare_regions(arg)
                T.sblock_attr({INDEPENDENT: 1})
                sums = T.sblock_alloc_buffer((layer.gates * hidden,), "float32")
                states = States(h, c, T.sblock_alloc_buffer((hidden,), "float32"), sums, hidden)
                with T.serial(layer.batch) as sample:
                    with by_threads(hidden) as j:
                        T.buffer_store(h, arg["first_h"][sample, j], [j])
                        T.buffer_store(c, arg["first_c"][sample, j], [j])
                    with T.serial(layer.steps) as at:
                        length = T.min(arg["lengths"][sample], layer.steps)
                        with T.If(at < length):
                            with T.Then():
                                now = length - 1 - at if layer.is_reverse else at
                                _step(layer, arg, states, sample, now)
                                with by_threads(hidden) as j:
                                    T.buffer_store(arg["result"], h[j], [now, sample, j])
                            with T.Else(), by_threads(hidden) as j:
                                T.buffer_store(arg["result"], T.float32(0), [at, sample, j])
                    with by_threads(hidden) as j:
                        T.buffer_store(arg["last_h"], h[j], [sample, j])
                        T.buffer_store(arg["last_c"], c[j], [sample, j])
    return builder.get()


def declare_regions(arg: Mapping[str, tirx.Buffer]) -> None:
    """Say that the block reads and writes all of a kernel's buffers."""
    *read, result, last_h, last_c = arg.values()
    T.reads(*(_whole(buffer) for buffer in read))
    T.writes(*(_whole(buffer) for buffer in (result, last_h, last_c)))


def _step(
    layer: Recurrence, arg: Mapping[str, tirx.Buffer], states: States, sample: tirx.Expr, now: tirx.Expr
) -> None:
    """Write one step of one sample: h and c become the next ones."""
    gates = Gates(layer, arg, states, sample, now, EXACT)
    _multiply(layer, arg, states.h, states.sums, 0, layer.gates - int(layer.resets_state))
    gates.write_reset()
    if layer.resets_state:
        _multiply(layer, arg, states.reset, states.sums, layer.gates - 1, layer.gates)
    gates.write_states()


def _multiply(
    layer: Recurrence,
    arg: Mapping[str, tirx.Buffer],
    vector: tirx.Buffer,
    sums: tirx.Buffer,
    first: int,
    last: int,
) -> None:
    """Set the sums of the gates ``first`` to ``last - 1`` to the vector times their weights, and their bias."""
    hidden = layer.hidden
    start, count = first * hidden, (last - first) * hidden
    with by_threads(count) as j:
        T.buffer_store(sums, arg["bias"][start + j], [start + j])
    whole = hidden // UNROLLED * UNROLLED
    for begin, end, rows in ((0, whole, UNROLLED), (whole, hidden, hidden - whole)):
        if begin == end:
            continue
        with T.serial((end - begin) // rows) as block, by_threads(count) as j:
            total = sums[start + j]
            for row in range(rows):
                k = begin + block * rows + row
                total = total + vector[k] * arg["weights"][k, start + j]
            T.buffer_store(sums, total, [start + j])


def _whole(buffer: tirx.Buffer):
    return buffer[tuple(slice(0, extent) for extent in buffer.shape)]
