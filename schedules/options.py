"""What a user may say about compilation beyond the target."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import TvmqError, unknown
from ..targets.cuda.archs import check_arch
from ..targets.row import FLOAT_TYPES

CODE_FORMATS = ("asm", "ll", "tir", "relax", "cuda")
"""What ``schedules.sources`` can show of a compiled model."""


@dataclass(frozen=True)
class CompileOptions:
    """Choices of ``tvmq.compile``.

    Attributes
    ----------
    cross_compiler : the C++ compiler that links ``mod.so``, such as ``"aarch64-linux-gnu-gcc"``; None takes
        the machine's own, or the usual one for another machine.
    cross_compiler_options : further arguments for the compiler that links.
    tuning_records : folder of MetaSchedule records that override the default schedules; None uses those that
        ship with the package.
    pass_config : (name, value) pairs for ``tvm.transform.PassContext``, such as
        ``("tirx.disable_vectorize", True)``.
    opt_level : 0 to 3; passes of TVM's of a higher level are left out.
    disabled_passes : names of passes of TVM's that are left out, such as ``"FuseOps"``.
    instruments : pass instruments that watch the compilation (``tvm.ir.instrument``).
    float_type : of ``FLOAT_TYPES``: what convolutions and products of floats multiply, ``"f32"`` or ``"bf16"``; sums
        are float32 in any case.
    cuda_archs : GPU architectures that the package has code for, such as ``("sm_80", "sm_90")``; none is the target's
        own. The kernels use what all of them have.
    cuda_graph : kernels of a GPU that follow each other are launched as one (``schedules.cuda.graphs``).
    dump_code : those of ``CODE_FORMATS`` in which the package keeps its code as text, in ``Package.sources``.
    """

    cross_compiler: str | None = None
    cross_compiler_options: tuple[str, ...] = ()
    tuning_records: Path | None = None
    pass_config: tuple[tuple[str, Any], ...] = ()
    opt_level: int = 3
    disabled_passes: tuple[str, ...] = ()
    instruments: tuple[Any, ...] = ()
    float_type: str = "f32"
    cuda_archs: tuple[str, ...] = ()
    cuda_graph: bool = True
    dump_code: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.cross_compiler_options, str):
            raise TvmqError("cross_compiler_options must be a sequence of arguments, not one string")
        if self.cross_compiler is not None and shutil.which(self.cross_compiler) is None:
            raise TvmqError(f"cross compiler {self.cross_compiler!r} is not on the PATH")
        object.__setattr__(self, "cross_compiler_options", tuple(self.cross_compiler_options))
        if self.tuning_records is not None:
            object.__setattr__(self, "tuning_records", Path(self.tuning_records))
            if not self.tuning_records.exists():
                raise TvmqError(f"tuning records {str(self.tuning_records)!r} do not exist")
        if self.opt_level not in range(4):
            raise TvmqError(f"opt_level must be 0, 1, 2 or 3, got {self.opt_level!r}")
        if self.float_type not in FLOAT_TYPES:
            raise unknown("float type", self.float_type, FLOAT_TYPES)
        if isinstance(self.cuda_archs, str):
            raise TvmqError("cuda_archs must be a sequence of architectures, not one string")
        object.__setattr__(self, "cuda_archs", tuple(dict.fromkeys(self.cuda_archs)))
        for arch in self.cuda_archs:
            check_arch(arch)
        for name in self.dump_code:
            if name not in CODE_FORMATS:
                raise unknown("format of code (dump_code)", name, CODE_FORMATS)
