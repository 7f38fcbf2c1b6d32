"""Programs without Python refuse a package for another machine, in the words of Python, before they load its code."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

import tvmq.runtime
from tvmq.runtime.archive import METADATA
from tvmq.runtime.board import make_bundle
from tvmq.targets import host

from .models import CORTEX_A72, package

CORTEX_A76 = {**CORTEX_A72, "mcpu": "cortex-a76", "mattr": ["+dotprod"]}
SOURCE = Path(tvmq.runtime.__file__).parent / "cpp" / "machine.cc"


@pytest.fixture(scope="module")
def arm_bundle(arm_launcher, tmp_path_factory):
    """A bundle for a CPU with dot products."""
    return make_bundle(package(CORTEX_A76), tmp_path_factory.mktemp("board"))


def run(command, folder):
    """Return exit code and standard error of a runner that is given no input."""
    done = subprocess.run(
        [*command, folder / "tvmq-run", folder, "--output-dir", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


def with_metadata(bundle, **fields):
    """Return a bundle's folder after some fields of what it says of itself were replaced."""
    path = bundle / METADATA
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    return bundle


def test_tables_of_python_and_of_c():
    table = SOURCE.read_text().partition("kFeatures[] = {")[2].partition("};")[0]
    arm, x86 = (re.findall(r'\{"([^"]+)", "?(\w+)"?', part) for part in table.split("#else"))
    assert {name for name, _ in arm} == set(host.FEATURES["aarch64"])
    assert dict(x86) == host.FEATURES["x86_64"]


def test_an_arm_cpu_without_dot_products(arm_bundle, emulator):
    code, errors = run(emulator("aarch64", "cortex-a53"), arm_bundle)
    assert code == 1
    assert errors == (
        f"tvmq-run: error: {arm_bundle} is compiled for cortex-a76; "
        "this machine's CPU lacks dotprod, fullfp16, lse, rdm\n"
    )


def test_an_arm_cpu_that_has_them(arm_bundle, emulator):
    assert run(emulator("aarch64", "cortex-a76"), arm_bundle)[1].endswith("no --input for 'x:0'\n")


def test_i8mm_is_of_the_second_word(arm_bundle, emulator, tmp_path):
    folder = with_metadata(make_bundle(package(CORTEX_A72), tmp_path), cpu_features=["i8mm", "bf16", "neon"])
    code, errors = run(emulator("aarch64", "neoverse-n1"), folder)
    assert code == 1
    assert errors.endswith("is compiled for cortex-a72; this machine's CPU lacks bf16, i8mm\n")


def test_this_machine(built, tmp_path):
    arch = host.architecture()
    bundle = make_bundle(built, tmp_path)
    missing = host.missing_features(arch, host.FEATURES[arch])
    with_metadata(bundle, cpu_features=list(host.FEATURES[arch]), target={"mcpu": "future"})
    code, errors = run([], bundle)
    assert code == (1 if missing else 0)
    assert f"is compiled for future; this machine's CPU lacks {', '.join(missing)}\n" in errors
    with_metadata(bundle, arch="riscv64")
    assert run([], bundle) == (
        1,
        f"tvmq-run: error: {bundle} is compiled for riscv64; this machine is {arch}\n",
    )
