"""Command lines that argparse alone would read otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from tvmq.tvmc.main import make_parser


@pytest.fixture
def parse():
    return lambda *words: make_parser().parse_args(words)


@pytest.mark.parametrize(
    "words",
    [
        ["--desired-layout", "NCHW", "m.onnx"],
        ["--desired-layout", "NCHW", "m.onnx", "--target", "llvm"],
        ["m.onnx", "--desired-layout", "NCHW"],
        ["--desired-layout", "NCHW", "--target", "llvm", "m.onnx"],
    ],
)
def test_a_file_behind_a_list(parse, words):
    args = parse("compile", *words)
    assert Path("m.onnx") == args.FILE
    assert args.desired_layout == ["NCHW"]


def test_of_two_lists_the_one_with_a_file_gives_it(parse, tmp_path):
    path = tmp_path / "m.onnx"
    path.touch()
    ops = ["--desired-layout-ops", "nn.conv2d", "nn.avg_pool2d"]
    args = parse("tune", *ops, "--desired-layout", "NCHW", "NHWC", str(path))
    assert (args.FILE, args.desired_layout, args.desired_layout_ops) == (path, ["NCHW", "NHWC"], ops[1:])
    args = parse("tune", *ops, str(path), "--desired-layout", "NCHW", "NHWC")
    assert (args.FILE, args.desired_layout, args.desired_layout_ops) == (path, ["NCHW", "NHWC"], ops[1:])


@pytest.mark.parametrize("words", [[], ["--desired-layout", "NCHW"], ["--mixed-precision"]])
def test_no_file(tvmc, words):
    result = tvmc("compile", *words)
    assert result.code == 2
    assert "the following arguments are required: FILE" in result.err


def test_flags_of_other_targets(parse, tvmc):
    args = parse("compile", "--target", "mrvl, llvm", "--target-mrvl-num_tiles", "4", "m.onnx")
    assert Path("m.onnx") == args.FILE
    assert args.other_target_flags == ["--target-mrvl-num_tiles"]
    assert parse("tune", "m.onnx").other_target_flags == []
    result = tvmc("run", "--target-mrvl-num_tiles=4", "m.tar")
    assert result.code == 2 and "unrecognized arguments" in result.err


def test_attributes_of_a_target_without_quotes(parse):
    args = parse(
        "compile", "--target", "llvm", "-mcpu=skylake", "-mattr=+avx2,-fma", "-num-cores", "2", "m.onnx"
    )
    assert (args.target_llvm_mcpu, args.target_llvm_mattr) == ("skylake", "+avx2,-fma")
    assert getattr(args, "target_llvm_num-cores") == "2"
