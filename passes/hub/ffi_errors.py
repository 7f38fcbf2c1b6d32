"""What is raised on the way through TVM, as an error of ours that says where.

TVM calls a pass from C++, and an exception that crosses it comes back as a nameless ``RuntimeError`` unless its
class is registered. Imported for that effect, by ``passes.hub.graph``, which every pass imports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import tvm_ffi

from ...errors import CompilerError, TvmqError
from .tvm_messages import plain

for error in (TvmqError, CompilerError, KeyboardInterrupt, MemoryError):
    tvm_ffi.register_error(error.__name__, error)


@contextmanager
def explained(what: str, where: Callable[[], str] = str) -> Iterator[None]:
    """Turn whatever is raised inside into a ``CompilerError`` of one line, but for errors that are ours already.

    Parameters
    ----------
    what : what is done, such as ``"compiling"``.
    where : asked only then: the node that is at fault, such as ``" at node 'conv' (Conv)"``.
    """
    try:
        yield
    except TvmqError:
        raise
    except Exception as error:
        if isinstance(error, MemoryError) or "std::bad_alloc" in str(error):
            raise TvmqError(f"{what} failed{where()}: it takes more memory than there is") from error
        raise CompilerError(
            f"{what} failed{where()}: {plain(error)} (not an error of the model that tvmq knows)"
        ) from error
