"""What is counted for a launch."""

from __future__ import annotations

import numpy as np
import pytest

from . import counted
from .direct import kernel, launch

T = "((int)threadIdx.x)"
SHARED = (
    "extern __shared__ __align__(64) unsigned char s[];\n alignas(64) unsigned v[4] = {0, 0, 0, 0}, w[4];\n"
)


def count(body: str, block: int = 32, grid: int = 1) -> dict:
    with counted() as launches:
        launch(kernel("unsigned char* x", SHARED + body), [np.zeros(8192, np.uint8)], grid, block, 8192)
    (only,) = launches
    assert only["kernel"] == "k"
    return only


def test_instructions_are_those_of_warps():
    body = f"""
  int d[4] = {{0}};
  for (int i = 0; i < 5; ++i) tvmq_mma_s8s8((&(d[0])), (&(v[0])), (&(w[0])));
  for (int i = 0; i < 3; ++i) d[0] = tvmq_dp4a_s8s8((&(v[0])), (&(v[1])), d[0]);
  tvmq_barrier();
  tvmq_copy_async_16((&(s[{T} * 16])), (&(x[{T} * 16])));
  tvmq_copy_commit();
  tvmq_copy_wait(0);
  tvmq_store_4((&(x[{T} * 4])), (&(d[0])));"""
    expected = {
        "mma_s8s8": 5,
        "dp4a": 3,
        "barrier": 1,
        "copy_async": 1,
        "copy_commit": 1,
        "copy_wait": 1,
        "store": 1,
    }
    assert count(body)["instructions"] == expected
    twice = count(body, block=64, grid=3)["instructions"]
    assert twice == {name: 6 * number for name, number in expected.items()}


@pytest.mark.parametrize(("stride", "wavefronts"), [(4, 1), (8, 2), (16, 4), (128, 32), (132, 1)])
def test_bank_conflicts(stride: int, wavefronts: int):
    counts = count(f"tvmq_shared_store_4((&(s[{T} * {stride}])), (&(v[0])));")
    assert counts["wavefronts"] == {"shared_store": wavefronts}
    assert counts["conflicts"] == ({"shared_store": wavefronts - 1} if wavefronts > 1 else {})


def test_lanes_that_read_one_word_share_it():
    store = f"tvmq_shared_store_4((&(s[{T} * 4])), (&(v[0])));"
    body = f"{store} tvmq_warp_barrier(); tvmq_shared_load_4((&(w[0])), (&(s[64])));"
    assert count(body)["wavefronts"] == {"shared_store": 1, "shared_load": 1}


def test_vectors_are_served_in_parts_of_a_warp():
    assert count(f"tvmq_shared_store_16((&(s[{T} * 16])), (&(v[0])));")["wavefronts"] == {"shared_store": 4}
    assert count(f"tvmq_shared_store_8((&(s[{T} * 8])), (&(v[0])));")["wavefronts"] == {"shared_store": 2}


@pytest.mark.parametrize(("stride", "wavefronts"), [(16, 4), (64, 16), (80, 4), (128, 32)])
def test_rows_of_ldmatrix(stride: int, wavefronts: int):
    body = f"""
  for (int i = 0; i < 4; ++i) tvmq_shared_store_4((&(s[{T} * {stride} + 4 * i])), (&(v[0])));
  tvmq_barrier();
  tvmq_ldmatrix_x4((&(w[0])), (&(s[{T} * {stride}])));"""
    assert count(body)["wavefronts"]["ldmatrix_x4"] == wavefronts


@pytest.mark.parametrize(("size", "stride", "sectors"), [(4, 4, 4), (16, 16, 16), (4, 32, 32), (1, 1, 1)])
def test_sectors(size: int, stride: int, sectors: int):
    counts = count(f"tvmq_load_{size}((&(v[0])), (&(x[{T} * {stride}])));")
    assert counts["sectors"] == {"load": sectors}


def test_nothing_is_counted_outside_of_the_block():
    with counted() as launches:
        pass
    launch(kernel("unsigned char* x", ""), [np.zeros(1, np.uint8)])
    assert launches == []
