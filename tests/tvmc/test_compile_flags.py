"""Passes that are left out or watched, and code as text."""

from __future__ import annotations

from pathlib import Path

import pytest

from tvmq.errors import TvmqError
from tvmq.tvmc.compile_flags import PassInstruments, code_formats, disabled_passes

MODEL = Path(__file__).parents[2] / "examples" / "digits" / "digits.onnx"


def test_code_beside_the_package(tvmc, tmp_path, caplog):
    output = tmp_path / "my model.tar"
    result = tvmc("compile", MODEL, "--dump-code", "asm, ll,tir", "--dump-code", "relay", "-o", output)
    assert result.code == 0, result.err
    assert caplog.messages == ["relay: Relax takes its place, as relax"]
    texts = {path.suffix: path.read_text() for path in tmp_path.iterdir() if path != output}
    assert texts.keys() == {".asm", ".ll", ".tir", ".relax"}
    kernel = "fused_conv2d_3x3_1x8x8x1_32ch_add_relu"
    assert f"__tvm_ffi_{kernel}:" in texts[".asm"]
    assert f"@__tvm_ffi_{kernel}(" in texts[".ll"]
    assert f"def {kernel}(" in texts[".tir"] and "T.handle" not in texts[".tir"].split(kernel)[0]
    assert "R.nn.conv2d(" in texts[".relax"] and 'data_layout="NHWC"' in texts[".relax"]


@pytest.mark.parametrize(("formats", "name"), [("asm,ll", "a.tar.ll"), ("relay", "a.tar.relax")])
def test_code_that_cannot_be_written(tvmc, tmp_path, formats, name):
    (tmp_path / name).mkdir()
    result = tvmc("compile", MODEL, "--dump-code", formats, "-o", tmp_path / "a.tar")
    assert result.code == 1
    message = f"cannot write '{tmp_path}/{name}': it is a folder, and a file name was expected\n"
    assert result.err.endswith(f"tvmc: error: {message}")
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--dump-code", "asm,c"],
            "unknown format of code (dump_code) 'c'; valid: asm, cuda, ll, relax, tir",
        ),
        (["--disabled-pass", "FuseOp"], "unknown pass of TVM's 'FuseOp'; did you mean 'FuseOps'"),
        (["--disabled-pass", "LegalizeOps"], "TVM cannot compile the model without LegalizeOps"),
        (["--print-ir-after", "tirx.Simplifi"], "unknown pass of TVM's 'tirx.Simplifi'"),
    ],
)
def test_refusals(tvmc, tmp_path, flags, message):
    result = tvmc("compile", MODEL, *flags, "-o", tmp_path / "a.tar")
    assert result.code == 1
    assert message in result.err and result.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_passes_are_shown(tvmc, tmp_path):
    names = "[tir.SplitHostDevice,FuseOps]"
    result = tvmc(
        *("compile", MODEL, "--print-pass-times", "--print-ir-before", names, "--print-ir-after", "FuseOps"),
        *("-o", tmp_path / "a.tar"),
    )
    assert result.code == 0, result.err
    shown = [line for line in result.out.splitlines() if line.startswith("Print IR ")]
    assert set(shown) == {
        *("Print IR before: FuseOps", "Print IR after: FuseOps", "Print IR before: tirx.SplitHostDevice")
    }
    _, _, times = result.out.partition("Compilation time breakdown by pass:\n")
    assert "tirx.LowerIntrin: " in times


def test_old_names(caplog):
    assert code_formats(["asm", "relax", "relay"]) == ("asm", "relax")
    caplog.clear()
    assert disabled_passes(["AlterOpLayout", "tir.VectorizeLoop", "FuseOps"]) == (
        "tirx.VectorizeLoop",
        "FuseOps",
    )
    assert caplog.messages == ["AlterOpLayout: a pass of Relay, which TVM 0.27 lacks"]
    assert disabled_passes([]) == ()


def test_nothing_to_watch():
    instruments = PassInstruments()
    assert instruments.all == () and instruments.report() == ""
    with pytest.raises(TvmqError, match="unknown pass of TVM's 'FuzeOps'"):
        PassInstruments(before=["FuzeOps"])
