"""The other functions of device.cuh, on the emulated GPU."""

from __future__ import annotations

import numpy as np
import pytest

from .direct import kernel, launch

T = "((int)threadIdx.x)"


@pytest.mark.parametrize("types", ["u8s8", "s8u8", "s8s8", "u8u8"])
def test_dp4a(types: str):
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 256, (32, 4)).astype(np.uint8) for _ in "ab")
    c = rng.integers(-(2**31), 2**31, 32).astype(np.int32)
    views = [{"u8": np.uint8, "s8": np.int8}[types[i : i + 2]] for i in (0, 2)]
    with np.errstate(over="ignore"):
        dots = (a.view(views[0]).astype(np.int64) * b.view(views[1])).sum(1).astype(np.int32)
        expected = c + dots
    launch(
        kernel("int* a, int* b, int* c", f"c[{T}] = tvmq_dp4a_{types}((&(a[{T}])), (&(b[{T}])), c[{T}]);"),
        [a, b, c],
    )
    np.testing.assert_array_equal(c, expected)


def test_round_to_int():
    values = np.array(
        [0.5, 1.5, 2.5, -0.5, -1.5, 2e9, 3e9, -3e9, np.nan, np.inf, -np.inf, 1.4999999], np.float32
    )
    out = np.zeros(12, np.int32)
    launch(kernel("float* x, int* y", f"y[{T}] = tvmq_round_to_int(x[{T}]);"), [values, out], block=12)
    top = 2**31 - 1
    np.testing.assert_array_equal(out, [0, 2, 2, 0, -2, 2_000_000_000, top, -top - 1, 0, top, -top - 1, 1])


def test_popcount():
    values = np.array([0, 1, 0xFFFFFFFF, 0x80000001], np.uint32)
    out = np.zeros(4, np.int32)
    launch(kernel("unsigned* x, int* y", f"y[{T}] = tvmq_popcount(x[{T}]);"), [values, out], block=4)
    np.testing.assert_array_equal(out, [0, 1, 32, 2])


@pytest.mark.parametrize("plane", range(8))
def test_unpacking_of_bits(plane: int):
    words = np.random.default_rng(0).integers(0, 256, (32, 4)).astype(np.uint8)
    out = np.zeros((32, 4), np.int8)
    call = f"tvmq_unpack_b1((&(y[{T}])), (&(x[{T}])), {plane});"
    launch(kernel("unsigned* x, unsigned* y", call), [words, out])
    np.testing.assert_array_equal(out, np.where(words >> plane & 1, -64, 64))


def test_counts_of_unlike_bits():
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 256, (32, 16)).astype(np.uint8) for _ in "ab")
    c = rng.integers(-1000, 1000, 32).astype(np.int32)
    expected = c + np.unpackbits(a ^ b, axis=1).sum(1)
    call = f"c[{T}] = tvmq_unlike_16((&(a[4 * {T}])), (&(b[4 * {T}])), c[{T}]);"
    launch(kernel("unsigned* a, unsigned* b, int* c", call), [a, b, c])
    np.testing.assert_array_equal(c, expected)


@pytest.mark.parametrize("size", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("load", ["load", "load_const"])
def test_vectors_of_global_and_shared_memory(size: int, load: str):
    """Each thread loads a vector, hands it to the thread opposite through shared memory, and stores what it gets."""
    source = np.random.default_rng(size).integers(0, 256, (64, size)).astype(np.uint8)
    out = np.zeros_like(source)
    body = f"""
  extern __shared__ __align__(64) unsigned char s[];
  alignas(64) unsigned char v[{size}], w[{size}];
  tvmq_{load}_{size}((&(v[0])), (&(x[{T} * {size}])));
  tvmq_shared_store_{size}((&(s[{T} * {size}])), (&(v[0])));
  tvmq_barrier();
  tvmq_shared_load_{size}((&(w[0])), (&(s[(63 - {T}) * {size}])));
  tvmq_store_{size}((&(y[{T} * {size}])), (&(w[0])));"""
    launch(kernel("unsigned char* x, unsigned char* y", body), [source, out], block=64, shared=64 * size)
    np.testing.assert_array_equal(out, source[::-1])


@pytest.mark.parametrize("capability", ["7.5", "8.0"])
@pytest.mark.parametrize("size", [4, 8, 16])
def test_asynchronous_copies_in_stages(size: int, capability: str, monkeypatch: pytest.MonkeyPatch):
    """Three stages in flight; a stage is read behind its wait and a barrier."""
    monkeypatch.setenv("TVMQ_EMULATED_GPU_CAPABILITY", capability)
    source = np.random.default_rng(size).integers(0, 256, (8, 64, size)).astype(np.uint8)
    out = np.zeros_like(source)
    row = 64 * size
    body = f"""
  extern __shared__ __align__(64) unsigned char s[];
  for (int i = 0; i < 2; ++i) {{
    tvmq_copy_async_{size}((&(s[i * {row} + {T} * {size}])), (&(x[i * {row} + {T} * {size}])));
    tvmq_copy_commit();
  }}
  for (int i = 0; i < 8; ++i) {{
    tvmq_copy_wait(1);
    tvmq_barrier();
    int next = (i + 2) % 3 * {row} + {T} * {size};
    if (i < 6) tvmq_copy_async_{size}((&(s[next])), (&(x[(i + 2) * {row} + {T} * {size}])));
    tvmq_copy_commit();
    for (int j = 0; j < {size}; ++j) y[i * {row} + {T} * {size} + j] = s[i % 3 * {row} + (63 - {T}) * {size} + j];
  }}"""
    launch(kernel("unsigned char* x, unsigned char* y", body), [source, out], block=64, shared=3 * row)
    np.testing.assert_array_equal(out, source[:, ::-1])


@pytest.mark.parametrize(("dtype", "name", "kind"), [(np.float32, "float", "f32"), (np.int32, "int", "s32")])
def test_shuffles(dtype: type, name: str, kind: str):
    values = np.arange(32).astype(dtype) * 3
    out = np.zeros((3, 32), dtype)
    body = f"""
  y[{T}] = tvmq_shuffle_xor_{kind}(x[{T}], 5);
  y[32 + {T}] = tvmq_shuffle_down_{kind}(x[{T}], 7);
  y[64 + {T}] = tvmq_shuffle_{kind}(x[{T}], (3 * {T}) & 31);"""
    launch(kernel(f"{name}* x, {name}* y", body), [values, out])
    lanes = np.arange(32)
    np.testing.assert_array_equal(out[0], values[lanes ^ 5])
    np.testing.assert_array_equal(out[1], values[np.where(lanes + 7 < 32, lanes + 7, lanes)])
    np.testing.assert_array_equal(out[2], values[3 * lanes % 32])


def test_atomic_add():
    total, before = np.array([5], np.int32), np.zeros(64, np.int32)
    launch(
        kernel("int* x, int* y", f"y[{T} + 32 * blockIdx.x] = tvmq_atomic_add_s32(x, 2);"),
        [total, before],
        grid=2,
    )
    assert total[0] == 5 + 2 * 64
    np.testing.assert_array_equal(np.sort(before), 5 + 2 * np.arange(64))


def test_indices_of_threads_and_blocks():
    out = np.zeros((2, 3, 2, 4, 5), np.int32)  # grid (2, 3) turned round, block (5, 4, 2)
    body = """
  int block = blockIdx.y * gridDim.x + blockIdx.x;
  int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  x[block * 40 + thread] = block * 40 + thread;"""
    launch(kernel("int* x", body), [out], grid=(3, 2), block=(5, 4, 2))
    np.testing.assert_array_equal(out.ravel(), np.arange(240))


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_floats_of_codes(bits: int):
    words, out = np.arange(128, dtype=np.uint8) * 2 + 1, np.zeros((32, 4), np.float32)
    for plane in range(8 // bits):
        launch(
            kernel(
                "unsigned char* x, float* y",
                f"""
  alignas(16) unsigned char w[4]; alignas(16) float v[4];
  tvmq_load_4((&(w[0])), (&(x[{T} * 4])));
  tvmq_floats_u{bits}((&(v[0])), (&(w[0])), {plane});
  tvmq_store_16((&(y[{T} * 4])), (&(v[0])));""",
            ),
            [words, out],
        )
        codes = (words >> (bits * plane) & (2**bits - 1)).astype(np.float32).reshape(32, 4)
        np.testing.assert_array_equal(out, codes - 128 if bits == 8 else (2**bits + codes) / 2)
