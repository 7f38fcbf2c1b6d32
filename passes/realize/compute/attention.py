"""Attention as one operator: scores, what changes them, softmax and the product with the values.

    result[q] = sum over k of softmax(steps(query[q] . key[k])) value[k]

Source: Vaswani et al., Attention Is All You Need, 2017 (https://arxiv.org/abs/1706.03762), section 3.2.1.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from tvm import te, tirx, topi

from ....targets.row import ConvertBy
from ...hub.arithmetic import Output
from .annotations import ATTENTION, KERNEL
from .epilogue import Conversion

LEAST = -87.0
"""The least exponent whose power of e is a normal float32."""

SEQUENCES_FIRST, HEADS_FIRST = "bshd", "bhsd"
"""Orders of the axes batch, sequence, head and depth."""

ORDERS = (HEADS_FIRST, SEQUENCES_FIRST, "sbhd", "shbd", "hbsd", "hsbd")
"""All in which a kernel reads and writes: a row of depth lies together."""


@dataclass(frozen=True)
class Step:
    """What happens to a score before the softmax.

    Attributes
    ----------
    kind : ``"scale"``: times ``number``; ``"multiply"``: times an operand; ``"add"``: plus an operand; ``"keep"``:
        ``number`` where an operand is 0; ``"replace"``: ``number`` where it is not.
    number : see above.
    operand : which of the operands, float32 ``[B, H, Sq, Sk]`` or 1 in place of any of these.
    """

    kind: str
    number: float = 0.0
    operand: int = -1

    def __call__(self, score: tirx.Expr, operand: Callable[[int], tirx.Expr]) -> tirx.Expr:
        """Return the changed score: one, or a vector of them with as many numbers of the operand."""
        number = tirx.const(self.number, "float32")
        if self.kind == "scale":
            return score * number
        other = operand(self.operand)
        if self.kind == "add":
            return score + other
        if self.kind == "multiply":
            return score * other
        number = _like(score, number)
        chosen, otherwise = (score, number) if self.kind == "keep" else (number, score)
        return tirx.Select(other != _like(score, tirx.const(0, "float32")), chosen, otherwise)


def _like(value: tirx.Expr, number: tirx.Expr) -> tirx.Expr:
    lanes = value.ty.dtype.lanes
    return tirx.Broadcast(number, lanes) if lanes > 1 else number


@dataclass(frozen=True)
class Rounding:
    """How results become integers: ``clamp(rint(x / scale) + zero point)``, as ``out`` says."""

    scale: float
    out: Output

    def __call__(self, value: tirx.Expr, by: ConvertBy) -> tirx.Expr:
        """Return one result as an integer."""
        return Conversion(by).to_output(value / tirx.const(self.scale, "float32"), self.out)


@dataclass(frozen=True)
class Attention:
    """Which attention it is.

    Attributes
    ----------
    orders : of the axes of query, key, value and result.
    steps : what happens to scores, in order.
    rounding : how results become integers; None where they are float32.
    zeros : whether a query gives zeros whose softmax is no number, as where it sees no key; else it gives that.
    """

    orders: tuple[str, str, str, str]
    steps: tuple[Step, ...] = ()
    rounding: Rounding | None = None
    zeros: bool = False

    @property
    def dtype(self) -> str:
        """The result's."""
        return "float32" if self.rounding is None else self.rounding.out.dtype

    def rounded(self, value: tirx.Expr, by: ConvertBy) -> tirx.Expr:
        """Return one result as it is stored."""
        return value if self.rounding is None else self.rounding(value, by)

    def dumps(self) -> str:
        """Return it as text, for an annotation."""
        return json.dumps(asdict(self))

    @classmethod
    def loads(cls, text: str) -> Attention:
        """Return what ``dumps`` made text of."""
        found = json.loads(text)
        rounding = found["rounding"]
        return cls(
            tuple(found["orders"]),
            tuple(Step(**step) for step in found["steps"]),
            None if rounding is None else Rounding(rounding["scale"], Output(**rounding["out"])),
            found["zeros"],
        )

    def stepped(self, score: tirx.Expr, operand: Callable[[int], tirx.Expr]) -> tirx.Expr:
        """Return a score after all steps."""
        for step in self.steps:
            score = step(score, operand)
        return score


def placed(
    order: str, batch: tirx.Expr, head: tirx.Expr, place: tirx.Expr, depth: tirx.Expr
) -> list[tirx.Expr]:
    """Return the index of an element in a tensor of this order."""
    axes = {"b": batch, "h": head, "s": place, "d": depth}
    return [axes[name] for name in order]


def extents(order: str, shape: Sequence[tirx.Expr]) -> tuple[tirx.Expr, tirx.Expr, tirx.Expr, tirx.Expr]:
    """Return batch, heads, length and depth of a tensor of this order."""
    batch, heads, length, depth = (shape[order.index(name)] for name in HEADS_FIRST)
    return batch, heads, length, depth


def is_one(extent: tirx.Expr) -> bool:
    """Tell whether the extent is 1, for sure."""
    return isinstance(extent, tirx.IntImm) and int(extent) == 1


def attention(
    query: te.Tensor, key: te.Tensor, value: te.Tensor, *operands: te.Tensor, form: Attention, by: ConvertBy
) -> te.Tensor:
    """Return the attention of float32 tensors.

    Parameters
    ----------
    query : B, Sq, H and D in the order that ``form`` says.
    key : the same with Sk for Sq; a number of heads that divides H serves several heads of the query each.
    value : as ``key``, with its own depth.
    operands : of the steps, each (B, H, Sq, Sk) or 1 in place of any of these.
    by : how floats become integers, where results do.

    Returns
    -------
    B, Sq, H and the depth of the values, in the order that ``form`` says.
    """
    batch, heads, length, depth = extents(form.orders[0], query.shape)
    _, key_heads, keys, _ = extents(form.orders[1], key.shape)
    width = value.shape[-1]
    share = int(heads) // int(key_heads)

    d = te.reduce_axis((0, depth), "d")
    scores = te.compute(
        (batch, heads, length, keys),
        lambda b, h, q, k: te.sum(
            query(*placed(form.orders[0], b, h, q, d))
            * key(*placed(form.orders[1], b, tirx.floordiv(h, share), k, d)),
            axis=[d],
        ),
        name="scores",
    )

    def step(*index: tirx.Expr) -> tirx.Expr:
        def operand(which: int) -> tirx.Expr:
            tensor = operands[which]
            places = zip(index, tensor.shape, strict=True)
            return tensor(*(tirx.const(0, "int64") if is_one(extent) else place for place, extent in places))

        return form.stepped(scores(*index), operand)

    stepped = te.compute(scores.shape, step, name="stepped")

    def over_keys(tensor: te.Tensor, reduce: Callable[..., tirx.Expr], name: str) -> te.Tensor:
        k = te.reduce_axis((0, keys), "k")
        return te.compute((batch, heads, length), lambda *row: reduce(tensor(*row, k), axis=[k]), name=name)

    # TVM's own starts from the least finite number, which a row of negative infinities does not reach.
    greatest = te.comm_reducer(lambda x, y: tirx.max(x, y), lambda dtype: tirx.const(-math.inf, dtype))
    most = over_keys(stepped, greatest, "most")
    # Limited so that no power is a denormal number, which takes a hundred times as long; a NaN stays one.
    distance = te.compute(
        scores.shape,
        lambda *index: tirx.max(tirx.const(LEAST, "float32"), stepped(*index) - most(*index[:-1])),
        name="distance",
    )
    power = topi.fast_exp(distance)
    total = over_keys(power, te.sum, "total")
    k = te.reduce_axis((0, keys), "k")
    sums = te.compute(
        (batch, heads, length, width),
        lambda b, h, q, d: te.sum(
            power(b, h, q, k) * value(*placed(form.orders[2], b, tirx.floordiv(h, share), k, d)), axis=[k]
        ),
        name="sums",
    )

    def result(*index: tirx.Expr) -> tirx.Expr:
        b, h, q, d = extents(form.orders[3], index)
        mean = sums(b, h, q, d) / total(b, h, q)
        if form.zeros:
            mean = tirx.Select(total(b, h, q) > tirx.const(0, "float32"), mean, tirx.const(0, "float32"))
        return form.rounded(mean, by)

    return te.compute(
        placed(form.orders[3], batch, heads, length, width),
        result,
        name="result",
        attrs={KERNEL: "attention", ATTENTION: form.dumps()},
    )
