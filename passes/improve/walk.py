"""Going through a calibrated module block by block, in the float model and in the quantized one side by side.

Methods that take a layer after all before it have been changed run each block on what the blocks before it
leave: for each sample that is the little that ``passes.improve.blocks`` lets go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tvm import IRModule, relax

from ...errors import TvmqError
from ..calibrate.sample_check import Sample, check_sample
from ..calibrate.spool import Spool
from ..calibrate.watch import Run, Runner
from ..hub.graph import bindings_of, input_specs
from ..hub.pairs import float_form, weight_pairs
from ..hub.steps import simulated_form
from .blocks import Block, cut_out

State = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]
"""What goes on from one block to the next, by name: in the float model, and in the quantized one."""


def first_states(mod: IRModule, samples: Iterable[Sample]) -> Spool[State]:
    """Return what the first block is given, to be walked through again and again.

    It raises ``TvmqError`` while it is walked through: no samples, or one that does not fit the model's inputs.
    """
    return Spool(_first_states(mod, samples))


def next_states(
    part: IRModule, reference: IRModule, block: Block, states: Iterable[State], runner: Runner
) -> Spool[State]:
    """Return what goes on from a block, whose quantized form ``part`` and float form ``reference`` are."""
    return Spool(_advance((runner(reference), runner(simulated_form(part))), block, states))


@dataclass(frozen=True)
class Reader:
    """A weighted operator of a block that has been cut out.

    Attributes
    ----------
    place, index : it is ``weight_pairs(part)[place].readers[index]``, whatever is done to biases and weights.
    name : of its weights' pair in the whole module; a part may name it otherwise.
    """

    place: int
    index: int
    name: str

    def find(self, part: IRModule) -> relax.Var:
        """Return the operator's result."""
        return weight_pairs(part)[self.place].readers[self.index]


def readers_in(mod: IRModule, block: Block, part: IRModule) -> list[Reader]:
    """Return the readers of quantized weights in ``part``, which is that block of ``mod``, in graph order."""
    # A part has its pairs in the module's order.
    names = [pair.name for pair in weight_pairs(mod) if pair.dequantize in block.members]
    found = weight_pairs(part)
    order = {binding.var: place for place, binding in enumerate(bindings_of(part))}
    readers = [
        Reader(place, index, names[place])
        for place, pair in enumerate(found)
        for index in range(len(pair.readers))
    ]
    return sorted(readers, key=lambda reader: order[found[reader.place].readers[reader.index]])


def exact_form(part: IRModule, outputs: Sequence[relax.Var]) -> IRModule:
    """Return the float form of a part with other results, a tuple."""
    return float_form(part, relax.Tuple(list(outputs)))


def quantized_form(part: IRModule, outputs: Sequence[relax.Var]) -> IRModule:
    """Return the simulation of a part with other results, a tuple."""
    return simulated_form(cut_out(part, part["main"].params, outputs))


def check_finite(number: int, what: str, *values: np.ndarray) -> None:
    """Raise ``TvmqError`` where the values for that sample hold NaN or infinity; ``what`` they are."""
    with np.errstate(invalid="ignore"):  # infinity of both signs
        sums = [value.sum(dtype=np.float64) for value in values]
    if not np.isfinite(sums).all():
        raise TvmqError(f"calibration sample {number}: {what} has NaN or infinity")


def _first_states(mod: IRModule, samples: Iterable[Sample]) -> Iterator[State]:
    specs = input_specs(mod)
    empty = True
    for index, sample in enumerate(samples):
        check_sample(sample, index, specs)
        empty = False
        yield dict(sample), dict(sample)
    if empty:
        raise TvmqError("there are no calibration samples; at least one is needed")


def _advance(runs: tuple[Run, Run], block: Block, states: Iterable[State]) -> Iterator[State]:
    first = len(block.outputs) - len(block.onward)
    names = [var.name for var in block.onward]
    for state in states:
        exact, quantized = (
            dict(zip(names, run(values)[first:], strict=True))
            for run, values in zip(runs, state, strict=True)
        )
        yield exact, quantized
