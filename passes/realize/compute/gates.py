"""What a step of a recurrent layer does with its products: gates, and the next states.

Each loop is of one sample, and its steps may be done in any order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ...hub.recurrences import Recurrence
from .annotations import BY_THREADS
from .gate_functions import Functions, applied


@dataclass(frozen=True)
class States:
    """A sample's buffers, float32, and the indices in front that select it.

    Attributes
    ----------
    h, c, reset : ``[.., hidden]``; the last is the GRU's reset gate, or the state that it has let through.
    sums : ``[.., gates * pitch]``, products and their biases, gate by gate; they are overwritten.
    pitch : from one gate to the next.
    """

    h: tirx.Buffer
    c: tirx.Buffer
    reset: tirx.Buffer
    sums: tirx.Buffer
    pitch: int
    front: tuple[tirx.Expr, ...] = ()


class Gates:
    """Writes them for one sample and step.

    Parameters
    ----------
    arg : the kernel's buffers by name.
    sample, now : whose products with the input are to be added.
    by : what the activations are made of.
    """

    def __init__(
        self,
        layer: Recurrence,
        arg: Mapping[str, tirx.Buffer],
        states: States,
        sample: tirx.Expr,
        now: tirx.Expr,
        by: Functions,
    ) -> None:
        self._layer, self._arg, self._states, self._by = layer, arg, states, by
        self._sample, self._now = sample, now

    def write_reset(self) -> None:
        """Write the reset gate of the GRU, or the state that it lets through; nothing of other cells."""
        if self._layer.cell != "GRU":
            return
        with by_threads(self._layer.hidden) as j:
            gate = self._active(0, self._at(1, j))
            let_through = gate if self._layer.resets_product else gate * self._load("h", j)
            self._store("reset", let_through, j)

    def write_states(self) -> None:
        """Write the next states, when all products are done."""
        {"RNN": self._rnn, "GRU": self._gru, "LSTM": self._lstm}[self._layer.cell]()

    def _rnn(self) -> None:
        with by_threads(self._layer.hidden) as j:
            self._store("h", self._active(0, self._at(0, j)), j)

    def _gru(self) -> None:
        with by_threads(self._layer.hidden) as j:
            own = self._sum(2, j)
            candidate = self._x(2, j) + (self._load("reset", j) * own if self._layer.resets_product else own)
            self._store("sums", self._active(0, self._at(0, j)), j)
            update = self._load("sums", j)
            old = self._load("h", j)
            self._store("h", (T.float32(1) - update) * self._active(1, candidate) + update * old, j)

    def _lstm(self) -> None:
        hidden, peepholes = self._layer.hidden, self._arg["peepholes"]
        with by_threads(hidden) as j:
            old = self._load("c", j)
            self._store("sums", self._active(0, self._at(0, j) + peepholes[j] * old), j)
            let_in = self._load("sums", j)
            keep = (
                T.float32(1) - let_in
                if self._layer.is_coupled
                else self._active(0, self._at(2, j) + peepholes[2 * hidden + j] * old)
            )
            self._store("c", keep * old + let_in * self._active(1, self._at(3, j)), j)
            new = self._load("c", j)
            out = self._active(0, self._at(1, j) + peepholes[hidden + j] * new)
            self._store("h", out * applied(self._layer.functions[2], new, self._by), j)

    def _active(self, which: int, value: tirx.Expr) -> tirx.Expr:
        if self._layer.clip is not None:
            bound = T.float32(self._layer.clip)
            value = T.max(T.min(value, bound), -bound)
        return applied(self._layer.functions[which], value, self._by)

    def _at(self, gate: int, j: tirx.Expr) -> tirx.Expr:
        return self._x(gate, j) + self._sum(gate, j)

    def _x(self, gate: int, j: tirx.Expr) -> tirx.Expr:
        return self._arg["x"][self._now, self._sample, gate * self._layer.hidden + j]

    def _sum(self, gate: int, j: tirx.Expr) -> tirx.Expr:
        return self._load("sums", gate * self._states.pitch + j)

    def _load(self, name: str, j: tirx.Expr) -> tirx.Expr:
        return tirx.BufferLoad(getattr(self._states, name), [*self._states.front, j])

    def _store(self, name: str, value: tirx.Expr, j: tirx.Expr) -> None:
        T.buffer_store(getattr(self._states, name), value, [*self._states.front, j])


def by_threads(extent: int):
    """Open a loop whose steps may be done in any order."""
    return T.serial(extent, annotations={BY_THREADS: 1})
