"""The command line as a process: start, help, exit codes, interruption."""

from __future__ import annotations

import signal
import subprocess
import sys
from importlib.metadata import version

import pytest

from tvmq.tvmc.commands import compile as compile_command
from tvmq.tvmc.files import check_output

TVMC = [sys.executable, "-m", "tvmq.tvmc.main"]


def run(*arguments: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run([*TVMC, *arguments], capture_output=True, text=True, timeout=120, **options)


@pytest.mark.parametrize("arguments", [["--help"], ["compile", "--help"], ["run", "--help"], ["--version"]])
def test_help_loads_nothing_slow(arguments):
    code = (
        "import sys\nfrom tvmq.tvmc.main import main\n"
        f"try:\n    main({arguments})\nexcept SystemExit as exit:\n    assert not exit.code\n"
        "slow = {'tvm', 'tvm_ffi', 'onnx', 'numpy', 'PIL', 'rich', 'tqdm'} & sys.modules.keys()\n"
        "assert not slow, slow\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(("usage: tvmc", "tvmc "))


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["compil", "a.onnx"],
        ["compile"],
        ["compile", "a.onnx", "--no-such-flag"],
        ["compile", "a.onnx", "--quant", "int8"],  # no abbreviations: they break when a flag is added
        ["compile", "a.onnx", "--input-shapes", "x=y"],
        ["run", "a.tar", "--repeat", "0"],
        ["compile", "a.onnx", "--calibration-samples", "0"],
        ["run", "a.tar", "--fill-mode", "twos"],
        ["run", "a.tar", "--device", "metal"],
    ],
)
def test_wrong_usage(tvmc, arguments):
    result = tvmc(*arguments)
    assert result.code == 2
    assert "error:" in result.err


def test_the_version_is_that_of_tvm_too(tvmc):
    result = tvmc("--version")
    assert result.code == 0
    assert result.out == f"tvmc {version('tvmq')} (TVM {version('apache-tvm')})\n"


def test_it_is_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "tvmq.tvmc", "inspect", "no such.tar"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (1, "tvmc: error: no such.tar does not exist\n")


def test_an_error_is_one_line_without_a_traceback():
    done = run("inspect", "no such.tar")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == "tvmc: error: no such.tar does not exist\n"


@pytest.mark.parametrize("arguments", [["-v", "inspect", "no such.tar"], ["inspect", "-v", "no such.tar"]])
def test_verbose_adds_the_traceback(tvmc, arguments):
    result = tvmc(*arguments)
    assert result.code == 1
    assert "Traceback (most recent call last)" in result.err
    assert result.err.endswith("tvmc: error: no such.tar does not exist\n")


def test_an_unexpected_error_says_so(tvmc, monkeypatch, tmp_path):
    def fail(args, config):
        raise ZeroDivisionError("Check failed: (a) is false: division by zero\nand a module")

    monkeypatch.setattr(compile_command, "_compile", fail)
    result = tvmc("compile", "a.onnx", "-o", tmp_path / "a.tar")
    assert result.code == 1
    assert result.err.startswith("tvmc: error: ZeroDivisionError: division by zero (")
    assert result.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_interruption_leaves_no_output(tvmc, monkeypatch, tmp_path):
    def interrupt(args, config):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(compile_command, "_compile", interrupt)
    # A shell's job in the background ignores the signal, and so would the tests.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        result = tvmc("compile", "a.onnx", "-o", tmp_path / "a.tar")
    finally:
        signal.signal(signal.SIGINT, before)
    assert result.code == 130
    assert result.err == "tvmc: error: interrupted\n"
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_closes_the_pipe(package_path):
    process = subprocess.Popen(
        [*TVMC, "inspect", "--json", str(package_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=60) == 0


def test_checking_an_output_changes_nothing(tmp_path):
    path = tmp_path / "a.tar"
    path.write_text("old")
    check_output(path, None)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
