"""The flags of ``tvmc compile`` that say which passes of TVM's run, and what is shown of them and of the code."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import unknown
from ..targets.row import FLOAT_TYPES
from . import arguments
from .files import check_output, write_text
from .old.passes import current_passes

if TYPE_CHECKING:
    from ..runtime.c_library.library import CLibrary
    from ..runtime.package import Package

logger = logging.getLogger(__name__)


def add_code_flags(parser: argparse.ArgumentParser) -> None:
    """Add what chooses among passes, and what shows passes and code."""
    group = parser.add_argument_group("passes and code")
    group.add_argument(
        "-O",
        "--opt-level",
        type=int,
        choices=range(4),
        default=3,
        metavar="N",
        help="0 to 3: passes of TVM's of a higher level are left out (default: %(default)s)",
    )
    group.add_argument(
        "--float-type",
        choices=FLOAT_TYPES,
        default=FLOAT_TYPES[0],
        help="what convolutions and products of what stays in float multiply; bf16 is faster on CPUs with AVX512-BF16 "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--cuda-archs",
        type=arguments.names,
        action="extend",
        default=[],
        metavar="NAMES",
        help="GPUs that the package has code for, such as sm_80,sm_90 (default: that of --target)",
    )
    group.add_argument(
        "--no-cuda-graph",
        action="store_true",
        help="launch a GPU's kernels one by one, not those that follow each other as one CUDA graph",
    )
    group.add_argument(
        "--disabled-pass",
        type=arguments.names,
        action="extend",
        default=[],
        metavar="NAMES",
        help="passes of TVM's to leave out, such as FuseOps,tirx.UnrollLoop",
    )
    group.add_argument(
        "--dump-code",
        type=arguments.names,
        action="extend",
        default=[],
        metavar="FORMATS",
        help="write the code beside the package, as model.tar.asm and so on: asm,ll,tir,relax,cuda",
    )
    group.add_argument("--print-pass-times", action="store_true", help="print the time of each pass of TVM's")
    for when in ("before", "after"):
        group.add_argument(
            f"--print-ir-{when}",
            type=_pass_names,
            action="extend",
            default=[],
            metavar="NAMES",
            help=f"print the module {when} each of these passes of TVM's",
        )


def code_formats(names: Sequence[str]) -> tuple[str, ...]:
    """Return the formats of ``--dump-code`` as they are called now; what was Relay is Relax."""
    if "relay" in names:
        logger.warning("relay: Relax takes its place, as relax")
    return tuple(dict.fromkeys("relax" if name == "relay" else name for name in names))


def disabled_passes(names: Sequence[str]) -> tuple[str, ...]:
    """Return the passes of ``--disabled-pass`` as they are called now."""
    from ..schedules.context import known_passes

    return current_passes(names, known_passes()) if names else ()


def check_dumps(output: Path, formats: Sequence[str], source: Path | None) -> None:
    """Raise ``TvmqError`` where the code cannot be written beside the package."""
    for name in formats:
        check_output(_dump(output, name), source)


def write_dumps(output: Path, made: Package | CLibrary) -> None:
    """Write the code of a package or a C library beside it, a file a format."""
    for name, text in made.sources.items():
        write_text(_dump(output, name), text)


class PassInstruments:
    """Watches the compilation.

    Parameters
    ----------
    times : keep the time of each pass, for ``report``.
    before, after : names of passes before and after which the module is printed.

    Raises
    ------
    TvmqError : there is no such pass.
    """

    def __init__(self, times: bool = False, before: Sequence[str] = (), after: Sequence[str] = ()) -> None:
        self.all: tuple[Any, ...] = ()
        self._times: Any = None
        if times:
            self._add_times()
        if before or after:
            self._add_printer(before, after)

    def report(self) -> str:
        """Return the time of each pass as text; empty where it was not kept."""
        return "" if self._times is None else f"Compilation time breakdown by pass:\n{self._times.text}"

    def _add_times(self) -> None:
        from tvm.ir.instrument import PassTimingInstrument, pass_instrument

        timing = PassTimingInstrument()

        @pass_instrument
        class Rendered:
            """Keeps what the other one forgets when the context ends."""

            text = ""

            def exit_pass_ctx(self) -> None:
                self.text = str(timing.render())

        self._times = Rendered()
        self.all += (self._times, timing)

    def _add_printer(self, before: Sequence[str], after: Sequence[str]) -> None:
        from tvm.ir.instrument import PassPrintingInstrument

        from ..schedules.context import known_passes

        known = known_passes()
        names = [current_passes(names, known) for names in (before, after)]
        for name in [*names[0], *names[1]]:
            if name not in known:
                raise unknown("pass of TVM's", name, known)
        self.all += (PassPrintingInstrument(*map(list, names)),)


def _pass_names(text: str) -> list[str]:
    """Return the names between the commas; there may be brackets around them."""
    return arguments.names(text.strip().removeprefix("[").removesuffix("]"))


def _dump(output: Path, name: str) -> Path:
    return output.with_name(f"{output.name}.{name}")
