"""TVM's CUDA source --> the C++ source that g++ makes the emulated kernels of.

What a kernel declares as shared memory becomes arrays whose plain accesses are checked (`kernel.h`):

    extern __shared__ __align__(64) uchar p[];   -->  auto p = dynamic_array<uchar>();
    __shared__ float p[32];                      -->  auto p = static_array<float>(number, 32, 1);
    ((int*)p)[i], *(uint4*)(p + i)               -->  (view<int>(p))[i], *view<uint4>(p + i)

and behind it comes a table of the kernels.
"""

from __future__ import annotations

import re

DYNAMIC = re.compile(r"\bextern\s+__shared__\s+(?:__align__\(\d+\)\s+)?([\w ]+?)\s+(\w+)\[\];")
STATIC = re.compile(
    r"(?<!extern )__shared__\s+(?:(?:__align__|alignas)\((\d+)\)\s+)?([\w ]+?)\s+(\w+)\[(\d+)\];"
)
KERNEL = re.compile(r"__global__\s+void\s+(?:__launch_bounds__\((\d+)[^)]*\)\s+)?(\w+)\s*\(([^)]*)\)\s*\{")
NAMESPACE = "tvmq_emulated"


def _views(body: str, name: str) -> str:
    """Casts of the shared array `name`, and of places in it, as views."""
    kind = r"\((?:volatile )?([\w ]+)\*\)"
    body = re.sub(rf"\({kind}{name}\)", rf"({NAMESPACE}::view<\1>({name}))", body)
    return re.sub(rf"\*{kind}\({name} \+", rf"*{NAMESPACE}::view<\1>({name} +", body)


def emulated_source(code: str) -> str:
    """The C++ source, to be compiled with `-include kernel.h`."""
    kernels = list(KERNEL.finditer(code))
    ends = [kernel.start() for kernel in kernels[1:]] + [len(code)]
    parts = [code[: kernels[0].start()]] if kernels else [code]
    declaration = 0
    for kernel, end in zip(kernels, ends, strict=True):
        body = code[kernel.start() : end]
        for name in [found[2] for found in DYNAMIC.finditer(body)] + [
            found[3] for found in STATIC.finditer(body)
        ]:
            body = _views(body, name)
        body = DYNAMIC.sub(rf"auto \2 = {NAMESPACE}::dynamic_array<\1>();", body)
        while found := STATIC.search(body):
            alignment, kind, name, count = found.groups()
            array = (
                f"auto {name} = {NAMESPACE}::static_array<{kind}>({declaration}, {count}, {alignment or 1});"
            )
            body = body[: found.start()] + array + body[found.end() :]
            declaration += 1
        parts.append(body)
    rows = [
        f'  {NAMESPACE}::row<&{name}>("{name}", {threads or 0}),'
        for threads, name, _ in (k.groups() for k in kernels)
    ]
    table = [
        'extern "C" __attribute__((visibility("default"))) const tvmq_emulated::Machine* tvmq_machine = nullptr;',
        f'extern "C" __attribute__((visibility("default"))) const {NAMESPACE}::Kernel tvmq_kernels[] = {{',
        *rows,
        "  {nullptr, nullptr, 0, 0, nullptr}};",
    ]
    return "".join(parts) + "\n" + "\n".join(table) + "\n"
