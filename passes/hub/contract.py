"""What each pass requires of a module and ensures, checked where it is called: alone, in a ``Sequential``, anywhere.

@module_pass(requires=(PAIRS,), ensures=(CALIBRATED,))
@dataclass(frozen=True)
class Calibrate: ...                    Calibrate: needs quantize/dequantize pairs, and ...; run Annotate before it
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import tvm
from tvm import IRModule

from ...errors import TvmqError
from .conditions import Condition
from .open_dims import at, ranges_of
from .unify import over_sizes

PREFIX = "tvmq."
"""Of the names of passes."""

T = TypeVar("T")


def module_pass(
    *, requires: Sequence[Condition] = (), ensures: Sequence[Condition] = (), takes_open: bool = False
) -> Callable[[type[T]], type[T]]:
    """Make a ``tvm.transform`` pass of a class with ``transform_module``; its name is that of the class.

    The class has the conditions as its attributes. They are checked in their order; one that does not hold raises
    ``TvmqError``, which names the pass, what it needs, what there is, and what to do.

    A pass of static modules need not know of open dimensions: it runs at several sizes, and what it gives becomes one
    module (``unify``). ``takes_open`` says that it takes an open module as it is.
    """

    def decorate(cls: type[T]) -> type[T]:
        transform = cls.transform_module  # type: ignore[attr-defined]

        def transform_module(self: T, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
            for condition in requires:
                found = condition.broken_by(mod)
                if found:
                    raise TvmqError(
                        f"{cls.__name__}: needs {condition.what}, and {found}; {condition.remedy}"
                    )
            ranges = {} if takes_open else ranges_of(mod)
            if ranges and hasattr(self, "samples"):
                raise TvmqError(
                    f"{cls.__name__}: open dimensions are not supported yet; give the model a static shape"
                )
            if ranges:
                after = over_sizes(lambda sizes: transform(self, at(mod, sizes), ctx), ranges)
            else:
                after = transform(self, mod, ctx)
            for condition in ensures:
                found = condition.broken_by(after)
                if found:
                    raise TvmqError(f"{cls.__name__}: was to leave {condition.what}, and {found}")
            return after

        cls.transform_module = transform_module  # type: ignore[attr-defined]
        wrapped: Any = tvm.transform.module_pass(cls, opt_level=0, name=PREFIX + cls.__name__)
        wrapped.requires, wrapped.ensures = tuple(requires), tuple(ensures)
        return wrapped

    return decorate
