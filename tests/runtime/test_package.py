from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
import tvm

from tvmq.errors import TvmqError
from tvmq.runtime.describe import describe
from tvmq.runtime.link import link
from tvmq.runtime.metadata import refuse_other_machines
from tvmq.runtime.package import Package, load

from .models import COLUMNS, CORTEX_A72, DEPTH, HOST, ROWS, SIZE, expected, inputs, model


def test_run_gives_every_output_by_name(built):
    outputs = built.run(inputs())
    assert list(outputs) == ["sums", "scaled"]
    for name, array in expected().items():
        assert outputs[name].dtype == array.dtype
        np.testing.assert_array_equal(outputs[name], array)


def test_a_loaded_package_is_the_exported_one(built, package_path, tmp_path):
    loaded = load(package_path)
    np.testing.assert_array_equal(loaded.run(inputs())["sums"], expected()["sums"])
    assert loaded.metadata == built.metadata
    loaded.export(tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == package_path.read_bytes()


def test_outputs_are_the_callers_own(built):
    first = built.run(inputs())
    kept = first["sums"].copy()
    built.run({**inputs(), "x:0": np.zeros((ROWS, DEPTH), "int8")})
    np.testing.assert_array_equal(first["sums"], kept)
    first["sums"][...] = 0


def test_outputs_go_where_the_caller_wants_them(built):
    batch = np.zeros((4, ROWS, COLUMNS), "int32")
    outputs = built.run(inputs(), out={"sums": batch[2]})
    np.testing.assert_array_equal(batch[2], expected()["sums"])
    assert np.shares_memory(outputs["sums"], batch)
    np.testing.assert_array_equal(outputs["scaled"], expected()["scaled"])
    assert not batch[[0, 1, 3]].any()
    with pytest.raises(TvmqError, match=r"out\['sums'\] has dtype float32; expected int32"):
        built.run(inputs(), out={"sums": np.zeros((ROWS, COLUMNS), "float32")})


def test_the_one_input_and_output_need_no_names(parallel_path):
    package = load(parallel_path)
    out = np.zeros((SIZE, SIZE), "float32")
    assert package.run(np.eye(SIZE, dtype="float32"), out=out)["output_0"] is out
    np.testing.assert_array_equal(out, np.eye(SIZE))
    assert len(package.time(out, repeat=2)) == 2


def test_repr_names_scheme_target_inputs_and_outputs(built):
    assert repr(built) == (
        f"Package(int8, llvm, x:0: int8[{ROWS}, {DEPTH}], y: float32[{COLUMNS}] -> "
        f"sums: int32[{ROWS}, {COLUMNS}], scaled: float32[{ROWS}, {COLUMNS}])"
    )
    named = {**built.metadata, "target": {"kind": "llvm", "mcpu": "znver3"}}
    assert repr(Package(b"", named)).startswith("Package(int8, llvm znver3, ")


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_a_copy_has_its_own_metadata_and_shares_the_code(built, duplicate):
    built.run(inputs())
    other = duplicate(built)
    assert other._engine is built._engine
    assert other.metadata == built.metadata
    if duplicate is copy.deepcopy:
        other.metadata["inputs"].clear()
        assert len(built.metadata["inputs"]) == 2


def test_a_package_pickles(built):
    built.run(inputs())
    other = pickle.loads(pickle.dumps(built))
    np.testing.assert_array_equal(other.run(inputs())["sums"], expected()["sums"])
    assert other._engine is not built._engine
    assert repr(other) == repr(built)


def test_inputs_of_any_layout(built):
    arrays = inputs()
    arrays["x:0"] = np.asfortranarray(arrays["x:0"])
    np.testing.assert_array_equal(built.run(arrays)["sums"], expected()["sums"])


@pytest.mark.parametrize("offset", range(0, 128, 16))
@pytest.mark.parametrize("writeable", [True, False])
def test_inputs_anywhere_in_memory(built, offset, writeable):
    array = inputs()["x:0"]
    room = np.zeros(array.nbytes + 192, np.uint8)
    start = -room.ctypes.data % 64 + offset
    placed = room[start : start + array.nbytes].view("int8").reshape(array.shape)
    placed[...] = array
    placed.flags.writeable = writeable
    np.testing.assert_array_equal(built.run({**inputs(), "x:0": placed})["sums"], expected()["sums"])
    np.testing.assert_array_equal(placed, array)


def test_wrong_inputs_are_refused_before_the_run(built):
    with pytest.raises(
        TvmqError, match=rf"input 'x:0' has shape \[1, {DEPTH}\]; expected \[{ROWS}, {DEPTH}\]"
    ):
        built.run({**inputs(), "x:0": np.zeros((1, DEPTH), "int8")})


def test_running_needs_no_compiler(package_path, tmp_path):
    np.savez(tmp_path / "in.npz", **inputs())
    program = (
        "import sys, numpy; from tvmq.runtime.package import load\n"
        "outputs = load(sys.argv[1]).run(dict(numpy.load(sys.argv[2])))\n"
        "loaded = [line for line in open('/proc/self/maps') if 'libtvm_compiler' in line]\n"
        "print(outputs['sums'].sum(), 'tvm' in sys.modules, 'onnx' in sys.modules, len(loaded))\n"
    )
    command = [sys.executable, "-c", program, str(package_path), str(tmp_path / "in.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(expected()["sums"].sum()), "False", "False", "0"]


def test_metadata_describes_the_model(built):
    metadata = built.metadata
    assert metadata["format"] == 2
    assert metadata["scheme"] == "int8"
    assert metadata["target"]["kind"] == "llvm"
    assert metadata["inputs"] == [
        {"name": "x:0", "shape": [ROWS, DEPTH], "dtype": "int8"},
        {"name": "y", "shape": [COLUMNS], "dtype": "float32"},
    ]
    assert [tensor["name"] for tensor in metadata["outputs"]] == ["sums", "scaled"]
    assert [(layer["name"], layer["status"]) for layer in metadata["layers"]] == [
        ("fc", "int8"),
        ("scale", "float"),
    ]
    assert metadata["layers"][1]["reason"] == "because"
    # The int8 weights and the float32 scalar.
    assert metadata["bytes"]["weights"] == DEPTH * COLUMNS + 4
    assert metadata["bytes"]["weights"] + metadata["bytes"]["code"] == metadata["bytes"]["total"]


def test_outputs_without_names_are_numbered():
    mod = model()
    main = mod["main"].without_attr("tvmq.outputs")
    mod.update_func(mod.get_global_var("main"), main)
    metadata = describe(mod, tvm.target.Target(HOST), "float")
    assert [tensor["name"] for tensor in metadata["outputs"]] == ["output_0", "output_1"]


def test_required_features_are_the_targets():
    metadata = describe(model(), tvm.target.Target({"kind": "llvm", "mcpu": "sapphirerapids"}), "float")
    assert {"avx2", "avx512vnni", "amx-int8"} <= set(metadata["cpu_features"])
    assert metadata["target"]["mcpu"] == "sapphirerapids"


def test_a_package_for_another_architecture(built, as_cpu, tmp_path):
    as_cpu("x86_64", "flags : avx2\n")
    foreign = Package(b"", {**built.metadata, "arch": "aarch64"})
    foreign.export(tmp_path / "arm.tar")
    with pytest.raises(TvmqError, match=r"arm.tar is compiled for aarch64; this machine is x86_64"):
        load(tmp_path / "arm.tar")
    with pytest.raises(TvmqError, match=r"the package is compiled for aarch64; this machine is x86_64"):
        foreign.run(inputs())


def test_a_package_for_a_better_cpu(as_cpu, tmp_path):
    mod, target = model(), tvm.target.Target({"kind": "llvm", "mcpu": "znver3"})
    metadata = describe(mod, target, "int8")
    as_cpu("x86_64", "flags : pni ssse3 sse4_1 sse4_2 popcnt avx\n")
    with pytest.raises(
        TvmqError, match="m.tar is compiled for znver3; this machine's CPU lacks avx2, bmi, bmi2, "
    ):
        refuse_other_machines(metadata, "m.tar")


def test_a_library_that_tvm_cannot_load(built, tmp_path):
    broken = Package(b"\x7fELF but no more", built.metadata)
    with pytest.raises(TvmqError, match="mod.so cannot be loaded"):
        broken.run(inputs())


def test_time_gives_one_mean_a_repeat(built):
    times = built.time(inputs(), number=2, repeat=3)
    assert len(times) == 3
    assert all(seconds > 0 for seconds in times)
    with pytest.raises(TvmqError, match="number and repeat must be at least 1, got 0 and 3"):
        built.time(inputs(), number=0, repeat=3)


def test_profile_names_kernels_and_their_layers(built):
    rows = built.profile(inputs(), runs=2)
    layers = {row.kernel: row.layers for row in rows}
    assert layers["matmul"] == ("fc",)
    assert layers["multiply"] == ("scale",)
    assert not any(row.kernel.startswith("vm.builtin") for row in rows)
    assert all(row.seconds > 0 for row in rows)
    # The instrument is gone afterwards, and the results are what they were.
    np.testing.assert_array_equal(built.run(inputs())["sums"], expected()["sums"])


def test_a_compiler_for_another_architecture_is_named(tmp_path):
    executable = tvm.compile(model(), tvm.target.Target(CORTEX_A72))
    with pytest.raises(TvmqError, match=r"g\+\+ cannot link mod.so: ") as caught:
        link(executable.mod, tmp_path / "mod.so", ("g++",))
    assert "\n" not in str(caught.value)
