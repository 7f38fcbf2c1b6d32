"""Functions of device.cuh that are arithmetic alone, compiled for this machine: they do what the emulated ones do."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tvmq.targets import cuda

HEADER = Path(cuda.__file__).with_name("device.cuh")
NAMES = ("tvmq_unpack_s4", "tvmq_unpack_s2", "tvmq_pack_u4", "tvmq_transpose_4")
NAMES += ("tvmq_floats_u8", "tvmq_floats_u4", "tvmq_floats_u2")
# Of the CUDA manual: each of the result's bytes is the one of eight that four bits of the selector name.
BYTE_PERM = """
static unsigned __byte_perm(unsigned x, unsigned y, unsigned s) {
  unsigned long long bytes = (unsigned long long)y << 32 | x;
  unsigned out = 0;
  for (int i = 0; i < 4; ++i) out |= (unsigned)(bytes >> 8 * (s >> 4 * i & 7) & 255) << 8 * i;
  return out;
}
static float __uint_as_float(unsigned x) {
  float out;
  memcpy(&out, &x, 4);
  return out;
}
"""


@pytest.fixture(scope="module")
def device(tmp_path_factory) -> ctypes.CDLL:
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    text = HEADER.read_text()
    functions = [re.search(rf"TVMQ_DEVICE void {name}\(.*?\n}}\n", text, re.DOTALL)[0] for name in NAMES]
    folder = tmp_path_factory.mktemp("device")
    source = folder / "device.cc"
    source.write_text(
        '#include <string.h>\n#define TVMQ_DEVICE extern "C"\n' + BYTE_PERM + "\n".join(functions)
    )
    subprocess.run(["g++", "-O1", "-shared", "-fPIC", "-o", folder / "device.so", source], check=True)
    return ctypes.CDLL(str(folder / "device.so"))


def pointer(array: np.ndarray, offset: int = 0) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data + offset)


@pytest.mark.parametrize("bits", [4, 2])
@pytest.mark.parametrize("distance", [4, 16])
def test_unpack(device, bits, distance):
    words = np.arange(256, dtype=np.uint8).reshape(-1, 4)
    planes = 8 // bits
    for word in words:
        out = np.zeros(64, np.int8)
        getattr(device, f"tvmq_unpack_s{bits}")(pointer(out), pointer(word), distance)
        for plane in range(planes):
            codes = word >> (bits * plane) & (2**bits - 1)
            expected = codes.astype(np.int8) - 2 ** (bits - 1)
            np.testing.assert_array_equal(out[plane * distance : plane * distance + 4], expected)


def test_pack(device):
    rng = np.random.default_rng(0)
    low, high = rng.integers(0, 16, (2, 4)).astype(np.uint8)
    out = np.zeros(4, np.uint8)
    device.tvmq_pack_u4(pointer(out), pointer(low), pointer(high))
    np.testing.assert_array_equal(out, low | high << 4)


def test_transpose(device):
    words = np.arange(16, dtype=np.uint8).reshape(4, 4)
    out = np.zeros((4, 4), np.uint8)
    device.tvmq_transpose_4(pointer(out), *(pointer(words, 4 * i) for i in range(4)))
    np.testing.assert_array_equal(out, words.T)


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_floats(device, bits):
    for word in np.arange(256, dtype=np.uint8).reshape(-1, 4):
        for plane in range(8 // bits):
            out = np.zeros(4, np.float32)
            getattr(device, f"tvmq_floats_u{bits}")(pointer(out), pointer(word), plane)
            codes = (word >> (bits * plane) & (2**bits - 1)).astype(np.float32)
            np.testing.assert_array_equal(out, codes - 128 if bits == 8 else (2**bits + codes) / 2)
