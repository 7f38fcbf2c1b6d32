"""targets/cuda/device.cuh: nvcc takes each function on each architecture, and makes the instruction that was meant."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest

HEADER = Path(__file__).parents[2] / "targets" / "cuda" / "device.cuh"
TWIN = Path(__file__).parent / "cpp" / "kernel.h"
T = "threadIdx.x"
SHARED = "extern __shared__ __align__(64) unsigned char s[];"
ARRAYS = "int d[4] = {0, 0, 0, 0}; unsigned a[4], b[2];"
ARRAYS += "tvmq_load_16(a, x + 16 * threadIdx.x); tvmq_load_8(b, x + 8 * threadIdx.x);"
KEEP = "tvmq_store_16(x + 16 * threadIdx.x, d);"


def mma(kind: str) -> str:
    return f"{ARRAYS} tvmq_mma_{kind}(d, a, b); {KEEP}"


def vector(size: int, load: str = "load") -> str:
    """Bytes in turned order, so that the array is one of registers."""
    turn = f"for (int i = 0; i < {size}; ++i) w[i] = v[{size - 1} - i] + 1;"
    arrays = f"unsigned char v[{size}], w[{size}];"
    return f"{arrays} tvmq_{load}_{size}(v, x + {T} * {size}); {turn} tvmq_store_{size}(x + 4096 + {T} * {size}, w);"


def shared(size: int) -> str:
    arrays = f"{SHARED} unsigned char v[{size}], w[{size}];"
    there = f"tvmq_load_{size}(v, x + {T} * {size}); tvmq_shared_store_{size}(s + {T} * {size}, v); tvmq_barrier();"
    back = f"tvmq_shared_load_{size}(w, s + (255 - {T}) * {size}); tvmq_store_{size}(x + {T} * {size}, w);"
    return f"{arrays} {there} {back}"


def ldmatrix(matrices: int) -> str:
    call = f"unsigned r[4] = {{0}}; tvmq_ldmatrix_x{matrices}(r, s + 16 * {T}); tvmq_store_16(x, r);"
    return f"{SHARED} s[{T}] = x[{T}]; tvmq_barrier(); {call}"


def copy(size: int) -> str:
    wait = "tvmq_copy_commit(); tvmq_copy_wait(2); tvmq_copy_wait(0); tvmq_barrier();"
    return (
        f"{SHARED} tvmq_copy_async_{size}(s + {T} * {size}, x + {T} * {size}); {wait} x[{T}] = s[255 - {T}];"
    )


def shuffle(kind: str) -> str:
    name = {"f32": "float", "s32": "int"}[kind]
    calls = "".join(f"v += tvmq_shuffle{which}_{kind}(v, 3);" for which in ("_xor", "_down", ""))
    return f"{name} v = (({name}*)x)[{T}]; {calls} (({name}*)x)[{T}] = v;"


DP4A = "unsigned a[2]; tvmq_load_8(a, x + 8 * {T}); ((int*)x)[{T}] = tvmq_dp4a_{kind}(a, a + 1, 7);".replace(
    "{T}", T
)
PAIRS = [a + b for a in ("u8", "s8") for b in ("u8", "s8")]
PAIRS_4 = [a + b for a in ("u4", "s4") for b in ("u4", "s4")]

# body, its instruction in PTX and SASS from 8.0 on, and at 7.5
CASES: dict[str, tuple[str, str, str, str, str]] = {}
for pair in PAIRS:
    ptx = f"{pair[:2]}.{pair[2:]}"
    small, large = f"m8n8k16.row.col.s32.{ptx}.s32", f"m16n8k32.row.col.s32.{ptx}.s32"
    CASES[f"mma_{pair}"] = (mma(pair), large, r"IMMA\.16832", small, r"IMMA\.8816")
    types = ptx.replace("8", "32")
    CASES[f"dp4a_{pair}"] = (
        DP4A.replace("{kind}", pair),
        f"dp4a.{types}",
        r"IDP\.4A",
        f"dp4a.{types}",
        r"IDP\.4A",
    )
for pair in PAIRS_4:
    ptx = f"{pair[:2]}.{pair[2:]}"
    small, large = f"m8n8k32.row.col.s32.{ptx}.s32", f"m16n8k64.row.col.s32.{ptx}.s32"
    CASES[f"mma_{pair}"] = (mma(pair), large, r"IMMA\.16864", small, r"IMMA\.8832")
for kind in ("xor", "and"):
    small = "m8n8k128.row.col.s32.b1.b1.s32.xor.popc"
    large = f"m16n8k256.row.col.s32.b1.b1.s32.{kind}.popc"
    CASES[f"mma_b1_{kind}"] = (
        mma(f"b1_{kind}"),
        large,
        rf"BMMA\.168256\.{kind.upper()}",
        small,
        r"BMMA\.88128",
    )
for n in (1, 2, 4):
    CASES[f"ldmatrix_x{n}"] = (
        ldmatrix(n),
        f"ldmatrix.sync.aligned.m8n8.x{n}",
        "LDSM",
        f"ldmatrix.sync.aligned.m8n8.x{n}",
        "LDSM",
    )
for n in (4, 8, 16):
    CASES[f"copy_async_{n}"] = (
        copy(n),
        f"cp.async.{'cg' if n == 16 else 'ca'}.shared.global",
        "LDGSTS",
        "st.shared",
        "STS",
    )
for n, width in ((1, r"\.U8"), (2, r"\.U16"), (4, ""), (8, r"\.64"), (16, r"\.128")):
    CASES[f"load_{n}"] = (vector(n), "ld.global", rf"LDG\.E{width}", "ld.global", rf"LDG\.E{width}")
    nc = (
        vector(n, "load_const"),
        "ld.global.nc",
        rf"LDG\.E{width}.*CONSTANT",
        "ld.global.nc",
        rf"LDG\.E{width}.*CONSTANT",
    )
    CASES[f"load_const_{n}"] = nc
    CASES[f"shared_{n}"] = (shared(n), "ld.shared", rf"LDS(\.U)?{width}", "ld.shared", rf"LDS(\.U)?{width}")
for kind in ("f32", "s32"):
    CASES[f"shuffle_{kind}"] = (
        shuffle(kind),
        "shfl.sync.bfly",
        r"SHFL\.BFLY",
        "shfl.sync.bfly",
        r"SHFL\.BFLY",
    )
for n in (2, 4, 8):
    floats = (
        f"float v[4]; tvmq_load_4(a, x + 4 * {T}); tvmq_floats_u{n}(v, a, 0); tvmq_store_16(x + 16 * {T}, v);"
    )
    CASES[f"floats_u{n}"] = (f"unsigned a[1]; {floats}", "prmt.b32", "PRMT", "prmt.b32", "PRMT")
ATOMIC = f"((int*)x)[{T} + 1] = tvmq_atomic_add_s32(x, {T});"
CASES["atomic_add"] = (ATOMIC, "atom.global.add.u32", "ATOM", "atom.global.add.u32", "ATOM")
ROUND = f"((int*)x)[{T}] = tvmq_round_to_int(((float*)x)[{T}]);"
CASES["round_to_int"] = (ROUND, "cvt.rni.s32.f32", "F2I", "cvt.rni.s32.f32", "F2I")
POPCOUNT = f"((int*)x)[{T}] = tvmq_popcount(((int*)x)[{T}]);"
CASES["popcount"] = (POPCOUNT, "popc.b32", "POPC", "popc.b32", "POPC")
UNPACK = f"unsigned w[2]; tvmq_load_4(w, x + 4 * {T}); tvmq_unpack_b1(w + 1, w, 3); tvmq_store_4(x + 4 * {T}, w + 1);"
CASES["unpack_b1"] = (UNPACK, "lop3.b32", "LOP3", "lop3.b32", "LOP3")
LINES = f"unsigned a[4], b[4]; tvmq_load_16(a, x + 32 * {T}); tvmq_load_16(b, x + 32 * {T} + 16);"
UNLIKE = f"{LINES} ((int*)x)[8 * {T}] = tvmq_unlike_16(a, b, 5);"
CASES["unlike_16"] = (UNLIKE, "popc.b32", "POPC", "popc.b32", "POPC")
CASES["warp_barrier"] = (
    "x[0] = 1; tvmq_warp_barrier(); x[1] = x[0];",
    "bar.warp.sync",
    "",
    "bar.warp.sync",
    "",
)


def source() -> str:
    kernels = (
        f'extern "C" __global__ void {name}(unsigned char* x) {{ {case[0]} }}' for name, case in CASES.items()
    )
    return f'#include "{HEADER}"\n' + "\n".join(kernels)


def tool(name: str) -> str | None:
    """On the path, or in the package triton."""
    if found := shutil.which(name):
        return found
    package = importlib.util.find_spec("triton")
    path = (
        Path(package.origin).parent / "backends" / "nvidia" / "bin" / name
        if package and package.origin
        else None
    )
    return str(path) if path and path.is_file() else None


def by_kernel(text: str, heading: str) -> dict[str, str]:
    """The part of a listing that follows each heading, whose group is a kernel's name."""
    parts = re.split(heading, text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def nvcc() -> str:
    found = tool("nvcc")
    if found is None:
        pytest.skip("nvcc is not installed")
    return found


def architectures() -> list[str]:
    if (path := tool("nvcc")) is None:
        return ["80"]
    listed = subprocess.run([path, "--list-gpu-arch"], capture_output=True, text=True, check=True).stdout
    known = re.findall(r"compute_(\d+)$", listed, flags=re.M)
    return [arch for arch in ("75", "80", "86", "89", "90") if arch in known]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("device") / "kernels.cu"
    path.write_text(source())
    return path


@pytest.mark.parametrize("arch", architectures())
def test_instructions(file: Path, arch: str):
    ptx_file, cubin = file.with_suffix(f".{arch}.ptx"), file.with_suffix(f".{arch}.cubin")
    subprocess.run([nvcc(), f"-arch=compute_{arch}", "-ptx", "-o", ptx_file, file], check=True)
    column = 3 if arch == "75" else 1
    ptx = by_kernel(ptx_file.read_text(), r"^\.visible \.entry (\w+)\(")
    assert ptx.keys() == CASES.keys()
    for name, text in ptx.items():
        assert CASES[name][column] in text, name
        assert ".local" not in text, name
    if (ptxas := tool("ptxas")) is None:
        pytest.skip("the PTX is right; ptxas is not installed")
    done = subprocess.run(
        [ptxas, f"-arch=sm_{arch}", "-v", "-o", cubin, ptx_file], capture_output=True, text=True, check=True
    )
    frames = by_kernel(done.stderr, r"Function properties for (\w+)")
    slow = {name for name in CASES if re.match("mma_(b1|.4)", name)} if arch == "90" else set()
    for name in CASES.keys() - slow:
        assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in frames[name], name
    if (disassembler := tool("nvdisasm")) is None:
        pytest.skip("PTX and registers are right; nvdisasm is not installed")
    listing = subprocess.run([disassembler, cubin], capture_output=True, text=True, check=True).stdout
    sass = by_kernel(listing, r"^\.text\.(\w+):")
    for name in CASES.keys() - slow:
        assert re.search(CASES[name][column + 1], sass[name]), name
        assert not re.search(r"\b(LDL|STL)\b", sass[name]), name


def test_the_emulated_header_has_the_same_functions():
    """Both headers, with what their macros make, declare the same names."""

    def names(path: Path, *options: str) -> set[str]:
        command = ["g++", "-std=c++17", "-E", "-P", "-x", "c++", *options, str(path)]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return set(re.findall(r"\b(tvmq_\w+)\s*\((?:const )?(?:void|int|float|unsigned|\))", text))

    internal = {
        "tvmq_shared_address",
        "tvmq_unpack",
        "tvmq_floats",
        "tvmq_dot4",
        "tvmq_expf",
        "tvmq_logf",
        "tvmq_log2f",
        "tvmq_powf",
        "tvmq_sinf",
        "tvmq_cosf",
        "tvmq_tanf",
    }
    twin = names(TWIN) - internal
    of_hopper = {name for name in twin if "wgmma" in name or name == "tvmq_shared_fence"}
    for arch in (750, 800):
        assert names(HEADER, f"-D__CUDA_ARCH__={arch}") - internal == twin - of_hopper
    hopper = names(HEADER, "-D__CUDA_ARCH__=900", "-D__CUDA_ARCH_FEAT_SM90_ALL")
    assert hopper - internal - {"tvmq_matrix_descriptor", "tvmq_wgmma_call"} == twin - {"tvmq_wgmma_call"}
