"""The sweep: its arguments, its tables, its plot, and an operator timed with engines made for the test."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from tvmq.bench import kernels, machine, sweep, sweep_report
from tvmq.bench.engines import Settings
from tvmq.bench.kernels import Kernel, KernelEngine
from tvmq.bench.latency import Latency
from tvmq.bench.operators import Operator
from tvmq.bench.peak import Loop
from tvmq.bench.sweep_report import Figure, OperatorReport, SweepReport


def _figure(
    engine: str, gmacs: float, is_peer: bool = True, is_held: bool = True, is_int8: bool = True
) -> Figure:
    return Figure(engine, is_int8, is_peer, is_held, "isa", Latency(1.0, 0.1), gmacs)


REPORT = SweepReport(
    {"cpu": "a cpu"},
    {"tvmq": "1.0"},
    {"threads": 1},
    (
        OperatorReport(
            *("5x6x7", "net", 2_500_000, {True: 100.0, False: 50.0}),
            (
                _figure("peer a", 40.0),
                _figure("peer b", 200.0, is_held=False),
                _figure("ours", 80.0, is_peer=False),
                _figure("float", 45.0, is_int8=False),
            ),
        ),
        OperatorReport(
            *("1x1-2-3-4", "", 96, {True: 120.0, False: 50.0}),
            (_figure("ours", 60.0, is_peer=False),),
            {"peer a": "ValueError: no"},
        ),
    ),
)


def test_markdown() -> None:
    lines = sweep_report.to_markdown(REPORT, "plot.png").splitlines()
    assert "| operator | network | MMAC | peer a | peer b | ours | peak | of peak | vs peers |" in lines
    # The engine that is not held to the instruction set is shown, and not compared with.
    assert "| 5x6x7 | net | 2.5 | 40 | 200* | 80 | 100 | 80 % | 2.00 |" in lines
    assert "| 1x1-2-3-4 |  | 0.0 |  |  | 60 | 120 | 50 % |  |" in lines
    assert "| 5x6x7 | net | 2.5 | 45 | 50 |  |  |" in lines
    assert "peer a could not build 1x1-2-3-4: ValueError: no" in lines
    assert "![GMAC/s and peaks](plot.png)" in lines


def test_terminal_shows_what_markdown_shows() -> None:
    text = io.StringIO()
    sweep_report.show(REPORT, Console(file=text, width=140))
    for cell in ("a cpu", "int8, GMAC/s", "200*", "80 %", "2.00", "peer a could not build 1x1-2-3-4"):
        assert cell in text.getvalue()


def test_json_keeps_every_digit() -> None:
    (first, second) = json.loads(sweep_report.to_json(REPORT))["operators"]
    assert first["peaks"] == {"int8": 100.0, "float": 50.0} and first["macs"] == 2_500_000
    assert [figure["gmacs"] for figure in second["figures"]] == [60.0]


def test_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pip install 'tvmq[bench]'")
    sweep_report.plot(REPORT, tmp_path / "plot.png")
    picture = (tmp_path / "plot.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) < 100_000


def _engine(name: str, is_peer: bool, fails: bool = False) -> KernelEngine:
    def build(operator: Operator, settings: Settings) -> Kernel:
        if fails:
            raise ValueError("no such operator\nand more")
        return Kernel(lambda number: 1e-3, "isa")

    return KernelEngine(name, "numpy", True, is_peer, False, build)


def test_an_operator() -> None:
    operator, settings = Operator("net", 100, 20, 50), Settings(1, "llvm", "avx2")
    loops = {is_int8: Loop(400_000, lambda number: 1e-3) for is_int8 in (True, False)}
    engines = [_engine("peer", True), _engine("broken", True, fails=True), _engine("ours", False)]
    report = sweep.run_operator(operator, engines, loops, settings, rounds=2)
    assert [(figure.engine, figure.is_held) for figure in report.figures] == [
        ("peer", False),
        ("ours", False),
    ]
    # 100000 multiplications in a millisecond, and the loop's 400000.
    assert report.figures[0].gmacs == pytest.approx(0.1) and report.peaks[True] == pytest.approx(0.4)
    assert report.failures == {"broken": "ValueError: no such operator"}
    with pytest.raises(ValueError, match="no such operator"):
        sweep.run_operator(operator, [_engine("ours", False, fails=True)], loops, settings, rounds=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--operators", "784x128x1151"], "unknown operator '784x128x1151'; did you mean '784x128x1152'"),
        (["--engines", "tvmq"], "unknown engine 'tvmq'; did you mean 'tvmq int8'"),
        (["--rounds", "0"], "--rounds 0: expected a positive number"),
        (["--output", "/no/such/folder/stem"], "/no/such/folder is no folder that can be written to"),
        (["--isa", "avx3"], "unknown instruction set 'avx3'"),
        (["--target", "llvm -mcpu=nonsense"], "nonsense"),
    ],
)
def test_bad_arguments(arguments: list[str], message: str, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "versions", lambda packages: {})
    assert sweep.main(arguments) == 1
    assert message in capsys.readouterr().err


def test_a_whole_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib", reason="pip install 'tvmq[bench]'")
    monkeypatch.setattr(sweep, "OPERATORS", {"4x16x16": Operator("", 4, 16, 16)})
    monkeypatch.setattr(sweep, "ENGINES", {"tvmq int8": kernels.ENGINES["tvmq int8"]})
    stem = tmp_path / "sweep"
    assert (
        sweep.main(
            ["--operators", "4x16x16", "--engines", "tvmq int8", "--rounds", "1", "--output", str(stem)]
        )
        == 0
    )
    (operator,) = json.loads(stem.with_suffix(".json").read_text())["operators"]
    (figure,) = operator["figures"]
    assert figure["engine"] == "tvmq int8" and figure["gmacs"] > 0 < operator["peaks"]["int8"]
    assert "![GMAC/s and peaks](sweep.png)" in stem.with_suffix(".md").read_text()
    assert stem.with_suffix(".png").stat().st_size > 0
