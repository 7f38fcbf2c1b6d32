"""The context of TVM's passes in which a model is compiled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tvm
import tvm_ffi

from ..errors import CompilerError, TvmqError, unknown
from .cuda.archs import ARCHS
from .options import CompileOptions

_PREFIXES = {"relax.transform.": "", "tirx.transform.": "tirx.", "s_tir.transform.": "s_tir."}
"""Where TVM's passes are registered -> what their names begin with."""


def known_passes() -> set[str]:
    """Return the names of TVM's passes, such as ``"FuseOps"`` and ``"tirx.VectorizeLoop"``."""
    functions = tvm_ffi.registry.list_global_func_names()
    return {
        start + name.removeprefix(prefix)
        for name in map(str, functions)
        for prefix, start in _PREFIXES.items()
        if name.startswith(prefix) and name.removeprefix(prefix)[:1].isupper()
    }


@contextmanager
def pass_context(options: CompileOptions, *instruments: Any) -> Iterator[None]:
    """Enter the context that the options describe.

    Parameters
    ----------
    instruments : further ones, behind those of the context around this one and of the options.

    Raises
    ------
    TvmqError : there is no pass of a name that is to be left out; or the compilation fails without it.
    """
    known = known_passes() if options.disabled_passes else set()
    for name in options.disabled_passes:
        if name not in known:
            raise unknown("pass of TVM's", name, known)
    context = tvm.transform.PassContext(
        opt_level=options.opt_level,
        config=dict(options.pass_config),
        disabled_pass=list(options.disabled_passes),
        instruments=[*tvm.transform.PassContext.current().instruments, *options.instruments, *instruments],
    )
    archs = ARCHS.set(options.cuda_archs)
    try:
        with context:
            yield
    except Exception as error:
        of_model = isinstance(error, TvmqError) and not isinstance(error, CompilerError)
        if of_model or not options.disabled_passes:
            raise
        raise TvmqError(
            f"TVM cannot compile the model without {', '.join(options.disabled_passes)}"
        ) from error
    finally:
        ARCHS.reset(archs)
