"""Types of inputs and outputs that no array of NumPy's can have: refused before the long work."""

from __future__ import annotations

from tvm import IRModule

from ..errors import TvmqError
from ..passes.hub.graph import dtype_of, results_of

REFUSED = "bfloat16"
REMEDY = "put a Cast to float32 at the model's edge"


def check_edges(mod: IRModule) -> None:
    """Raise ``TvmqError`` where an input or an output has a type that arrays cannot have; inside a model it may."""
    for param in mod["main"].params:
        if dtype_of(param) == REFUSED:
            raise TvmqError(f"input {param.name!r} is {REFUSED}, which NumPy has no arrays of; {REMEDY}")
    for place, result in enumerate(results_of(mod)):
        if dtype_of(result) == REFUSED:
            raise TvmqError(f"output {place} is {REFUSED}, which NumPy has no arrays of; {REMEDY}")
