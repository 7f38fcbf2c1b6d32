"""A list of passes that runs as one, and in which a script finds, adds and takes out passes by class or name.

pipeline.insert_after(Calibrate, Mine())
pipeline(mod)                                   as Sequential(pipeline)(mod), and what Mine leaves is checked
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from tvm import IRModule
from tvm.ir.transform import Pass

from ...errors import TvmqError, unknown
from ..hub.contract import PREFIX
from ..hub.verify import verify

Which: TypeAlias = type | str | Pass
"""A pass's class, its name with or without ``tvmq.`` in front, or the pass itself; the first that fits is meant."""


class Pipeline(list[Any]):
    """Passes of ``tvm.transform`` in the order in which they run."""

    def __init__(self, passes: Iterable[Pass] = ()):
        super().__init__(passes)

    def index(self, which: Which, *bounds: Any) -> int:
        """Return the place of a pass.

        Raises
        ------
        TvmqError : there is no such pass in the list.
        """
        for place, step in enumerate(self):
            if _is(step, which):
                return place
        name = getattr(which, "__name__", which if isinstance(which, str) else name_of(which))
        raise unknown("pass in the pipeline", name, {name_of(step) for step in self})

    def __contains__(self, which: object) -> bool:
        return any(_is(step, which) for step in self)

    def insert_before(self, which: Which, *passes: Pass) -> None:
        """Put passes in front of one; raises ``TvmqError`` as ``index`` does, and so do all that follow."""
        place = self.index(which)
        self[place:place] = passes

    def insert_after(self, which: Which, *passes: Pass) -> None:
        """Put passes behind one."""
        place = self.index(which) + 1
        self[place:place] = passes

    def replace(self, which: Which, *passes: Pass) -> None:
        """Put passes in the place of one."""
        place = self.index(which)
        self[place : place + 1] = passes

    def remove(self, which: Which) -> None:
        """Take a pass out."""
        del self[self.index(which)]

    def before(self, which: Which) -> Pipeline:
        """Return the passes in front of one, as a pipeline of their own."""
        return Pipeline(self[: self.index(which)])

    def __call__(self, mod: IRModule) -> IRModule:
        """Return what the passes make of the module.

        Raises
        ------
        TvmqError : a pass that stands in the wrong place; one from elsewhere that leaves a module which is no hub
            (``passes.hub.verify``); what is no pass; whatever a pass raises.
        """
        result = mod
        for _, _, result in self.steps(mod):  # noqa: B007 (the last one counts)
            pass
        return result

    def steps(self, mod: IRModule) -> Iterator[tuple[Pass, IRModule, IRModule]]:
        """Run the passes and give each with the module that it was given and the one that it returned."""
        for step in self:
            if not isinstance(step, Pass):
                raise TvmqError(f"{step!r} in the pipeline is no pass; expected one of tvm.transform")
            before, mod = mod, step(mod)
            if not is_own(step.info.name):
                verify(name_of(step), before, mod)
            yield step, before, mod


def name_of(step: Any) -> str:
    """Return a pass's name without ``tvmq.``."""
    return str(step.info.name).removeprefix(PREFIX) if isinstance(step, Pass) else repr(step)


def is_own(name: str) -> bool:
    """Tell whether a pass of that full name is one of these."""
    return name.startswith(PREFIX)


def _is(step: Any, which: object) -> bool:
    if isinstance(which, str):
        return name_of(step) == which.removeprefix(PREFIX)
    return isinstance(step, which) if isinstance(which, type) else step is which
