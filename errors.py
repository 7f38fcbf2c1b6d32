"""Errors that a user meets: one line that names what is at fault and what was expected.

The command line prints the message alone; with ``-v`` the traceback follows.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TvmqError(Exception):
    """Base of every error that is the input's fault and not the program's."""


class CompilerError(TvmqError):
    """What a pass or TVM could not do with a model, though nothing says that the model is at fault.

    ``__cause__`` is what was raised.
    """


def unknown(kind: str, value: object, valid: Iterable[str]) -> TvmqError:
    """Return the error for an unknown name, with the close matches or else the valid names.

    Parameters
    ----------
    kind : what the name names, such as ``"scheme"``.
    value : the bad name.
    valid : the names that exist.
    """
    names = sorted(valid)
    close = difflib.get_close_matches(str(value), names, n=3, cutoff=0.5)
    if close:
        return TvmqError(f"unknown {kind} {str(value)!r}; did you mean {', '.join(map(repr, close))}?")
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return TvmqError(f"unknown {kind} {str(value)!r}; valid: {shown}")
