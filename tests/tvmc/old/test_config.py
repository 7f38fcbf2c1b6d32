"""JSON files of ``--config``."""

from __future__ import annotations

import json

import pytest

from tvmq.errors import TvmqError
from tvmq.tvmc.main import make_parser
from tvmq.tvmc.old.config import behind_command, expand_config

KNOWN = {
    "--target",
    "--executor",
    "--executor-aot-interface-api",
    "--pass-config",
    "--trials",
    "--print-time",
}
CONFIG = {
    "targets": [{"kind": "mrvl", "num_tiles": 4}, {"kind": "llvm", "mcpu": "a"}],
    "executor": {"kind": "aot", "interface-api": "c", "unknown": 1},
    "pass-config": {"tir.disable_vectorize": "1", "tir.noalias": 0},
    "trials": "2",
    "repeat": 3,
    "print-time": True,
}
FLAGS = [
    *("--target=mrvl, llvm", "--target-mrvl-num_tiles=4", "--target-llvm-mcpu=a", "--executor=aot"),
    *(
        "--executor-aot-interface-api=c",
        "--pass-config=tir.disable_vectorize=1",
        "--pass-config=tir.noalias=0",
    ),
    *("--trials=2", "--print-time"),
]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "flags.json"
    path.write_text(json.dumps(CONFIG))
    return path


def test_flags_come_first(path):
    for config in (["--config", str(path)], [f"--config={path}"]):
        assert expand_config(["-v", *config, "m.onnx"], KNOWN) == [*FLAGS, "-v", "m.onnx"]


def test_other_files_stay():
    for words in (["--config", "q.toml", "m.onnx"], ["--config=q.toml"], ["m.onnx", "--config"]):
        assert expand_config(words, KNOWN) == words


def test_before_the_subcommand():
    assert behind_command(["-v", "--config", "a.json", "tune", "m"]) == [
        "-v",
        "tune",
        "--config",
        "a.json",
        "m",
    ]
    assert behind_command(["--config=a.json", "tune"]) == ["tune", "--config=a.json"]
    for words in (["tune", "--config", "a.json"], ["--help"], ["-v", "run", "-i", "a"], [], ["--config"]):
        assert behind_command(words) == words


def test_flags_win_over_the_file(path):
    args = make_parser().parse_args(["tune", "--config", str(path), "--trials", "5", "m.onnx"])
    assert (args.trials, args.repeat, args.target, args.target_llvm_mcpu) == (5, 3, ["mrvl, llvm"], "a")


def test_bad_files(tmp_path, tvmc):
    with pytest.raises(TvmqError, match="cannot read '.*no.json': No such file"):
        expand_config(["--config", str(tmp_path / "no.json")], KNOWN)
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(TvmqError, match="a.json' is not JSON"):
        expand_config(["--config", str(tmp_path / "a.json")], KNOWN)
    (tmp_path / "b.json").write_text("[1]")
    with pytest.raises(TvmqError, match="b.json' must hold an object"):
        expand_config(["--config", str(tmp_path / "b.json")], KNOWN)
    result = tvmc("tune", "--config", tmp_path / "b.json", "m.onnx")
    assert result.code == 2 and "must hold an object" in result.err


def test_a_target_without_a_kind(tmp_path):
    (tmp_path / "a.json").write_text('{"targets": [{"mcpu": "a"}]}')
    with pytest.raises(TvmqError, match="a target without its kind"):
        expand_config(["--config", str(tmp_path / "a.json")], KNOWN)
