"""Whatever is raised becomes an error of ours that says where; ours stay as they are."""

from __future__ import annotations

import pytest
import tvm

from tvmq.errors import CompilerError, TvmqError
from tvmq.passes.hub.ffi_errors import explained


def test_another_error():
    with pytest.raises(CompilerError) as caught, explained("compiling", lambda: " at node 'c' (Conv)"):
        raise ValueError("Check failed: (a) is false: no")
    assert str(caught.value) == (
        "compiling failed at node 'c' (Conv): no (not an error of the model that tvmq knows)"
    )
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("std::bad_alloc")])
def test_no_memory(error):
    with pytest.raises(TvmqError) as caught, explained("compiling"):
        raise error
    assert type(caught.value) is TvmqError
    assert str(caught.value) == "compiling failed: it takes more memory than there is"


@pytest.mark.parametrize("error", [TvmqError("ours"), CompilerError("ours"), KeyboardInterrupt()])
def test_errors_that_stay(error):
    with pytest.raises(type(error)) as caught, explained("compiling"):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    "error",
    [
        TvmqError("unknown layer 'a'; did you mean 'b'?"),
        CompilerError("no"),
        MemoryError("no"),
        KeyboardInterrupt(),
    ],
)
def test_errors_that_leave_a_pass_keep_their_class_and_message(error):
    @tvm.transform.module_pass(opt_level=0, name="failing")
    def failing(module, context):
        raise error

    with pytest.raises(type(error)) as caught:
        tvm.transform.Sequential([failing])(tvm.IRModule({}))
    assert type(caught.value) is type(error) and str(caught.value) == str(error)
