"""A module as text that is read, and compared from pass to pass.

    lv7: R.Tensor(...) = R.nn.conv2d(lv5, metadata["ir.GenericConst"][4], ...)
    -->
    stem_conv: R.Tensor(...) = R.nn.conv2d(image_dq, float32[32, 1, 3, 3] -0.41..0.38 #9c1f03, ...)

A variable has the name of the node that its call came from: TVM's own numbers change wherever something is inserted. Of
a large constant there are dtype, shape, range, and a hash, which shows whether it changed. The attributes come first, a
layer's record a line.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re

import numpy as np
import tvm
from tvm import IRModule, relax

from ..hub.graph import Constant, is_constant, layer_name, op_name, to_numpy
from ..hub.layers import ATTRIBUTE as LAYERS_ATTRIBUTE

_MARK = "tvmq_constant_"
_SMALL = 4
"""Elements of a constant that is written out."""


def readable(mod: IRModule) -> str:
    """Return the module as text, in TVMScript where nothing is said above; it is not there to be parsed."""
    attrs = {} if mod.attrs is None else {str(name): mod.attrs[name] for name in mod.attrs.keys()}  # noqa: SIM118
    lines = [line for name in sorted(attrs) for line in _attribute(name, attrs[name])]
    bare = IRModule(mod.functions)
    constants: list[Constant] = []
    for var, func in mod.functions.items():
        if isinstance(func, relax.Function):
            bare.update_func(var, _Renamer(constants).renamed(func))
    script = bare.script(show_meta=False)
    script = re.sub(rf"^\s*{_MARK}\d+: .*\n", "", script, flags=re.M)  # they count as free variables
    script = re.sub(rf"\b{_MARK}(\d+)\b", lambda match: _described(constants[int(match[1])]), script)
    return "".join(f"# {line}\n" for line in lines) + script.rstrip("\n") + "\n"


def difference(before: str, after: str, names: tuple[str, str]) -> list[str]:
    """Return the lines of a unified diff of two texts; none where they are equal."""
    return list(difflib.unified_diff(before.splitlines(True), after.splitlines(True), *names))


def _attribute(name: str, value: object) -> list[str]:
    if name != LAYERS_ATTRIBUTE:
        return [f"{name}: {value}"]
    return [
        f"{record['name']} ({record['op']}): {record['status']}"
        + (f", {record['reason']}" if record["reason"] else "")
        + (f" {json.dumps(record['details'])}" if record["details"] else "")
        for record in json.loads(str(value))
    ]


def _described(expr: Constant) -> str:
    value = to_numpy(expr)
    shape = str(list(value.shape)) if value.ndim else ""
    if value.size <= _SMALL:
        return f"{value.dtype}{shape} {', '.join(f'{float(item):.6g}' for item in value.ravel())}"
    digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:6]
    return f"{value.dtype}{shape} {float(value.min()):.4g}..{float(value.max()):.4g} #{digest}"


class _Renamer:
    """Gives the variables of a function names, and puts marks, numbered through ``constants``, for its constants."""

    def __init__(self, constants: list[Constant]):
        self._constants = constants
        self._marks: dict[Constant, relax.Var] = {}
        self._env: dict[relax.Var, relax.Var] = {}
        self._taken: set[str] = set()

    def renamed(self, func: relax.Function) -> relax.Function:
        """Return the function with other names; one with control flow, or values of dynamic shape, as it is."""
        bindings = [binding for block in func.body.blocks for binding in block.bindings]
        if not all(
            isinstance(binding, relax.VarBinding) and not isinstance(binding.value, relax.If | relax.Function)
            for binding in bindings
        ):
            return func
        self._taken.update(param.name for param in func.params)
        blocks = [self._block(block) for block in func.body.blocks]
        body = relax.SeqExpr(blocks, self._expr(func.body.body))
        return relax.Function(func.params, body, func.ret_ty, func.is_pure, func.attrs)

    def _block(self, block: relax.BindingBlock) -> relax.BindingBlock:
        kind = relax.DataflowBlock if isinstance(block, relax.DataflowBlock) else relax.BindingBlock
        found = []
        for binding in block.bindings:
            old = binding.var
            name = self._free(binding.value, old.name)
            make = relax.DataflowVar if isinstance(old, relax.DataflowVar) else relax.Var
            value = self._expr(binding.value)
            self._env[old] = make(name, old.ty)
            found.append(relax.VarBinding(self._env[old], value))
        return kind(found)

    def _free(self, value: relax.Expr, otherwise: str) -> str:
        """Return a name that is not taken, from the layer of a value; ``otherwise`` where it has none."""
        base = self._base(value) or otherwise
        free, count = base, 1
        while free in self._taken:
            count += 1
            free = f"{base}_{count}"
        self._taken.add(free)
        return free

    def _base(self, value: relax.Expr) -> str:
        """Return a name that says what the value is; empty where nothing is known of it."""
        name, layer = op_name(value), re.sub(r"\W", "_", layer_name(value))
        if name not in ("relax.add", "relax.quantize", "relax.dequantize"):
            return layer
        data = value.args[0]
        read = self._env.get(data, data).name if isinstance(data, relax.Var) else f"{layer}_weights"
        if name == "relax.add":
            return read if all(map(is_constant, value.args)) else layer
        if name == "relax.dequantize":
            return read.removesuffix("_q") + "_dq"
        return (read if read.endswith("_weights") or not layer else layer) + "_q"

    def _expr(self, expr: relax.Expr) -> relax.Expr:
        if is_constant(expr) and isinstance(expr.value, tvm.runtime.Tensor):
            if not to_numpy(expr).ndim and to_numpy(expr).dtype.kind == "f":
                return expr  # TVM writes it out
            if expr not in self._marks:
                self._marks[expr] = relax.Var(f"{_MARK}{len(self._constants)}", expr.ty)
                self._constants.append(expr)
            return self._marks[expr]
        if isinstance(expr, relax.Var):
            return self._env.get(expr, expr)
        if isinstance(expr, relax.Tuple):
            return relax.Tuple([self._expr(field) for field in expr.fields])
        if isinstance(expr, relax.TupleGetItem):
            return relax.TupleGetItem(self._expr(expr.tuple_value), expr.index)
        if isinstance(expr, relax.Call):
            return relax.Call(expr.op, [self._expr(item) for item in expr.args], expr.attrs, expr.ty_args)
        return expr
