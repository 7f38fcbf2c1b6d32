"""Instruments on a script's passes: times, files and checks, and TVM's own."""

from __future__ import annotations

import pytest
import tvm
from tvm import relax

from tvmq.errors import TvmqError
from tvmq.passes import Annotate, PassFiles, PassTimes, Pipeline, Prepare, VerifyPasses, get_scheme

from ..modules import const, module

SHAPE = (1, 4, 6, 6)


def _net(b, x):
    value = b.add(relax.op.nn.conv2d(x, const(4, 4, 3, 3), padding=1), "first", "Conv")
    return b.add(relax.op.nn.relu(value), "relu", "Relu")


@tvm.transform.module_pass(opt_level=0, name="forgets")
def forgets(mod, ctx):
    return tvm.IRModule(mod.functions)


@tvm.transform.module_pass(opt_level=0, name="fails")
def fails(mod, ctx):
    raise TvmqError("no")


@tvm.transform.module_pass(opt_level=0, name="retries")
def retries(mod, ctx):
    try:
        return fails(mod)
    except TvmqError:
        return mod


PASSES = [Prepare(), retries, Annotate(get_scheme("int8"))]


@pytest.fixture(scope="module")
def mod():
    return module({"x": SHAPE}, _net)


def _run(instrument, passes, mod):
    with tvm.transform.PassContext(instruments=[instrument]):
        return passes(mod)


@pytest.mark.parametrize("kind", [Pipeline, tvm.transform.Sequential])
def test_times_are_those_of_the_scripts_own_passes(kind, mod):
    times = PassTimes()
    _run(times, kind(PASSES), mod)
    assert [name for name, _ in times.times] == ["Prepare", "retries", "Annotate"]
    assert all(seconds >= 0.0 for _, seconds in times.times)
    assert [line.split()[2:] for line in times.table().splitlines()] == [
        ["Prepare"],
        ["retries"],
        ["Annotate"],
        ["in", "all"],
    ]


def test_a_failure_is_forgotten_when_its_context_ends(mod):
    times = PassTimes()
    with pytest.raises(TvmqError, match="^no$"):
        _run(times, Pipeline([fails]), mod)
    _run(times, Pipeline(PASSES[:1]), mod)
    assert [name for name, _ in times.times] == ["Prepare"]


def test_files_hold_the_module_and_what_changed(mod, tmp_path):
    folder = tmp_path / "new" / "passes"
    _run(PassFiles(folder), Pipeline(PASSES), mod)
    assert sorted(path.name for path in folder.iterdir()) == [
        "000-given.py",
        "001-Prepare.diff",
        "001-Prepare.py",
        "002-retries.diff",
        "002-retries.py",
        "003-Annotate.diff",
        "003-Annotate.py",
        "summary.txt",
    ]
    diff = (folder / "003-Annotate.diff").read_text()
    assert diff.startswith("--- given\n+++ Annotate\n@@ ")
    assert "\n+            first_weights_q: R.Tensor((4, 4, 3, 3)" in diff
    assert (folder / "002-retries.diff").read_text() == ""
    assert "first_weights_q" not in (folder / "002-retries.py").read_text()
    header, *lines = (folder / "summary.txt").read_text().splitlines()
    assert header.split() == ["number", "seconds", "added", "removed", "pass"]
    assert [line.split()[-1] for line in lines] == ["Prepare", "retries", "Annotate"]
    added, removed = map(int, lines[2].split()[2:4])
    body = diff.splitlines()[2:]
    assert added == sum(line.startswith("+") for line in body)
    assert removed == sum(line.startswith("-") for line in body)


def test_files_of_an_earlier_run_go_and_others_stay(mod, tmp_path):
    for name in ("007-Old.py", "007-Old.diff", "notes.py"):
        (tmp_path / name).write_text("")
    _run(PassFiles(tmp_path), Pipeline(PASSES[:1]), mod)
    assert not {path.name for path in tmp_path.iterdir()} & {"007-Old.py", "007-Old.diff"}
    assert (tmp_path / "notes.py").exists()


def test_a_folder_that_cannot_be_written(mod, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TvmqError, match="cannot write the passes to '.*file': File exists"):
        PassFiles(tmp_path / "file")
    instrument = PassFiles(tmp_path / "gone")
    (tmp_path / "gone" / "summary.txt").unlink()
    (tmp_path / "gone").rmdir()
    with pytest.raises(TvmqError, match="cannot write the passes to '.*gone': No such file"):
        _run(instrument, Pipeline(PASSES[:1]), mod)


def test_a_pass_in_a_sequential_is_checked(mod):
    sequential = tvm.transform.Sequential([Prepare(), forgets])
    sequential(mod)  # nobody looks
    with pytest.raises(TvmqError, match="^forgets: leaves a module .* attribute 'tvmq.layers' is lost"):
        _run(VerifyPasses(), sequential, mod)
    assert _run(VerifyPasses(), tvm.transform.Sequential(PASSES), mod) is not None


def test_tvms_own_instruments_work(mod, capsys):
    timing = tvm.ir.instrument.PassTimingInstrument()
    with tvm.transform.PassContext(instruments=[timing]):
        Pipeline(PASSES[:1])(mod)
        assert "tvmq.Prepare" in str(timing.render())
    _run(tvm.ir.instrument.PassPrintingInstrument(["tvmq.Annotate"], []), Pipeline(PASSES), mod)
    assert capsys.readouterr().out.startswith("Print IR before: tvmq.Annotate")
