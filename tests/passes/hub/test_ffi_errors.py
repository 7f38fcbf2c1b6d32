"""Exceptions that leave a pass are what they were inside it."""

from __future__ import annotations

import pytest
import tvm

from tvmq.errors import TvmqError
from tvmq.passes.hub import graph


@pytest.mark.parametrize("error", [TvmqError("unknown layer 'a'; did you mean 'b'?"), KeyboardInterrupt()])
def test_errors_keep_their_class_and_message(error):
    assert graph.ffi_errors

    @tvm.transform.module_pass(opt_level=0, name="failing")
    def failing(module, context):
        raise error

    with pytest.raises(type(error)) as caught:
        failing(tvm.IRModule({}))
    assert str(caught.value) == str(error)
