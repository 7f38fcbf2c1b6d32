"""TVM's ``Schedule`` without its checks of argument types, which took an eighth of the time to compile a model."""

from __future__ import annotations

from tvm import s_tir


class Schedule(s_tir.Schedule):
    """As ``tvm.s_tir.Schedule``; an argument of a wrong type fails further inside."""


for _name, _method in vars(s_tir.Schedule).items():
    if hasattr(_method, "__wrapped__"):
        setattr(Schedule, _name, _method.__wrapped__)
