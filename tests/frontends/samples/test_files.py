"""Calibration data in arrays: what each form gives, streaming, and every kind of bad file."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from tvmq.errors import TvmqError
from tvmq.frontends.samples.files import read_samples

from ..sample_arrays import SPECS, assert_samples, random_array


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_keeps_the_batch_axis(tmp_path, save):
    x = random_array(7, 3, 4, 5)
    save(tmp_path / "s.npz", x=x)
    assert_samples(read_samples(tmp_path / "s.npz", SPECS), [{"x": x[i : i + 1]} for i in range(7)])


def test_limit_takes_the_first(tmp_path):
    x = random_array(7, 3, 4, 5)
    np.savez(tmp_path / "s.npz", x=x)
    samples = read_samples(tmp_path / "s.npz", SPECS, limit=2)
    assert_samples(samples, [{"x": x[:1]}, {"x": x[1:2]}])
    assert samples.notes == read_samples(tmp_path / "s.npz", SPECS, limit=7).notes == []
    samples = read_samples(tmp_path / "s.npz", SPECS, limit=70)
    assert len(samples) == 7
    assert samples.notes == ["calibration data: 70 samples were asked for, and there are 7"]


def test_batches_drop_the_remainder_with_a_note(tmp_path):
    x = random_array(7, 3)
    np.savez(tmp_path / "s.npz", x=x)
    samples = read_samples(tmp_path / "s.npz", {"x": ((2, 3), "float32")})
    assert_samples(samples, [{"x": x[0:2]}, {"x": x[2:4]}, {"x": x[4:6]}])
    assert samples.notes == [f"{tmp_path}/s.npz: left out the last 1 rows of 'x', which fill no batch of 2"]


def test_stacks_of_whole_samples(tmp_path):
    x = random_array(3, 2, 4)
    np.savez(tmp_path / "s.npz", x=x)
    assert_samples(read_samples(tmp_path / "s.npz", {"x": ((2, 4), "float32")}), [{"x": row} for row in x])


def test_several_inputs_of_several_ranks(tmp_path):
    specs = {"ids": ((1, 6), "int64"), "in/mask:0": ((1, 6), "bool"), "scalar": ((), "float32")}
    ids = np.arange(18).reshape(3, 6)
    mask = ids % 2 == 0
    scalar = random_array(3)
    np.savez(
        tmp_path / "s.npz", **{"ids": ids.astype(np.int32), "in/mask:0": mask, "scalar": scalar, "y": ids}
    )
    samples = read_samples(tmp_path / "s.npz", specs)
    expected = [
        {"ids": ids[i : i + 1], "in/mask:0": mask[i : i + 1], "scalar": np.asarray(scalar[i])}
        for i in range(3)
    ]
    assert_samples(samples, expected)
    assert samples.notes == [f"{tmp_path}/s.npz: left out the arrays 'y', which are no inputs"]


@pytest.mark.parametrize("dtype", ["float64", "float16", ">f4"])
def test_floats_are_converted(tmp_path, dtype):
    x = random_array(2, 3, 4, 5).astype(dtype)
    np.savez(tmp_path / "s.npz", x=x)
    expected = x.astype(np.float32)
    assert_samples(read_samples(tmp_path / "s.npz", SPECS), [{"x": expected[:1]}, {"x": expected[1:]}])


def test_fortran_order(tmp_path):
    x = random_array(3, 3, 4, 5)
    np.savez(tmp_path / "s.npz", x=np.asfortranarray(x))
    assert_samples(read_samples(tmp_path / "s.npz", SPECS), [{"x": x[i : i + 1]} for i in range(3)])


def test_folder_of_npy_in_order_of_names(tmp_path):
    x = random_array(4, 3, 4, 5)
    np.save(tmp_path / "b.npy", x[1:3])
    np.save(tmp_path / "a.npy", x[0])
    np.save(tmp_path / "c.npy", np.asfortranarray(x[3]))
    np.save(tmp_path / ".hidden.npy", x[0, 0])
    (tmp_path / "readme.txt").write_text("not data")
    assert_samples(read_samples(tmp_path, SPECS), [{"x": x[i : i + 1]} for i in range(4)])


def test_folder_of_npz(tmp_path):
    x = random_array(2, 3, 4, 5)
    for index in range(2):
        np.savez(tmp_path / f"{index} of 2.npz", x=x[index : index + 1])
    assert_samples(read_samples(tmp_path, SPECS), [{"x": x[:1]}, {"x": x[1:]}])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_memory_holds_one_sample(tmp_path, save):
    """32 MB of samples pass through with a peak of a few samples, 1 MB each."""
    save(tmp_path / "s.npz", x=np.zeros((32, 512, 512), np.float32))
    tracemalloc.start()
    total = sum(1 for _ in read_samples(tmp_path / "s.npz", {"x": ((1, 512, 512), "float32")}))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 32
    assert peak < 8 << 20


# ------------------------------------------------------------------ bad arrays


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": random_array(2, 3, 4, 5)}, "lacks the model's input 'x'; it has 'y'"),
        ({"x": random_array(2, 4, 5, 3)}, r"array 'x' has the shape \[2, 4, 5, 3\], expected \[N,3,4,5\]"),
        ({"x": random_array(3, 4, 5)}, r"has the shape \[3, 4, 5\], expected \[N,3,4,5\]"),
        ({"x": np.float32(1)}, r"has the shape \[\], expected"),
        ({"x": np.zeros((2, 3, 4, 5), np.uint8)}, "has the dtype uint8, expected float32"),
        ({"x": np.zeros((2, 3, 4, 5), np.complex64)}, "has the dtype complex64, expected float32"),
        ({"x": np.zeros((0, 3, 4, 5), np.float32)}, r"is empty: it has the shape \[0, 3, 4, 5\]"),
        ({"x": np.array([None, 1], object)}, "holds object, and numbers were expected"),
        ({"x": np.array(["a"])}, "has the shape"),
        ({}, "lacks the model's input 'x'; it has no arrays"),
    ],
)
def test_bad_arrays_are_named_before_any_sample(tmp_path, arrays, message):
    np.savez(tmp_path / "s.npz", **arrays)
    with pytest.raises(TvmqError, match=message):
        read_samples(tmp_path / "s.npz", SPECS)


@pytest.mark.parametrize(("value", "shown"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_values_that_are_not_finite_are_located(tmp_path, value, shown):
    x = random_array(3, 3, 4, 5)
    x[1, 2, 3, 4] = value
    np.savez(tmp_path / "s.npz", x=x)
    samples = iter(read_samples(tmp_path / "s.npz", SPECS))
    np.testing.assert_array_equal(next(samples)["x"], x[:1])
    with pytest.raises(TvmqError, match=rf"s.npz: array 'x': sample 1 has {shown} at \[0, 2, 3, 4\]"):
        next(samples)


def test_a_double_too_large_for_float32(tmp_path):
    np.savez(tmp_path / "s.npz", x=np.full((1, 3, 4, 5), 1e300))
    with pytest.raises(TvmqError, match=r"has 1e\+300 at \[0, 0, 0, 0\], expected finite float32 values"):
        list(read_samples(tmp_path / "s.npz", SPECS))


def test_an_integer_that_does_not_fit(tmp_path):
    np.savez(tmp_path / "s.npz", x=np.array([[1, 300]]))
    with pytest.raises(TvmqError, match=r"has 300 at \[0, 1\], expected finite int8 values"):
        list(read_samples(tmp_path / "s.npz", {"x": ((1, 2), "int8")}))


def test_inputs_must_have_as_many_samples(tmp_path):
    np.savez(tmp_path / "s.npz", a=random_array(3, 2), b=random_array(4, 2))
    specs = {"a": ((1, 2), "float32"), "b": ((1, 2), "float32")}
    with pytest.raises(TvmqError, match=r"differ in their number of samples: {'a': 3, 'b': 4}"):
        read_samples(tmp_path / "s.npz", specs)


def test_fewer_rows_than_a_batch(tmp_path):
    np.savez(tmp_path / "s.npz", x=random_array(3, 2))
    with pytest.raises(TvmqError, match="has 3 rows, fewer than the model's batch of 8"):
        read_samples(tmp_path / "s.npz", {"x": ((8, 2), "float32")})


def test_a_single_array_cannot_feed_two_inputs(tmp_path):
    np.save(tmp_path / "s.npy", random_array(3, 2))
    specs = {"a": ((1, 2), "float32"), "b": ((1, 2), "float32")}
    with pytest.raises(TvmqError, match="the model has the inputs 'a', 'b'; use .npz files"):
        read_samples(tmp_path / "s.npy", specs)


def test_files_that_are_no_arrays(tmp_path):
    (tmp_path / "s.npz").write_bytes(b"PK but no zip")
    with pytest.raises(TvmqError, match="s.npz is not a readable .npz file"):
        read_samples(tmp_path / "s.npz", SPECS)
    np.save(tmp_path / "s.npy", random_array(3, 2))
    content = (tmp_path / "s.npy").read_bytes()
    for old, new, message in (
        (b"'<f4'", b"f(4,)", "its header is damaged"),
        (b"(3, 2)", b"(-3,2)", r"it has the shape \[-3, 2\]"),
        (b"NUMPY\x01", b"NUMPY\x09", r"format version \(9, 0\) is not supported"),
    ):
        assert old in content
        (tmp_path / "s.npy").write_bytes(content.replace(old, new))
        with pytest.raises(TvmqError, match=f"s.npy is not a NumPy array: {message}"):
            read_samples(tmp_path / "s.npy", SPECS)
    (tmp_path / "s.npy").write_bytes(b"")
    with pytest.raises(TvmqError, match="s.npy is not a NumPy array"):
        read_samples(tmp_path / "s.npy", SPECS)
    (tmp_path / "s.csv").write_text("1,2")
    with pytest.raises(TvmqError, match="is no .npz, .npy, .txt or folder"):
        read_samples(tmp_path / "s.csv", SPECS)


def test_a_truncated_array(tmp_path):
    np.save(tmp_path / "s.npy", random_array(3, 3, 4, 5))
    whole = (tmp_path / "s.npy").read_bytes()
    (tmp_path / "s.npy").write_bytes(whole[:-8])
    with pytest.raises(TvmqError, match="s.npy is cut short: 8 bytes are missing"):
        list(read_samples(tmp_path / "s.npy", SPECS))


def test_a_large_array_in_fortran_order(tmp_path):
    with open(tmp_path / "s.npy", "wb") as file:
        header = {"descr": "<f4", "fortran_order": True, "shape": (2**40, 3, 4, 5)}
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(TvmqError, match="GiB in Fortran order, all of which must be held at once"):
        next(iter(read_samples(tmp_path / "s.npy", SPECS)))


def test_a_corrupt_member(tmp_path):
    np.savez(tmp_path / "s.npz", x=random_array(3, 3, 4, 5))
    data = bytearray((tmp_path / "s.npz").read_bytes())
    data[400] ^= 0xFF
    (tmp_path / "s.npz").write_bytes(data)
    with pytest.raises(TvmqError, match="s.npz is not a readable .npz file: Bad CRC-32"):
        list(read_samples(tmp_path / "s.npz", SPECS))


def test_nothing_there(tmp_path):
    with pytest.raises(TvmqError, match="missing.npz' does not exist"):
        read_samples(tmp_path / "missing.npz", SPECS)
    with pytest.raises(TvmqError, match="is empty: no .npy, .npz or image files"):
        read_samples(tmp_path, SPECS)
    with pytest.raises(TvmqError, match="must be positive, got 0"):
        read_samples(tmp_path, SPECS, limit=0)
