"""Products of matrices, attention and recurrent layers, each a function that adds a node."""

from __future__ import annotations

import numpy as np

from . import formulas
from .draft import Draft


def matmul(draft: Draft, op_type: str) -> None:
    m, k, n = (draft.one_of(1, 2, 3, 7, 8, 9, 16, 33) for _ in range(3))
    batch = draft.shape(0, 2)
    dtype = draft.one_of("float32", "float32", "float32", "float64", "int32")
    left, right = (*batch, m, k), (*batch[draft.integer(0, len(batch)) :], k, n)
    if draft.chance(0.15):
        left = (k,)
    if draft.chance(0.15):
        right = (k,)
    draft.node(op_type, draft.fresh(left, dtype), draft.fresh(right, dtype))


def gemm(draft: Draft, op_type: str) -> None:
    m, k, n = (draft.one_of(1, 2, 3, 7, 8, 9, 16, 33) for _ in range(3))
    flips = draft.integer(0, 1), draft.integer(0, 1)
    a, b = ((k, m) if flips[0] else (m, k)), ((n, k) if flips[1] else (k, n))
    c = [draft.fresh(draft.one_of((n,), (m, n), (m, 1), (1, n), (1,), ()))] if draft.chance(0.7) else []
    attributes = {"alpha": draft.one_of(None, 0.5), "beta": draft.one_of(None, 0.25, 0.0)}
    draft.node(op_type, draft.fresh(a), draft.fresh(b), *c, transA=flips[0], transB=flips[1], **attributes)


def einsum(draft: Draft, op_type: str) -> None:
    equation, shapes = draft.one_of(
        ("ij,jk->ik", ((3, 5), (5, 7))), ("bij,bjk->bik", ((2, 3, 5), (2, 5, 4))), ("ij->ji", ((3, 5),)),
        ("bhid,bhjd->bhij", ((1, 2, 3, 4), (1, 2, 5, 4))), ("ij,ij->i", ((3, 4), (3, 4))), ("ij->i", ((3, 4),)),
        ("i,j->ij", ((3,), (4,))), ("bthd,bshd->bhts", ((1, 3, 2, 4), (1, 5, 2, 4))),
    )  # fmt: skip
    draft.node(op_type, *(draft.fresh(shape) for shape in shapes), equation=equation)


def matmul_integer(draft: Draft, op_type: str) -> None:
    m, k, n = (draft.one_of(1, 3, 8, 17, 33) for _ in range(3))
    a = draft.input(draft.array((*draft.shape(0, 2), m, k), "uint8", 0, 255))
    b = draft.constant(draft.array((k, n), "int8", -128, 127))
    zeros = [draft.constant(draft.array((), "uint8", 0, 255)), draft.constant(draft.array((), "int8", -9, 9))]
    draft.node(op_type, a, b, *zeros[: draft.integer(0, 2)])


def attention(draft: Draft, op_type: str) -> None:
    batch, heads, size = draft.integer(1, 2), draft.integer(1, 3), draft.integer(2, 5)
    q, k = draft.integer(1, 5), draft.integer(1, 5)
    operands = [draft.fresh((batch, heads, length, size)) for length in (q, k, k)]
    mask = [draft.fresh((q, k))] if draft.chance(0.4) else []
    draft.node(
        op_type, *operands, *mask, is_causal=0 if mask else draft.integer(0, 1), scale=draft.one_of(None, 0.3)
    )


def recurrent(draft: Draft, op_type: str) -> None:
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[op_type]
    steps, batch, size, hidden = (draft.integer(1, 6) for _ in range(4))
    direction = draft.one_of("forward", "reverse", "bidirectional", None)
    directions = {"reverse": [True], "bidirectional": [False, True]}.get(direction, [False])
    count = len(directions)

    def drawn(shape: tuple[int, ...], share: float) -> tuple[str, np.ndarray]:
        array = draft.array(shape, low=-1, high=1)
        return (draft.fresh_of(array), array) if draft.chance(share) else ("", np.zeros(shape, np.float32))

    data = draft.array((steps, batch, size), low=-1, high=1)
    w, r = (drawn((count, gates * hidden, width), 1) for width in (size, hidden))
    b = drawn((count, 2 * gates * hidden), 0.7)
    lengths = (
        draft.array((batch,), "int32", 1, steps) if draft.chance(0.3) else np.full(batch, steps, np.int32)
    )
    named_lengths = draft.fresh_of(lengths) if (lengths != steps).any() else ""
    h, c = (drawn((count, batch, hidden), 0.5) for _ in range(2))
    p = drawn((count, 3 * hidden), 0.3)
    if op_type != "LSTM":
        c, p = (("", np.zeros_like(part[1])) for part in (c, p))
    clip = draft.one_of(None, None, 0.4)
    attributes = {
        "GRU": {"linear_before_reset": draft.integer(0, 1)},
        "LSTM": {"input_forget": draft.integer(0, 1)},
    }.get(op_type, {})
    expected = formulas.recurrent(
        op_type, data, w[1], r[1], b[1], lengths, h[1], c[1], p[1], directions, clip,
        attributes.get("input_forget", 0), attributes.get("linear_before_reset", 0),
    )  # fmt: skip
    names = [w[0], r[0], b[0], named_lengths, h[0], c[0], p[0]]
    if draft.chance(0.3):
        attributes["layout"] = 1
        data = data.transpose(1, 0, 2)
        expected = [expected[0].transpose(2, 0, 1, 3), *(part.transpose(1, 0, 2) for part in expected[1:])]
        for at, state in ((4, h), (5, c)):
            if state[0]:
                names[at] = draft.fresh_of(np.ascontiguousarray(state[1].transpose(1, 0, 2)))
    while not names[-1]:
        names.pop()
    draft.node(
        op_type, draft.input(np.ascontiguousarray(data)), *names, outputs=len(expected), hidden_size=hidden,
        direction=direction, clip=clip, expected=expected, **attributes,
    )  # fmt: skip
