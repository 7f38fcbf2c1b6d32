"""TVM calls a pass from C++, and an exception that crosses it comes back as a nameless ``RuntimeError`` unless its
class is registered. Imported for that effect, by ``passes.hub.graph``, which every pass imports.
"""

from __future__ import annotations

import tvm_ffi

from ...errors import TvmqError

for error in (TvmqError, KeyboardInterrupt):
    tvm_ffi.register_error(error.__name__, error)
