"""``tvmc run`` over a small package."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

import tvmq
from tests.open_models import TARGET, perceptron
from tvmq.runtime.package import Package

OUTPUTS = ["sum/of:0", "[bold]"]
X = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def inputs(tmp_path):
    """A file with both inputs."""
    path = tmp_path / "in.npz"
    np.savez(path, **{"x": X, "n:0": np.array([10])})
    return path


def test_inputs_to_outputs(tvmc, package_path, inputs, tmp_path):
    path = tmp_path / "out put.npz"
    assert tvmc("run", package_path, "--inputs", inputs, "--outputs", path) == (0, "", "")
    with np.load(path) as outputs:
        assert outputs.files == OUTPUTS
        np.testing.assert_array_equal(outputs["sum/of:0"], X + np.float32(10), strict=True)
        np.testing.assert_array_equal(outputs["[bold]"], X * np.float32(2), strict=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in.npz", "out put.npz"]


def test_arrays_that_are_larger_than_their_input(tvmc, package_path, tmp_path):
    path = tmp_path / "in.npz"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (2**40, 3)}
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header.getvalue())
    result = tvmc("run", package_path, "--inputs", path)
    assert (
        result.code == 1
        and "array 'x' has the shape [1099511627776, 3]; the model takes [2, 3]" in result.err
    )


def test_objects_are_not_unpickled(tvmc, package_path, tmp_path):
    path = tmp_path / "in.npz"
    np.savez(path, **{"x": np.full((2, 3), None), "n:0": np.array([10])})
    result = tvmc("run", package_path, "--inputs", path)
    assert result.code == 1 and "array 'x' holds object, and numbers were expected" in result.err


@pytest.mark.parametrize(("mode", "value"), [("zeros", 0), ("ones", 1)])
def test_fill_modes(tvmc, package_path, tmp_path, mode, value):
    path = tmp_path / "out.npz"
    assert tvmc("run", package_path, "--fill-mode", mode, "-o", path).code == 0
    with np.load(path) as outputs:
        assert (outputs["sum/of:0"] == 2 * value).all()
        assert (outputs["[bold]"] == 2 * value).all()


def test_random_inputs_are_the_same_each_time(tvmc, package_path, tmp_path):
    for name in ("a.npz", "b.npz"):
        assert tvmc("run", package_path, "-o", tmp_path / name).code == 0
    with np.load(tmp_path / "a.npz") as first, np.load(tmp_path / "b.npz") as second:
        assert len(np.unique(first["[bold]"])) == 6
        assert ((first["[bold]"] >= 0) & (first["[bold]"] < 2)).all()
        np.testing.assert_array_equal(first["sum/of:0"], second["sum/of:0"])


def test_fill_mode_completes_a_file(tvmc, package_path, tmp_path):
    np.savez(tmp_path / "in.npz", x=X)
    result = tvmc("run", package_path, "-i", tmp_path / "in.npz")
    assert result.code == 1
    assert result.err == f"tvmc: error: {tmp_path}/in.npz lacks the input 'n:0'; --fill-mode makes one\n"
    result = tvmc(
        "run", package_path, "-i", tmp_path / "in.npz", "--fill-mode", "ones", "-o", tmp_path / "out.npz"
    )
    assert result.code == 0
    with np.load(tmp_path / "out.npz") as outputs:
        np.testing.assert_array_equal(outputs["sum/of:0"], X + np.float32(1))


def test_print_time(tvmc, package_path, inputs):
    result = tvmc("run", package_path, "-i", inputs, "--print-time", "--repeat", 3, "--number", 2)
    assert result.code == 0
    lines = [line.split() for line in result.out.splitlines() if line.strip()]
    assert lines[0] == ["Execution", "time", "summary"]
    assert lines[1] == ["mean", "(ms)", "median", "(ms)", "max", "(ms)", "min", "(ms)", "std", "(ms)"]
    mean, median, largest, smallest, deviation = map(float, lines[-1])
    assert 0 < smallest <= median <= largest
    assert smallest <= mean <= largest
    assert deviation >= 0


def test_print_top(tvmc, package_path, inputs):
    result = tvmc("run", package_path, "-i", inputs, "--print-top", 2)
    assert result.code == 0
    rows = [line.split() for line in result.out.splitlines() if line.strip()]
    assert ["output", "[bold]"] in rows
    assert [row for row in rows if len(row) == 2 and row[0][0].isdigit()] == [
        ["1,2", "15"],
        ["1,1", "14"],
        ["1,2", "10"],
        ["1,1", "8"],
    ]


def test_profile_shows_every_kernel(tvmc, package_path, inputs):
    result = tvmc("run", package_path, "-i", inputs, "--profile")
    assert result.code == 0
    assert "Time by layer" in result.out
    assert "total" in result.out
    assert "multiply" in result.out


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": X, "n:0": [1]}, "unknown input in {path} 'y'; valid: n:0, x"),
        ({"x": X.T, "n:0": [1]}, "input 'x' has shape [3, 2]; expected [2, 3]"),
        ({"x": X, "n:0": [0.5]}, "input 'n:0' has dtype float64; expected int64"),
    ],
)
def test_inputs_that_do_not_fit(tvmc, package_path, tmp_path, arrays, message):
    path = tmp_path / "in.npz"
    np.savez(path, **arrays)
    result = tvmc("run", package_path, "-i", path, "-o", tmp_path / "out.npz")
    assert result == (1, "", f"tvmc: error: {message.format(path=path)}\n")
    assert not (tmp_path / "out.npz").exists()


def test_input_files_that_are_none(tvmc, package_path, tmp_path):
    missing = tmp_path / "missing.npz"
    assert tvmc("run", package_path, "-i", missing).err == f"tvmc: error: inputs '{missing}' do not exist\n"
    (tmp_path / "text.npz").write_text("text")
    result = tvmc("run", package_path, "-i", tmp_path / "text.npz")
    assert result.code == 1
    assert "cannot be read" in result.err
    np.save(tmp_path / "x.npy", X)
    assert "must be an .npz" in tvmc("run", package_path, "-i", tmp_path / "x.npy").err
    assert "cannot be read" in tvmc("run", package_path, "-i", tmp_path).err


def test_outputs_that_cannot_be_written(tvmc, package_path, tmp_path):
    result = tvmc("run", package_path, "-o", tmp_path)
    assert (
        result.err
        == f"tvmc: error: cannot write '{tmp_path}': it is a folder, and a file name was expected\n"
    )
    result = tvmc("run", package_path, "-o", tmp_path / "no" / "out.npz")
    assert result.err == f"tvmc: error: cannot write '{tmp_path}/no/out.npz': No such file or directory\n"


def test_files_that_are_no_package(tvmc, tmp_path):
    (tmp_path / "a.tar").write_text("text")
    for path in (tmp_path / "a.tar", tmp_path, tmp_path / "missing.tar"):
        result = tvmc("run", path)
        assert result.code == 1
        assert str(path) in result.err
        assert result.err.count("\n") == 1


def test_outputs_by_the_old_names_too(tvmc, package_path, inputs, tmp_path):
    assert tvmc("run", package_path, "-i", inputs, "--output", tmp_path / "old.npz").code == 0
    assert tvmc("run", package_path, "-i", inputs, "--outputs", tmp_path / "new.npz").code == 0
    with np.load(tmp_path / "old.npz") as old, np.load(tmp_path / "new.npz") as new:
        assert old.files == ["output_0", "output_1", *new.files]
        for number, name in enumerate(new.files):
            np.testing.assert_array_equal(old[name], new[name])
            np.testing.assert_array_equal(old[f"output_{number}"], new[name])


def test_times_of_inputs_and_outputs_too(tvmc, package_path, inputs, monkeypatch):
    runs = []
    run = Package.run
    monkeypatch.setattr(Package, "run", lambda *arguments: runs.append(1) or run(*arguments))
    flags = ("--benchmark", "--end-to-end", "--repeat", "3", "--number", "2")
    result = tvmc("run", package_path, "-i", inputs, *flags)
    assert result.code == 0, result.err
    assert "mean (ms)" in result.out
    assert len(runs) == 1 + 1 + 3 * 2  # for the outputs, to warm up, and timed


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--print-time", "--number=0"], "--print-time needs --number of at least 1"),
        (["--rpc-key=board"], "--rpc-key has no effect without --rpc-tracker"),
        (["--rpc-tracker=localhost", "--profile"], "it cannot go with --rpc-tracker"),
        (["--list-options"], "--list-options: TVM 0.27 has no microTVM"),
        (["--project-option", "board=qemu_x86"], "TVM 0.27 has no microTVM"),
    ],
)
def test_refusals(tvmc, package_path, flags, message):
    result = tvmc("run", package_path, *flags)
    assert result.code == 1
    assert message in result.err and result.err.count("\n") == 1


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("vulkan", "'vulkan' is not supported: packages are for 'cpu' or 'cuda'"),
        ("micro", "'micro': TVM 0.27 has no microTVM"),
        ("gpu", "'gpu' must be 'cpu' or 'cuda'"),
    ],
)
def test_other_devices(tvmc, package_path, device, message):
    result = tvmc("run", package_path, "--device", device)
    assert result.code == 2
    assert message in result.err


def test_a_package_for_the_cpu_does_not_run_on_a_gpu(tvmc, package_path):
    assert tvmc("run", package_path, "--device", "cpu").code == 0
    result = tvmc("run", package_path, "--device", "cuda")
    assert result.code == 1
    assert "the package is for a CPU: compile it with --target cuda to run it on a GPU" in result.err


def test_a_device_of_a_tracker(tvmc, package_path, inputs, tracker, tmp_path):
    address = f"--rpc-tracker={tracker[0]}:{tracker[1]}"
    flags = ("--rpc-key=board", "--print-time", "--end-to-end", "-o", tmp_path / "there.npz")
    result = tvmc("run", package_path, "-i", inputs, address, *flags)
    assert result.code == 0, result.err
    assert "mean (ms)" in result.out
    assert tvmc("run", package_path, "-i", inputs, "-o", tmp_path / "here.npz").code == 0
    with np.load(tmp_path / "there.npz") as there, np.load(tmp_path / "here.npz") as here:
        assert there.files == here.files
        for name in here.files:
            np.testing.assert_array_equal(there[name], here[name])


@pytest.fixture(scope="module")
def open_package(tmp_path_factory):
    """A package whose input has 1 to 9 rows."""
    path = tmp_path_factory.mktemp("open") / "open.tar"
    tvmq.compile(perceptron(), TARGET, input_shapes={"N": "1..9"}).export(path)
    return path


def test_sizes_of_inputs_that_are_filled(tvmc, open_package, tmp_path):
    for sizes, rows in (([], 9), (["--sizes", "N=4"], 4)):
        assert tvmc("run", open_package, *sizes, "-o", tmp_path / "out.npz", "--print-time").code == 0
        with np.load(tmp_path / "out.npz") as outputs:
            assert [array.shape for array in outputs.values()] == [(rows, 10)]
    np.savez(tmp_path / "in.npz", x=np.ones((3, 24), np.float32))
    assert tvmc("run", open_package, "-i", tmp_path / "in.npz", "--profile").code == 0


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ("N=10", "--sizes N=10: this package takes 1 to 9"),
        ("M=2", "unknown open dimension 'M'; valid: N"),
    ],
)
def test_sizes_that_there_are_not(tvmc, open_package, sizes, message):
    result = tvmc("run", open_package, "--sizes", sizes)
    assert result.code == 1 and message in result.err


def test_sizes_of_a_package_without_open_dimensions(tvmc, package_path):
    result = tvmc("run", package_path, "--sizes", "N=2")
    assert (
        result.err
        == "tvmc: error: --sizes has no effect: the package has no open dimension 'N', nor another\n"
    )


def test_inspect_shows_ranges(tvmc, open_package):
    result = tvmc("inspect", open_package)
    lines = [line.split() for line in result.out.splitlines()]
    assert ["open", "dimensions", "N", "1..9"] in lines
    assert ["x", "[N,24]", "float32"] in lines
