"""The benchmark of GPUs: a rehearsal on the emulated one, what goes on behind a row that breaks, and its tables."""

from __future__ import annotations

import json

import pytest

from tests import emulated_gpu
from tests.gpu import gpu
from tvmq.bench.cuda import clock, kernels, machine_code, parts, run
from tvmq.bench.cuda.peaks import Chip
from tvmq.bench.cuda.tables import table_of
from tvmq.errors import TvmqError


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Each part in its own process, as on a GPU; the tests of exactness run by themselves."""
    output = tmp_path_factory.mktemp("cuda-bench")
    names = ["products", "models", "vectors", "memory"]
    assert run.main(["--emulated", "--output", str(output), "--parts", *names, "--scale", "5"]) == 0
    return output


@pytest.mark.parametrize("part", ["products", "vectors", "memory"])
def test_every_kernel_is_measured(results, part):
    rows = {row["name"]: row for row in json.loads((results / f"{part}.json").read_text())}
    wanted = [kernel.name for kernel in {**parts_of()}[part](True)]
    assert [name for name in rows if name != "copy"] == wanted
    for row in rows.values():
        assert "error" not in row, row
        assert row.get("seconds")


def parts_of():
    return {"products": kernels.products, "vectors": kernels.vectors, "memory": kernels.memory}


def test_models_and_the_page(results):
    (row,) = json.loads((results / "models.json").read_text())
    assert (row["name"], row["batch"]) == ("digits-1", 1)
    assert row["seconds"]["tvmq"] > 0 and row["slowest"]
    page = (results / "results.md").read_text()
    assert [line.split(",")[0] for line in page.splitlines() if line.startswith("## ")] == [
        *("## products", "## models", "## vectors", "## memory")
    ]
    assert "| digits-1 | 1 |" in page


def test_every_kernel_has_a_name_of_its_own():
    for make in parts_of().values():
        for tiny in (True, False):
            names = [kernel.name for kernel in make(tiny)]
            assert len(names) == len(set(names))
    layers = [kernel for kernel in kernels.products() if "convolution" in kernel.family]
    assert sum(layer.times for layer in layers) == 53
    assert sum(layer.times * layer.macs for layer in layers) / 64 == pytest.approx(4.09e9, rel=0.01)


def test_time_between_events(monkeypatch):
    """Those of the emulated GPU, which does everything at once."""
    filled = []

    class Runtime:
        def __getattr__(self, name):
            return getattr(emulated_gpu.library(), name)

        def cudaMemsetAsync(self, pointer, value, size, stream):
            filled.append((pointer.value, size.value))
            return 0

    monkeypatch.setattr(clock, "cudart", Runtime)
    monkeypatch.setattr(clock, "FILL_BYTES", 1024)
    with gpu():
        timer = clock.Clock()
        ran = []
        found = clock.measure(timer, {"many": [lambda: ran.append("many")] * 16, "one": [lambda: None]}, 3)
        assert timer.copy_seconds(4096) > 0
    assert all(latency.median_ms >= 0 for latency in found.values())
    assert len(ran) == 16 * 4  # one turn more than is measured
    assert len(filled) == 4 * (2 + 16 // 8) + 4 * 2 + 21 * 2 and {size for _, size in filled} == {1024}


def test_a_row_that_fails_ends_the_process_and_is_not_tried_again(tmp_path, monkeypatch):
    path = tmp_path / "memory.jsonl"
    tried = []

    def rows_of(*arguments):
        for name in ("good", "bad", "behind"):
            yield name, lambda name=name: tried.append(name) or {"seconds": 1 / (name != "bad")}

    monkeypatch.setattr(parts, "_rows_of", rows_of)
    monkeypatch.setattr(parts, "chip", lambda: Chip(80, 108, 1.41e9))
    assert parts.run_part("memory", None, path, True) == run.BROKEN
    assert parts.run_part("memory", None, path, True) == 0
    assert tried == ["good", "bad", "behind"]
    rows = [row for row in parts.Rows(path).read() if "begun" not in row]
    assert [row["name"] for row in rows] == ["good", "bad", "behind"]
    assert rows[1]["error"] == "ZeroDivisionError: division by zero"


def test_a_row_that_ends_its_process_is_named():
    rows = [
        {"name": "a", "begun": 1},
        {"name": "a", "seconds": 0.5, "bytes_s": 4.0},
        {"name": "b", "begun": 2},
    ]
    table = table_of("memory", rows)
    assert table.rows[0][:2] == ("a", "500000.0")
    assert table.rows[1][:2] == ("b", "ended its process")


def test_the_sum_of_a_network():
    row = {"family": "int8 convolution 1x1", "macs": 10**9, "tops": 1.0, "share_of_peak": 0.5}
    rows = [{**row, "name": name, "times": 2, "seconds": {"tvmq": 1e-3, "torch int8": 2e-3}} for name in "ab"]
    *_, total = table_of("products", rows).rows
    assert total[:7] == ("all convolutions", "4", "4000.0", "2.0", "-", "8000.0", "2.00")


def test_peaks():
    """Those of NVIDIA's data sheets: 624 TOPS of an A100, 1979 of an H100, two operations a product."""
    assert 2 * Chip(80, 108, 1.41e9).int8_peak == pytest.approx(624e12, rel=0.01)
    assert 2 * Chip(90, 132, 1.83e9).int8_peak == pytest.approx(1979e12, rel=0.01)
    assert 2 * Chip(89, 128, 2.52e9).int8_peak == pytest.approx(660e12, rel=0.01)
    assert Chip(87, 1, 1.0).int8_peak == 2048


LISTING = """
\t.section\t.text.k_kernel,"ax",@progbits
.text.k_kernel:
        /*0000*/                   MOV R1, c[0x0][0x28] ;
.L_x_0:
        /*0010*/                   LDSM.16.M88.4 R4, [R0] ;
        /*0020*/                   IMMA.16832.U8.S8 R8, R4.ROW, R6.COL, R8 ;
        /*0030*/              @P0  BRA `(.L_x_0) ;
        /*0040*/                   EXIT ;
"""
REPORT = "Compiling entry function 'k_kernel' for 'sm_80'\n8 bytes stack frame, 4 bytes spill stores, "
REPORT += "12 bytes spill loads\nUsed 168 registers, 16 bytes smem"


def test_reading_of_a_listing():
    code = machine_code.read_listing(LISTING, REPORT)["k_kernel"]
    assert [each.opcode for each in code.loop_of("IMMA")] == ["LDSM.16.M88.4", "IMMA.16832.U8.S8", "BRA"]
    assert code.loops[0][-1].guard == "@P0"
    assert (code.registers, code.stack_bytes, code.spilled_bytes, code.static_bytes) == (168, 8, 16, 16)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prepared", "absent", "--part", "memory"], "absent has no kernels.json"),
        (["--compile-only", "here"], "there is no GPU here to compile for"),
    ],
)
def test_bad_arguments(arguments, message, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "nvidia_smi", lambda field: "")
    assert run.main(arguments) == 1
    assert message in capsys.readouterr().err


def test_the_emulated_gpu_needs_the_tests(monkeypatch, tmp_path):
    monkeypatch.setattr(run, "ROOT", tmp_path)
    with pytest.raises(TvmqError, match="needs the tests of the repository"):
        run._emulated_gpu()
