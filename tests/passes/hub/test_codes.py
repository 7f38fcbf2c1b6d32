"""Compressed weights in NumPy: streams of bits, groups, codebooks; and the kernels, which equal them exactly."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax

from tvmq.errors import TvmqError
from tvmq.passes.hub.codes import from_stream, to_stream
from tvmq.passes.hub.compressed import compressed
from tvmq.passes.weight_only.codebook import codebook
from tvmq.passes.weight_only.emit import emit
from tvmq.passes.weight_only.group import grouped
from tvmq.passes.weight_only.restore import RestoreWeights

from ..modules import operators, random

ROWS = np.array([[1.0, -3.0, 2.0, 0.5, -7.0], [0.0, 0.0, 14.0, 2.0, 2.0]], np.float32)


def test_codes_lie_behind_one_another_from_the_lowest_bit():
    stream = to_stream(np.array([0b001, 0b010, 0b111], np.uint16), 3)
    assert stream.tolist() == [0b11010001, 0b1]


@pytest.mark.parametrize("bits", range(1, 17))
def test_a_stream_read_back(bits):
    codes = np.random.default_rng(0).integers(0, 2**bits, (5, 7)).astype(np.uint16)
    stream = to_stream(codes, bits)
    assert stream.nbytes == -(-35 * bits // 8)
    np.testing.assert_array_equal(from_stream(np.append(stream, np.uint8(255)), bits, (5, 7)), codes)


def test_one_scale_a_channel():
    found = grouped(ROWS, 0, 4, observer="minmax")
    assert found.table.tolist() == [[1.0], [2.0]]
    assert found.integers.tolist() == [[1, -3, 2, 0, -7], [0, 0, 7, 1, 1]]  # a half goes to the even one
    assert found.values().tolist() == [[1, -3, 2, 0, -7], [0, 0, 14, 2, 2]]


def test_the_last_group_may_be_short():
    found = grouped(ROWS, 0, 4, 3, observer="minmax")
    np.testing.assert_array_equal(found.table, np.float32([[3 / 7, 1], [2, 2 / 7]]))
    assert found.integers[:, 3:].tolist() == [[0, -7], [7, 7]]


def test_a_group_larger_than_the_channels_is_all_of_them():
    assert grouped(ROWS, 0, 4, 99).table.shape == (2, 1)


def test_groups_of_a_matrix_run_along_its_rows():
    by_rows, by_columns = grouped(ROWS, 0, 5, 2), grouped(np.ascontiguousarray(ROWS.T), 1, 5, 2)
    np.testing.assert_array_equal(by_columns.values(), by_rows.values().T)
    assert by_columns.table.shape == (3, 2)


def test_one_scale_for_all():
    found = grouped(ROWS, 0, 4, per_channel=False, observer="minmax")
    assert found.table.tolist() == [[2.0]]


def test_one_bit_is_the_sign_and_the_mean_magnitude():
    found = grouped(ROWS, 0, 1)
    np.testing.assert_allclose(found.values(), [[2.7, -2.7, 2.7, 2.7, -2.7], [3.6] * 5], rtol=1e-6)


@pytest.mark.parametrize("bits", range(2, 16))
def test_each_bit_makes_the_error_smaller(bits):
    weight = random(8, 64)
    fewer, more = (np.abs(grouped(weight, 0, count).values() - weight).max() for count in (bits, bits + 1))
    assert more < 0.7 * fewer


def test_scales_as_powers_of_two():
    scales = grouped(ROWS, 0, 4, power_of_two=True, observer="minmax").table
    assert scales.tolist() == [[1.0], [2.0]]
    assert grouped(3 * ROWS, 0, 4, power_of_two=True, observer="minmax").table.tolist() == [[4.0], [8.0]]


def test_a_codebook_of_as_many_values_as_there_are_is_exact():
    weight = np.random.default_rng(0).choice([-3.0, -0.25, 0.5, 8.0], (40, 30)).astype(np.float32)
    found = codebook(weight, 0, 2, "fc", per_channel=False)
    assert (found.table * found.scales).tolist() == [[-3.0, -0.25, 0.5, 8.0]]
    np.testing.assert_array_equal(found.values(), weight)


@pytest.mark.parametrize(("bits", "least"), [(1, 0.3634), (2, 0.1175), (3, 0.03454), (4, 0.009497)])
def test_a_codebook_of_normal_weights_is_as_good_as_the_best(bits, least):
    """``least``: the mean squared error of the best quantizer of the normal distribution (Max, 1960)."""
    weight = random(500, 400)
    found = codebook(weight, 0, bits, "fc", per_channel=False)
    assert np.square(found.values() - weight).mean() < 1.02 * least


@pytest.mark.parametrize("axis", [0, 1])
def test_a_codebook_has_a_scale_an_output_channel(axis):
    """Channels that differ a hundredfold are compressed as if they did not."""
    weight = random(64, 48)
    scales = np.logspace(-1, 1, weight.shape[axis], dtype=np.float32)
    scales = np.expand_dims(scales, 1 - axis)
    found = codebook(weight * scales, axis, 4, "fc")
    assert found.scales.shape == scales.shape
    alike = codebook(weight, axis, 4, "fc")
    np.testing.assert_allclose(found.values(), alike.values() * scales, rtol=1e-5)
    one = codebook(weight * scales, axis, 4, "fc", per_channel=False)
    assert one.scales.shape == (1, 1)
    assert np.abs(one.values() / scales - weight).mean() > 3 * np.abs(alike.values() - weight).mean()


def test_a_codebook_of_more_entries_than_weights():
    message = "^layer 'fc': a codebook of 16 entries is more than its 12 weights; give the layer fewer bits"
    with pytest.raises(TvmqError, match=message):
        codebook(random(4, 3), 0, 4, "fc")
    assert codebook(random(4, 4), 0, 4, "fc").table.size == 16


def test_equal_weights_need_one_entry():
    weight = np.full((4, 4), 1.5, np.float32)
    np.testing.assert_array_equal(codebook(weight, 0, 2, "fc").values(), weight)


def test_a_codebook_of_zeros():
    found = codebook(np.zeros((4, 4), np.float32), 0, 2, "fc")
    np.testing.assert_array_equal(found.values(), np.zeros((4, 4)))


WEIGHT = random(6, 7, 3, 3)


@pytest.fixture(scope="module")
def unpacked():
    """All kinds of compressed weights, and the module that unpacks them."""
    kinds = [grouped(WEIGHT, 0, bits, size) for bits in range(1, 17) for size in (None, 3)]
    kinds += [grouped(WEIGHT, 0, 4, 3, per_channel=False), grouped(WEIGHT, 1, 3, 4), grouped(WEIGHT, 0, 5, 1)]
    kinds += [codebook(WEIGHT, 0, bits, "conv") for bits in (1, 3, 4, 8)]
    kinds += [codebook(WEIGHT, 1, 5, "conv"), codebook(WEIGHT, 0, 2, "conv", per_channel=False)]
    builder = relax.BlockBuilder()
    with builder.function("main", []):
        with builder.dataflow():
            result = builder.emit_output(relax.Tuple([emit(builder, kind, "conv") for kind in kinds]))
        builder.emit_func_output(result)
    return kinds, builder.get()


def test_kernels_equal_the_reference(unpacked):
    kinds, mod = unpacked
    results = relax.VirtualMachine(tvm.compile(mod, "llvm"), tvm.cpu())["main"]()
    for kind, result in zip(kinds, results, strict=True):
        np.testing.assert_array_equal(result.numpy(), kind.values())


def test_read_from_a_module(unpacked):
    kinds, mod = unpacked
    for kind, read in zip(kinds, compressed(mod).values(), strict=True):
        assert type(read) is type(kind) and read.bits == kind.bits
        np.testing.assert_array_equal(read.codes, kind.codes)
        np.testing.assert_array_equal(read.values(), kind.values())


def test_restored_as_constants(unpacked):
    kinds, mod = unpacked
    restored = RestoreWeights()(mod)
    assert operators(restored) == []
    assert compressed(restored) == {}
