"""The context of TVM's passes."""

from __future__ import annotations

import pytest
import tvm
from tvm.ir.instrument import pass_instrument

from tvmq.errors import TvmqError
from tvmq.schedules.context import known_passes, pass_context
from tvmq.schedules.options import CompileOptions


@pass_instrument
class Names:
    """Keeps the names of the passes that run."""

    def __init__(self):
        self.names = []

    def run_before_pass(self, mod, info):
        self.names.append(str(info.name))


def run(options):
    """Run three passes, of the levels 0, 0 and 1, and return the names of those that ran."""
    watcher = Names()
    with pass_context(options, watcher):
        passes = [
            *(tvm.relax.transform.FuseOps(), tvm.relax.transform.FoldConstant()),
            tvm.relax.transform.DeadCodeElimination(),
        ]
        tvm.transform.Sequential(passes)(tvm.IRModule())
    return [name for name in watcher.names if name != "sequential"]


def test_levels_and_names_that_are_left_out():
    everything = run(CompileOptions())
    assert {"FuseOps", "FoldConstant", "DeadCodeElimination"} <= set(everything)
    assert "DeadCodeElimination" not in run(CompileOptions(opt_level=0))
    assert "FuseOps" in run(CompileOptions(opt_level=0))
    assert "FuseOps" not in run(CompileOptions(disabled_passes=("FuseOps",)))


def test_what_the_options_say_is_there():
    watcher = Names()
    options = CompileOptions(instruments=(watcher,), pass_config=(("tirx.disable_vectorize", True),))
    with pass_context(options):
        tvm.relax.transform.FoldConstant()(tvm.IRModule())
        assert tvm.transform.PassContext.current().config["tirx.disable_vectorize"]
    assert watcher.names == ["FoldConstant"]


def test_names_are_those_of_tvm():
    assert {"FuseOps", "tirx.VectorizeLoop", "s_tir.LoopPartition"} <= known_passes()
    with (
        pytest.raises(TvmqError, match="unknown pass of TVM's 'FuzeOps'; did you mean 'FuseOps'"),
        pass_context(CompileOptions(disabled_passes=("FuzeOps",))),
    ):
        pass


def test_what_fails_for_want_of_a_pass_says_so():
    options = CompileOptions(disabled_passes=("FuseOps", "LegalizeOps"))
    message = "^TVM cannot compile the model without FuseOps, LegalizeOps$"
    with pytest.raises(TvmqError, match=message), pass_context(options):
        raise RuntimeError("Check failed")
    with pytest.raises(TvmqError, match="^ours$"), pass_context(options):
        raise TvmqError("ours")
    with pytest.raises(RuntimeError, match="^theirs$"), pass_context(CompileOptions()):
        raise RuntimeError("theirs")


def test_levels_are_checked():
    with pytest.raises(TvmqError, match="opt_level must be 0, 1, 2 or 3, got 4"):
        CompileOptions(opt_level=4)
