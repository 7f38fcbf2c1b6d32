"""What tells one float model from another: a hash of its operators, its layers' names and its constants.

Pairs do not count, so it is the same whatever is quantized of a model, and however.
"""

from __future__ import annotations

import hashlib

from tvm import IRModule, relax

from .graph import bindings_of, dtype_of, extents_of, is_constant, layer_name, op_name, to_numpy
from .pairs import float_form


def fingerprint(mod: IRModule) -> str:
    """Return the first 32 hexadecimal digits of the SHA-256 of the float model behind a Q/DQ module."""
    float_mod = float_form(mod)
    digest = hashlib.sha256()
    for param in float_mod["main"].params:
        digest.update(f"{param.name} {extents_of(param)} {dtype_of(param)}\n".encode())
    for binding in bindings_of(float_mod):
        value = binding.value
        digest.update(f"{op_name(value)} {layer_name(value)}\n".encode())
        for item in value.args if isinstance(value, relax.Call) else ():
            if is_constant(item):
                array = to_numpy(item)
                digest.update(f"{array.shape} {array.dtype}\n".encode())
                digest.update(array.tobytes())
    return digest.hexdigest()[:32]
