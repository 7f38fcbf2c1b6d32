"""Old names of passes and of their options."""

from __future__ import annotations

from tvmq.tvmc.old.passes import current_config, current_passes

KNOWN = {
    "FuseOps",
    "tirx.VectorizeLoop",
    "s_tir.LoopPartition",
    "tirx.disable_vectorize",
    "tirx.add_lower_pass",
}


def test_passes(caplog):
    names = ["FuseOps", "tir.VectorizeLoop", "tir.LoopPartition", "tir.Nonsense", "FuzeOps"]
    assert current_passes(names, KNOWN) == (
        *("FuseOps", "tirx.VectorizeLoop", "s_tir.LoopPartition", "tir.Nonsense", "FuzeOps"),
    )
    assert caplog.messages == []
    assert current_passes(["AlterOpLayout", "FuseOps", "FastMath"], KNOWN) == ("FuseOps",)
    assert caplog.messages == ["AlterOpLayout, FastMath: a pass of Relay, which TVM 0.27 lacks"]


def test_options(caplog):
    pairs = [("tir.disable_vectorize", 1), ("FuseOps", 2), ("tir.nonsense", 3)]
    assert current_config(pairs, KNOWN) == [
        ("tirx.disable_vectorize", 1),
        ("FuseOps", 2),
        ("tir.nonsense", 3),
    ]
    assert caplog.messages == []
    pairs = [("relay.backend.use_auto_scheduler", 0), ("tir.add_lower_pass", "1,a"), ("FuseOps", 2)]
    assert current_config(pairs, KNOWN) == [("FuseOps", 2)]
    assert caplog.messages == [
        "relay.backend.use_auto_scheduler, tir.add_lower_pass: an option that no pass of TVM 0.27 reads"
    ]
