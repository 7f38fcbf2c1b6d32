"""Target strings: each form a user may type, and what is refused."""

from __future__ import annotations

import json

import pytest
from tvm.target import Target

from tvmq.errors import TvmqError
from tvmq.targets import parse
from tvmq.targets.features import arch_of, describe, features_of, row_of
from tvmq.targets.parse import parse_target

ZNVER3 = {"kind": "llvm", "keys": ["cpu"], "tag": "", "mcpu": "znver3"}
A72 = "llvm -mtriple=aarch64-linux-gnu -mcpu=cortex-a72"
A7 = "llvm -mtriple=arm-linux-gnueabihf -mcpu=cortex-a7"


def attributes(target: Target) -> dict:
    return json.loads(str(target))


@pytest.mark.parametrize(
    "spec",
    [
        "llvm -mcpu=znver3",
        "  llvm   -mcpu znver3 ",
        "llvm --mcpu=znver3",
        "llvm -mcpu='znver3'",
        {"kind": "llvm", "mcpu": "znver3"},
        '{"kind": "llvm", "mcpu": "znver3"}',
        Target({"kind": "llvm", "mcpu": "znver3"}),
    ],
)
def test_forms_of_one_target(spec):
    assert attributes(parse_target(spec)) == ZNVER3


@pytest.mark.parametrize("content", ["llvm -mcpu=znver3\n", '{"kind": "llvm",\n "mcpu": "znver3"}'])
def test_a_file_holds_a_target(tmp_path, content):
    path = tmp_path / "my target"
    path.write_text(content)
    assert attributes(parse_target(path)) == ZNVER3
    assert attributes(parse_target(str(path))) == ZNVER3


def test_attributes_get_their_types():
    found = attributes(
        parse_target(
            "llvm -mcpu=znver3 -mattr=+avxvnni,-fma -num-cores=2 -fast-math -opt-level=3 -keys=x86,cpu"
        )
    )
    assert found["mattr"] == ["+avxvnni", "-fma"]
    assert found["num-cores"] == 2
    assert found["fast-math"] is True
    assert found["opt-level"] == 3
    assert found["keys"] == ["x86", "cpu"]


def test_overrides_replace_single_attributes():
    found = attributes(
        parse_target("llvm -mcpu=znver3 -num-cores=1", num_cores="4", mattr="+avxvnni", mcpu=None)
    )
    assert found == {**ZNVER3, "num-cores": 4, "mattr": ["+avxvnni"]}


def test_a_tag_and_a_tag_with_overrides():
    assert attributes(parse_target("aws/cpu/c5.large"))["mcpu"] == "skylake-avx512"
    found = parse_target({"tag": "arm/rasp4b64", "mcpu": "cortex-a53"})
    assert found.attrs["mcpu"] == "cortex-a53"
    assert arch_of(found) == "aarch64"


@pytest.mark.parametrize(
    "tag",
    ["raspberry-pi/4b-aarch64", "arm/rasp4b64", "arm/rk3399", "arm/ultra96", "arm/thunderx", "arm/pixel2"],
)
def test_tags_of_boards(tag):
    assert arch_of(parse_target(tag)) == "aarch64"
    target = parse_target(tag)
    assert row_of(target).name.startswith("aarch64")
    assert "host" not in target.attrs


@pytest.mark.parametrize(
    ("cpu", "dotprod", "i8mm"),
    [
        ("cortex-a53", False, False),
        ("cortex-a55", True, False),
        ("cortex-a57", False, False),
        ("cortex-a72", False, False),
        ("cortex-a76", True, False),
        ("cortex-a78ae", True, False),
        ("cortex-a510", True, True),
        ("cortex-a720", True, True),
        ("cortex-x2", True, True),
        ("neoverse-n1", True, False),
        ("neoverse-n2", True, True),
        ("neoverse-v1", True, True),
        ("neoverse-v2", True, True),
        ("apple-m1", True, False),
        ("apple-m2", True, True),
        ("oryon-1", True, True),
    ],
)
def test_features_follow_from_the_cpu(cpu, dotprod, i8mm):
    target = f"llvm -mtriple=aarch64-linux-gnu -mcpu={cpu}"
    features = features_of(parse_target(target))
    assert "neon" in features
    assert ("dotprod" in features, "i8mm" in features) == (dotprod, i8mm)
    with_both = features_of(parse_target(f"{target} -mattr=+dotprod,+i8mm"))
    assert {"dotprod", "i8mm"} <= with_both
    without = features_of(parse_target(f"{target} -mattr=-dotprod,-i8mm"))
    assert not {"dotprod", "i8mm"} & without


def test_parsing_what_was_parsed_changes_nothing():
    for spec in ("llvm -mcpu=znver3 -num-cores=2", A72, "raspberry-pi/4b-aarch64"):
        once = parse_target(spec)
        assert str(parse_target(once)) == str(once)


def test_a_described_target_can_be_typed():
    for spec in ("llvm -mcpu=znver3 -mattr=+avxvnni,-fma -num-cores=2", A72):
        assert str(parse_target(describe(parse_target(spec)))) == str(parse_target(spec))


@pytest.mark.parametrize("spec", ["llvm", "llvm -mcpu=native", "llvm -num-cores=2"])
def test_a_plain_target_is_this_machine(monkeypatch, spec):
    monkeypatch.setattr(parse.codegen, "llvm_get_system_cpu", lambda: "znver4")
    monkeypatch.setattr(parse.codegen, "llvm_get_system_triple", lambda: "x86_64-linux-gnu")
    monkeypatch.setattr(parse.host, "missing_features", lambda arch, features: [])
    target = parse_target(spec)
    assert target.attrs["mcpu"] == "znver4"
    assert "mattr" not in target.attrs


def test_features_that_a_virtual_machine_hides_are_left_out(monkeypatch):
    monkeypatch.setattr(parse.codegen, "llvm_get_system_cpu", lambda: "znver4")
    monkeypatch.setattr(parse.codegen, "llvm_get_system_triple", lambda: "x86_64-linux-gnu")
    monkeypatch.setattr(parse.host, "missing_features", lambda arch, features: ["avx512vnni"])
    target = parse_target("llvm -mattr=+avxvnni -mcpu=native")
    assert list(target.attrs["mattr"]) == ["-avx512vnni", "+avxvnni"]
    assert "avx512vnni" not in features_of(target)


@pytest.mark.parametrize(
    ("spec", "row"),
    [
        ("llvm -mcpu=znver4", "x86-avx512vnni"),
        ("llvm -mcpu=cascadelake", "x86-avx512vnni"),
        ("llvm -mcpu=alderlake", "x86-avxvnni"),
        ("llvm -mcpu=skylake-avx512", "x86-avx512"),
        ("llvm -mcpu=znver4 -mattr=-avx512vnni", "x86-avx512"),
        ("llvm -mcpu=znver3", "x86-avx2"),
        ("llvm -mcpu=x86-64-v3", "x86-avx2"),
        ("llvm -mattr=+avx2,+fma", "x86-avx2"),
        (A72, "aarch64-neon"),
        ("llvm -mtriple=aarch64-linux-gnu", "aarch64-neon"),
        ("llvm -mtriple=arm64-apple-macos -mcpu=apple-m1", "aarch64-dotprod"),
        (A7, "armv7-neon"),
        ("llvm -mtriple=armv7l-linux-gnueabihf -mattr=+neon", "armv7-neon"),
    ],
)
def test_rows_follow_from_features(spec, row):
    if "mtriple" not in spec:
        spec += " -mtriple=x86_64-linux-gnu"
    assert row_of(parse_target(spec)).name == row


def test_the_triple_says_how_floats_are_passed():
    assert parse_target(A7).attrs["mfloat-abi"] == "hard"
    assert parse_target(f"{A7} -mfloat-abi=soft").attrs["mfloat-abi"] == "soft"
    assert "mfloat-abi" not in parse_target(A7.replace("eabihf", "eabi")).attrs


def test_thumb_code_is_for_the_same_cpus():
    target = parse_target(A7.replace("arm-", "thumbv7a-"))
    assert row_of(target).name == "armv7-neon"
    assert target.attrs["vector-width"] == 128


def test_a_cpu_below_every_row():
    with pytest.raises(
        TvmqError, match="-mcpu=nehalem' lacks avx2, which the kernels for x86_64 need at least"
    ):
        row_of(parse_target("llvm -mtriple=x86_64-linux-gnu -mcpu=nehalem"))
    with pytest.raises(TvmqError, match="lacks neon, which the kernels for arm need at least"):
        row_of(parse_target("llvm -mtriple=arm-linux-gnueabihf -mcpu=cortex-m7"))


def test_a_target_of_another_kind_has_no_row():
    with pytest.raises(TvmqError, match="target kind 'c' is not supported yet"):
        row_of(Target("c"))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"kind": "opencl"},
            r"target kind 'opencl' is not supported yet; possible: llvm \(x86_64, aarch64, arm\), cuda",
        ),
        ("llvn", "unknown target kind, tag or file 'llvn'; did you mean 'llvm'"),
        ("llvn -mcpu=znver3", "unknown target kind 'llvn'; did you mean 'llvm'"),
        ("aws/cpu/c5.larg", "did you mean 'aws/cpu/c5.large'"),
        ({"tag": "aws/cpu/c5.larg"}, "unknown target tag 'aws/cpu/c5.larg'; did you mean 'aws/cpu/c5.large'"),
        ("nowhere.json", "target file 'nowhere.json' does not exist"),
        ("", "the target is empty"),
        ('{"kind": "llvm"', "is not JSON"),
        ({"mcpu": "znver3"}, "lacks its kind, such as llvm"),
        ("llvm -mcpu='znver3", "is malformed: No closing quotation"),
        ("llvm mcpu=znver3", "attribute 'mcpu=znver3' must have the form -name=value"),
        ("llvm -mcpuu=znver3", "unknown attribute of target llvm 'mcpuu'; did you mean 'mcpu'"),
        ("llvm -num-cores=two", "attribute 'num-cores' must be of type int, got 'two'"),
        ("llvm -fast-math=perhaps", "attribute 'fast-math' must be of type bool, got 'perhaps'"),
        ({"kind": "llvm", "mattr": 3}, "attribute 'mattr' must be of type Array<str>, got '3'"),
        ("llvm -mcpu=", "attribute 'mcpu' must be of type str, got ''"),
        (
            "llvm -mtriple=riscv64-linux-gnu",
            "architecture 'riscv64' is not supported yet; possible: x86_64, aarch64, arm",
        ),
        (
            "llvm -mtriple=x86_64-linux-gnu -mcpu=cortex-a72",
            "CPU 'cortex-a72' is of aarch64, .* say -mtriple=aarch64-linux-gnu as well",
        ),
        (
            "llvm -mtriple=aarch64-linux-gnu -mcpu=cortexa72",
            r"unknown CPU \(-mcpu\) of aarch64 'cortexa72'; did you mean 'cortex-a72'",
        ),
        (
            "llvm -mtriple=x86_64-linux-gnu -mattr=+avx22",
            r"unknown feature \(-mattr\) of x86_64 'avx22'; did you mean 'avx2'",
        ),
        ("llvm -mattr=avx2", r"feature 'avx2' of -mattr must start with \+ or -"),
    ],
)
def test_what_is_refused(spec, message):
    with pytest.raises(TvmqError, match=message) as caught:
        parse_target(spec)
    assert "\n" not in str(caught.value)


def test_llvm_says_nothing_of_a_feature_beside_us(capfd):
    with pytest.raises(TvmqError, match="unknown feature"):
        parse_target("llvm -mtriple=aarch64-linux-gnu -mattr=+no-such-feature")
    assert capfd.readouterr() == ("", "")


def test_native_is_not_for_another_architecture():
    other = "aarch64" if arch_of(Target("llvm")) == "x86_64" else "x86_64"
    with pytest.raises(TvmqError, match=f"-mcpu=native is this machine's CPU, which cannot run {other} code"):
        parse_target(f"llvm -mtriple={other}-linux-gnu -mcpu=native")


def test_a_file_that_names_another_is_not_followed(tmp_path):
    (tmp_path / "a").write_text(str(tmp_path / "b"))
    (tmp_path / "b").write_text("llvm -mcpu=znver3")
    with pytest.raises(TvmqError, match="unknown target kind, tag or file"):
        parse_target(tmp_path / "a")
    (tmp_path / "b").write_text(" \n")
    with pytest.raises(TvmqError, match="b holds no target"):
        parse_target(tmp_path / "b")
    (tmp_path / "b").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TvmqError, match="cannot read the target from"):
        parse_target(tmp_path / "b")
