"""What is wrong in a kernel ends its launch with an error that says where; the right twin of the kernel runs."""

from __future__ import annotations

import re

import numpy as np
import pytest

from .direct import CudaError, kernel, launch

T = "((int)threadIdx.x)"
SHARED = """
extern __shared__ __align__(64) unsigned char s[];
alignas(64) unsigned v[4] = {0, 0, 0, 0}, w[4] = {0, 0, 0, 0};
"""
FULL = f"tvmq_shared_store_4((&(s[{T} * 4])), (&(v[0])));"  # each thread writes its word
OTHER = f"tvmq_shared_load_4((&(w[0])), (&(s[(63 - {T}) * 4])));"  # and reads that of the other warp
NEXT = f"tvmq_shared_load_4((&(w[0])), (&(s[({T} ^ 1) * 4])));"  # or of its neighbour
COPY = f"tvmq_copy_async_4((&(s[{T} * 4])), (&(x[{T} * 4])));"
MATRIX = f"tvmq_ldmatrix_x1((&(w[0])), (&(s[({T} & 7) * 16])));"
MMA = "int d[4] = {0}; tvmq_mma_s8s8((&(d[0])), (&(v[0])), (&(w[0])));"
ROW = f"for (int i = 0; i < 4; ++i) tvmq_shared_store_4((&(s[({T} & 31) * 16 + 4 * i])), (&(v[0])));"


def run(body: str, shared: int = 1024, block: int = 64, grid: int = 1, threads: int = 1024) -> None:
    """The body with shared memory `s`, arrays `v` and `w` of 4 words, and 1024 bytes `x` of global memory."""
    launch(
        kernel("unsigned char* x", SHARED + body, threads), [np.zeros(1024, np.uint8)], grid, block, shared
    )


# wrong body, what the error says, right body
CASES = {
    "nobody wrote": (
        f"tvmq_shared_load_4((&(w[0])), (&(s[{T} * 4])));",
        r"kernel k, block \(0,0,0\): thread 0 \(0,0,0\) reads byte 0 of shared memory, which nobody wrote",
        f"{FULL} tvmq_shared_load_4((&(w[0])), (&(s[{T} * 4])));",
    ),
    "nobody wrote a plain element": (
        f"x[{T}] = s[{T}];",
        "thread 0 .* reads byte 0 of shared memory, which nobody wrote",
        f"s[{T}] = 1; x[{T}] = s[{T}];",
    ),
    "read without a barrier": (
        f"{FULL} {OTHER}",
        "thread 32 .* reads byte 124 of shared memory, which thread 31 wrote without a barrier"
        "|thread 0 .* reads byte 252 of shared memory, which nobody wrote",
        f"{FULL} tvmq_barrier(); {OTHER}",
    ),
    "a warp barrier is none between warps": (
        f"{FULL} tvmq_barrier(); {FULL} tvmq_warp_barrier(); {OTHER}",
        "writes byte 128 of shared memory, which thread 31 read|reads byte 124 of shared memory, which thread 31 wrote",
        f"{FULL} tvmq_warp_barrier(); {NEXT}",
    ),
    "read in a warp without a barrier": (
        f"{FULL} tvmq_warp_barrier(); if ({T} & 1) {{{NEXT}}} else {{{FULL}}}",
        r"thread 1 .* reads byte 0 of shared memory, which thread 0 wrote without a barrier between",
        f"{FULL} tvmq_warp_barrier(); {NEXT}",
    ),
    "write without a barrier": (
        f"tvmq_shared_store_4((&(s[({T} & 31) * 4])), (&(v[0])));",
        r"thread 32 \(32,0,0\) writes byte 0 of shared memory, which thread 0 wrote without a barrier between",
        f"if ({T} < 32) {FULL} tvmq_barrier(); if ({T} >= 32) tvmq_shared_store_4((&(s[({T} & 31) * 4])), (&(v[0])));",
    ),
    "write over what another read": (
        f"{FULL} tvmq_barrier(); {OTHER} {FULL}",
        r"thread 32 .* writes byte 128 of shared memory, which thread 31 read without a barrier between"
        r"|thread 32 .* reads byte 124 of shared memory, which thread 31 wrote without a barrier between",
        f"{FULL} tvmq_barrier(); {OTHER} tvmq_barrier(); {FULL}",
    ),
    "write over what warps read": (
        f"{FULL} tvmq_barrier(); tvmq_shared_load_4((&(w[0])), (&(s[0])));"
        f"if ({T} == 63) tvmq_shared_store_4((&(s[0])), (&(v[0])));",
        "thread 63 .* writes byte 0 of shared memory, which several warps read without a barrier between",
        f"{FULL} tvmq_barrier(); tvmq_shared_load_4((&(w[0])), (&(s[0]))); tvmq_barrier();"
        f"if ({T} == 63) tvmq_shared_store_4((&(s[0])), (&(v[0])));",
    ),
    "outside": (
        f"tvmq_shared_store_4((&(s[{T} * 4 + 772])), (&(v[0])));",
        r"thread 63 .* shared_store: bytes 1024 to 1027 are outside of the block's 1024 bytes of dynamic shared memory",
        f"tvmq_shared_store_4((&(s[{T} * 4 + 768])), (&(v[0])));",
    ),
    "outside, a plain element": (
        "s[1024 + blockIdx.x] = 1;",
        "bytes 1024 to 1024 are outside of the block's 1024 bytes of dynamic shared memory",
        f"if ({T} == 0) s[1023] = 1;",
    ),
    "outside of a static array's memory": (
        f"__shared__ float r[4]; if ({T} < 5) r[{T}] = 1.0f;",
        "thread 4 .* bytes 16 to 19 are outside of the block's 16 bytes of static shared memory",
        f"__shared__ float r[4]; if ({T} < 4) r[{T}] = 1.0f;",
    ),
    "misaligned in shared memory": (
        f"tvmq_shared_store_8((&(s[{T} * 12])), (&(v[0])));",
        "thread 1 .* shared_store: byte 12 of shared memory is not aligned to 8 bytes",
        f"tvmq_shared_store_8((&(s[{T} * 16])), (&(v[0])));",
    ),
    "misaligned row": (
        f"if ({T} < 32) {{{ROW}}} tvmq_barrier(); tvmq_ldmatrix_x1((&(w[0])), (&(s[({T} & 7) * 8])));",
        "thread 1 .* ldmatrix_x1: byte 8 of shared memory is not aligned to 16 bytes",
        f"if ({T} < 32) {{{ROW}}} tvmq_barrier(); {MATRIX}",
    ),
    "ldmatrix without a warp barrier": (
        f"if ({T} < 32) {{{ROW} {MATRIX}}}",
        "thread 0 .* reads byte 0 of shared memory for its warp, and wrote it without a warp barrier between",
        f"if ({T} < 32) {{{ROW} tvmq_warp_barrier(); {MATRIX}}}",
    ),
    "copy without a wait": (
        f"{COPY} tvmq_copy_commit(); tvmq_barrier(); {OTHER}",
        "thread 0 .* reads byte 252 of shared memory, to which an asynchronous copy of thread 63 is on its way",
        f"{COPY} tvmq_copy_commit(); tvmq_copy_wait(0); tvmq_barrier(); {OTHER}",
    ),
    "copy with a wait for fewer": (
        f"{COPY} tvmq_copy_commit(); tvmq_copy_wait(1); tvmq_barrier(); {OTHER}",
        "to which an asynchronous copy of thread 63 is on its way",
        f"{COPY} tvmq_copy_commit(); tvmq_copy_commit(); tvmq_copy_wait(1); tvmq_barrier(); {OTHER}",
    ),
    "copy without a commit": (
        f"{COPY} tvmq_copy_wait(0); tvmq_barrier(); {OTHER}",
        "to which an asynchronous copy of thread 63 is on its way",
        f"{COPY} tvmq_copy_commit(); tvmq_copy_wait(0); tvmq_barrier(); {OTHER}",
    ),
    "copy without a barrier": (
        f"{COPY} tvmq_copy_commit(); tvmq_copy_wait(0); {NEXT}",
        "reads byte 4 of shared memory, which nobody wrote|which thread 0 wrote without a barrier",
        f"{COPY} tvmq_copy_commit(); tvmq_copy_wait(0); tvmq_warp_barrier(); {NEXT}",
    ),
    "copy over what is still read": (
        f"{FULL} tvmq_barrier(); {OTHER} {COPY} tvmq_copy_commit(); tvmq_copy_wait(0);",
        "thread 32 .* writes byte 128 of shared memory, which thread 31 read without a barrier between"
        "|thread 32 .* reads byte 124 of shared memory, which thread 31 wrote",
        f"{FULL} tvmq_barrier(); {OTHER} tvmq_barrier(); {COPY} tvmq_copy_commit(); tvmq_copy_wait(0);",
    ),
    "copy from a misaligned address": (
        f"tvmq_copy_async_8((&(s[{T} * 8])), (&(x[{T} * 8 + 4])));",
        "thread 0 .* copy_async: address 0x[0-9a-f]+ is not aligned to 8 bytes",
        f"tvmq_copy_async_8((&(s[{T} * 8])), (&(x[{T} * 8 + 8])));",
    ),
    "copy wait that is no constant of the instruction": (
        "tvmq_copy_wait(8);",
        "copy_wait: 8 is not one of 0 to 7",
        "tvmq_copy_wait(7);",
    ),
    "global memory behind an allocation": (
        f"tvmq_load_16((&(v[0])), (&(x[{T} * 16 + 16])));",
        "thread 63 .* load of 16 bytes ends 16 bytes behind an allocation of 1024 bytes",
        f"tvmq_load_16((&(v[0])), (&(x[{T} * 16])));",
    ),
    "global memory before an allocation": (
        f"tvmq_store_4((&(x[{T} * 4 - 4])), (&(v[0])));",
        "thread 0 .* store of 4 bytes begins 4 bytes before an allocation of 1024 bytes",
        f"tvmq_store_4((&(x[{T} * 4])), (&(v[0])));",
    ),
    "global memory nowhere": (
        "tvmq_load_const_4((&(v[0])), (const unsigned char*)4096);",
        r"load_const of 4 bytes is in no allocation \(0x1000\)",
        "tvmq_load_const_4((&(v[0])), x);",
    ),
    "global memory misaligned": (
        "tvmq_load_4((&(v[0])), (&(x[2])));",
        "load: address 0x[0-9a-f]+ is not aligned to 4 bytes",
        "tvmq_load_2((&(v[0])), (&(x[2])));",
    ),
    "a plain element behind an allocation": (
        "((uint4*)x)[64] = make_uint4(1, 1, 1, 1);",
        "thread 0 .* access of 16 bytes ends 16 bytes behind an allocation of 1024 bytes",
        "((uint4*)x)[63] = make_uint4(1, 1, 1, 1);",
    ),
    "a plain vector that is misaligned": (
        "*(uint2*)(x + 4) = make_uint2(1, 1);",
        "thread 0 .* access: address 0x[0-9a-f]+ is not aligned to 8 bytes",
        "*(uint2*)(x + 8) = make_uint2(1, 1);",
    ),
    "a plain element that is read before an allocation": (
        f"v[0] = x[{T} - 5]; if (v[0] == 7) x[0] = 1;",
        "thread 0 .* access of 1 bytes begins 5 bytes before an allocation of 1024 bytes",
        f"v[0] = x[{T}]; if (v[0] == 7) x[0] = 1;",
    ),
    "a canary": (
        "unsigned char* y = x; y[1024 + blockIdx.x] = 1;",
        "kernel k: byte 1024 of an allocation of 1024 bytes was written",
        "x[1023] = 1;",
    ),
    "a canary in front": (
        "unsigned char* y = x; y[-3 + (int)blockIdx.x] = 1;",
        "kernel k: a byte 3 before an allocation of 1024 bytes was written",
        "x[3] = 1;",
    ),
    "an address that is not mapped": (
        f"if ({T} == 5) *(volatile unsigned char*)(size_t)(64 + blockIdx.x) = 1;",
        r"kernel k, block \(0,0,0\): thread 5 \(5,0,0\) accesses 0x40, which is in no memory or not aligned",
        "",
    ),
    "too much stack": (
        f"volatile char big[300000]; big[{T}] = 1; x[{T}] = big[{T}];",
        "thread 0 .* needs more than 256 KB of stack",
        f"volatile char big[100000]; big[{T}] = 1; x[{T}] = big[{T}];",
    ),
    "a barrier that a thread leaves out": (
        f"if ({T} != 37) tvmq_barrier();",
        r"kernel k, block \(0,0,0\): thread 37 left, while thread 0 waits at a barrier",
        "tvmq_barrier();",
    ),
    "a lane that leaves": (
        f"if ({T} != 37) {{{MMA}}}",
        "thread 37 left, while thread 32 of its warp waits at mma_s8s8",
        MMA,
    ),
    "a lane that waits at something else": (
        f"if ({T} < 7) {{{MMA}}} else {{x[0] = tvmq_shuffle_xor_s32(0, 1);}}",
        "thread 7 waits at shuffle_xor, while thread 0 of its warp waits at mma_s8s8",
        f"{MMA} x[0] = tvmq_shuffle_xor_s32(0, 1);",
    ),
    "a lane that waits at a barrier": (
        f"if ({T} != 3) tvmq_warp_barrier(); tvmq_barrier();",
        "thread 3 waits at a barrier, while thread 0 of its warp waits at warp_barrier",
        "tvmq_warp_barrier(); tvmq_barrier();",
    ),
    "an array that is too short": (
        "int d[2] = {0, 0}; tvmq_mma_s8s8((&(d[0])), (&(v[0])), (&(w[0])));",
        "mma_s8s8: its array 'd' has less than 16 bytes",
        MMA,
    ),
    "an array that is too short for a load": (
        f"unsigned char b[8]; tvmq_load_16((&(b[0])), (&(x[{T} * 16])));",
        "load_16: its array 'local' has less than 16 bytes",
        f"unsigned char b[16]; tvmq_load_16((&(b[0])), (&(x[{T} * 16])));",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_check(name: str):
    wrong, message, right = CASES[name]
    with pytest.raises(CudaError, match=message):
        run(wrong)
    run(right)


def test_an_error_names_the_block():
    with pytest.raises(CudaError, match=r"block \(2,0,0\): thread 1 "):
        run(f"if (blockIdx.x == 2 && {T} == 1) s[2000] = 1;", grid=3)


def test_memory_is_not_left_written_by_the_block_before():
    with pytest.raises(CudaError, match=r"block \(1,0,0\): .*nobody wrote"):
        run(f"if (blockIdx.x == 0) s[{T}] = 1; x[{T}] = s[{T}];", grid=2)


def test_warps_that_are_not_whole():
    with pytest.raises(
        CudaError, match="thread 32 waits at mma_s8s8, which needs all 32 lanes .* ends with thread 39"
    ):
        run(MMA, block=40)
    run(f"if ({T} < 32) {{{MMA}}}", block=40)


def test_threads_of_a_block():
    with pytest.raises(CudaError, match="blocks of 64 threads, and its __launch_bounds__ are 32"):
        run("", threads=32)
    with pytest.raises(CudaError, match=r"blocks of \(1025,1,1\) threads, and at most 1024"):
        run("", block=1025, threads=0)


def test_dynamic_shared_memory(monkeypatch: pytest.MonkeyPatch):
    run(FULL, shared=163 << 10)
    with pytest.raises(
        CudaError, match="166913 bytes of dynamic shared memory, and a block can have at most 166912"
    ):
        run(FULL, shared=(163 << 10) + 1)
    monkeypatch.setenv("TVMQ_EMULATED_GPU_CAPABILITY", "7.5")
    with pytest.raises(CudaError, match="a block can have at most 65536"):
        run(FULL, shared=163 << 10)


def test_compute_capability(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TVMQ_EMULATED_GPU_CAPABILITY", "7.0")
    with pytest.raises(CudaError, match=r"mma_s8s8 needs compute capability 7.2, and the device has 7.0"):
        run(MMA)


def test_the_next_launch_is_not_hurt():
    """Copies that were on their way, and half of a warp that waited, are forgotten."""
    wrong = f"{COPY} tvmq_copy_commit(); if ({T} == 9) tvmq_shared_load_4((&(w[0])), (&(s[36])));"
    for _ in range(3):
        with pytest.raises(CudaError, match="on its way"):
            run(wrong)
        run(f"{FULL} tvmq_barrier(); {OTHER}")


def test_messages_name_one_place():
    with pytest.raises(CudaError) as raised:
        run("s[4000] = 1;")
    assert re.fullmatch(
        r"kernel k, block \(0,0,0\): thread 0 \(0,0,0\) shared_store: [^\n]*", str(raised.value)
    )
