"""What follows each block of a module, in the float model: what an error of the block's results does further on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
from tvm import IRModule, relax

from ..calibrate.spool import Spool
from ..calibrate.watch import Runner
from ..hub.pairs import float_form
from .blocks import Block, cut_out
from .walk import State


@dataclass(frozen=True)
class Ahead:
    """The blocks that follow one.

    Attributes
    ----------
    part : a float function from what goes on from the block to what goes on from each of those that follow.
    results : its results for each sample in the float model, to be walked through once.
    """

    part: IRModule
    results: Iterable[Sequence[np.ndarray]]


class Outlook:
    """What goes on from each block of a module in the float model, kept in a temporary file for all samples."""

    def __init__(
        self,
        mod: IRModule,
        blocks: Sequence[Block],
        takes: Callable[[IRModule], bool],
        states: Iterable[State],
        runner: Runner,
    ):
        """``states`` are those of the first block; what ``takes`` tells of a block ends an ``Ahead`` where it is false.

        The states are walked through when the first results are asked for.
        """
        self._mod, self._blocks, self._runner = mod, blocks, runner
        self._taken = [takes(cut_out(mod, block.inputs, block.outputs)) for block in blocks]
        self._places = {var: place for place, var in enumerate(_outputs(blocks))}
        self._values = Spool(self._run(states))

    def behind(self, place: int) -> Ahead | None:
        """Return what follows the block at that place; None where nothing does that is taken."""
        count = sum(1 for _ in takewhile(bool, self._taken[place + 1 :]))
        if not count:
            return None
        outputs = _outputs(self._blocks[place + 1 : place + 1 + count])
        places = [self._places[var] for var in outputs]
        return Ahead(
            float_form(cut_out(self._mod, self._blocks[place].onward, outputs)),
            ([values[place] for place in places] for values in self._values),
        )

    def _run(self, states: Iterable[State]) -> Iterator[Sequence[np.ndarray]]:
        inputs = self._blocks[0].inputs
        run = self._runner(float_form(cut_out(self._mod, inputs, self._places)))
        for exact, _ in states:
            yield run(exact)


def _outputs(blocks: Iterable[Block]) -> list[relax.Var]:
    return list(dict.fromkeys(var for block in blocks for var in block.outputs))
